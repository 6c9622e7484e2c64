"""The one error that a user can cause.

Everything a person or a program hands to PEAR and that PEAR cannot use ends as an
:class:`InputError`: the command line prints it as one line and exits with status 2, the service
answers it as a problem document with status 4xx.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that cannot be used: names the thing, its value and the remedy.

    Parameters
    ----------
    message
        What is wrong, with the offending value in it.
    field
        Name of the argument, option, file or variable at fault.
    hint
        What to do instead.
    """

    def __init__(self, message: str, *, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}; {hint}")
        self.message = message
        self.field = field
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are pickled by their args; ours has keyword arguments that must survive the
        # way back from a worker process.
        return _rebuild, (type(self), self.message, self.field, self.hint)


def _rebuild(
    kind: type[InputError], message: str, field: str | None, hint: str | None
) -> InputError:
    return kind(message, field=field, hint=hint)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint naming the closest known word, or all of them if none is close."""
    candidates = sorted(known)
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return "known: " + ", ".join(candidates)


def check_settings(given: Iterable[str], kind: type, what: str) -> None:
    """Raise unless every name is a field of a dataclass of settings.

    Raises
    ------
    InputError
        Naming the setting that is none, and the nearest one.
    """
    known = {item.name for item in dataclasses.fields(kind)}
    for name in given:
        if name not in known:
            raise InputError(
                f"unknown {what} setting {name!r}", field=name, hint=did_you_mean(name, known)
            )
