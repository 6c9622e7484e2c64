"""Errors of the catalog."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

from pear.errors import InputError

_LONGEST = 500
_DISK_FAULTS: Final = {
    sqlite3.SQLITE_FULL: "its disk is full",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_IOERR: "its disk fails",
}
_POSTGRESQL_DISK_FULL: Final = "53100"


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


def find_disk_fault(error: BaseException) -> str | None:
    """Return what is wrong with the disk of the catalog, if that is why it cannot be written.

    Parameters
    ----------
    error
        What a transaction raised.

    Returns
    -------
    str or None
        A clause such as "its disk is full"; None for other causes.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)  # none if the driver itself raised it
        return None if code is None else _DISK_FAULTS.get(code & 0xFF)
    full = getattr(cause, "sqlstate", None) == _POSTGRESQL_DISK_FULL
    return _DISK_FAULTS[sqlite3.SQLITE_FULL] if full else None
