"""Errors of the catalog."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from pear.errors import InputError

_LONGEST = 500


class NotFoundError(InputError):
    """The catalog has no entry of this name or id."""


class FinishedError(InputError):
    """The job has ended, so its state can no longer change in this way."""


class BeingReadError(InputError):
    """The result of the run is being read, so it is not removed."""


class NotOwnerError(RuntimeError):
    """The job is not running, or another worker holds it: the caller must stop working on it."""


def describe_error(error: BaseException) -> str:
    """Return an exception as people read it: class and message in one line, without SQL.

    Parameters
    ----------
    error
        Any exception; one of the database is described by what the driver said first.

    Returns
    -------
    str
        At most 500 characters.
    """
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = str(cause).splitlines() or [""]
    # Drivers append the statement on further lines; other messages are joined.
    text = lines[0] if cause is not error else " ".join(" ".join(lines).split())
    text = f"{type(cause).__name__}: {text}" if text else type(cause).__name__
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
