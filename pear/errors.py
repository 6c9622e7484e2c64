"""The error for invalid input, and hints for its message.

Input that PEAR cannot use ends as an :class:`InputError`: the command line prints it as one line
and exits with status 2, the service answers with a problem document of status 4xx.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class InputError(ValueError):
    """Invalid input: the message names the thing, its value and the remedy.

    Parameters
    ----------
    message
        What is wrong, including the invalid value.
    field
        Name of the argument, option, file or variable.
    hint
        What to do instead.

    Examples
    --------
    >>> raise InputError("nside 12 is not a power of two", field="nside", hint="use 8 or 16")
    Traceback (most recent call last):
    pear.errors.InputError: nside 12 is not a power of two; use 8 or 16
    """

    def __init__(self, message: str, *, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}; {hint}")
        self.message = message
        self.field = field
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are pickled by their args; the keyword arguments must survive the way back
        # from a worker process too.
        return _rebuild, (type(self), self.message, self.field, self.hint)


def _rebuild(
    kind: type[InputError], message: str, field: str | None, hint: str | None
) -> InputError:
    return kind(message, field=field, hint=hint)


def describe_os_error(error: OSError) -> str:
    """Return a plain sentence about an error of the machine, without the number of its kind.

    Parameters
    ----------
    error
        The error; of a full or protected disk the sentence says what to do.

    Returns
    -------
    str
        One line for a message.

    Examples
    --------
    >>> import errno
    >>> describe_os_error(OSError(errno.ENOSPC, "No space left on device", "/data/a.zarr"))
    'the disk is full: no space left on device for /data/a.zarr; make room, then run it again'
    >>> describe_os_error(PermissionError(errno.EACCES, "Permission denied", "/data"))
    '/data cannot be written or read: permission denied; use another folder, or change its rights'
    >>> describe_os_error(ConnectionResetError("the server hung up"))
    'ConnectionResetError: the server hung up'
    """
    what = " ".join(str(error.strerror or "").split())
    if not what or error.errno is None:
        return f"{type(error).__name__}: {error}"
    what = what[:1].lower() + what[1:]
    place = "" if error.filename is None else str(error.filename)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        full = what if what.startswith("disk too full") else f"the disk is full: {what}"
        return f"{full}{' for ' if place else ''}{place}; make room, then run it again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        at = place or "a file"
        return f"{at} cannot be written or read: {what}; use another folder, or change its rights"
    return f"{place}: {what}" if place else what


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest known word, or all of them.

    Parameters
    ----------
    word
        The unknown word.
    known
        Accepted words.

    Returns
    -------
    str
        Hint for an error message; that there is none yet without accepted words.

    Examples
    --------
    >>> did_you_mean("z50", ["z500", "t850"])
    'did you mean z500?'
    >>> did_you_mean("t3m", ["tmp", "t2m", "tcc"])
    'did you mean t2m?'
    """
    candidates = sorted(known)
    close = difflib.get_close_matches(word, candidates, n=9, cutoff=0.5)
    if close:
        # Of words that are as close, a slip of one finger or an exchange is likelier.
        def slips(other: str) -> tuple[float, bool, int]:
            share = difflib.SequenceMatcher(None, other, word).ratio()
            same = sum(one == two for one, two in zip(word, other, strict=False))
            return round(share, 9), sorted(word) == sorted(other), same

        return f"did you mean {max(close, key=slips)}?"
    return "known: " + ", ".join(candidates) if candidates else "there is none yet"
