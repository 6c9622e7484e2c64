"""Paths of the server in texts that clients read: only the last part is shown."""

from __future__ import annotations

import re
from typing import Final, TypeVar, cast

T = TypeVar("T")

_ABSOLUTE: Final = re.compile(
    r"""(?<![\w./:*~-])               # not the rest of an address, a unit or a relative path
    /(?!v1/|static/)                  # routes of the service may be named
    (?:[^\s'"`,;:()<>\[\]{}/]+/)+     # two parts at least
    ([^\s'"`,;:()<>\[\]{}/]*)""",
    re.VERBOSE,
)


def hide_paths(text: str) -> str:
    """Return a text in which absolute paths are cut down to their last part.

    Parameters
    ----------
    text
        Reason or message, such as that of an OSError.

    Returns
    -------
    str
        Without the folders of the server.

    Examples
    --------
    >>> hide_paths("[Errno 28] No space left on device: '/srv/pear/scratch/a.zarr'")
    "[Errno 28] No space left on device: '…/a.zarr'"
    >>> hide_paths("10 m/s, see /v1/forecasts/latest or https://example.org/a/b")
    '10 m/s, see /v1/forecasts/latest or https://example.org/a/b'
    """
    return _ABSOLUTE.sub(lambda found: f"…/{found[1]}", text)


def hide_paths_in(value: T) -> T:
    """Return JSON values with :func:`hide_paths` applied to every text in them.

    Parameters
    ----------
    value
        Text, number, list or mapping.

    Returns
    -------
    T
        Of the same form.
    """
    changed: object = value
    match value:
        case str():
            changed = hide_paths(value)
        case dict():
            changed = {name: hide_paths_in(each) for name, each in value.items()}
        case list():
            changed = [hide_paths_in(each) for each in value]
    return cast("T", changed)
