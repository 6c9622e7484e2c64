"""Errors of the catalog."""

from __future__ import annotations

from pear.errors import InputError


class NotFoundError(InputError):
    """The catalog has no entry of this name or id."""


class FinishedError(InputError):
    """The job has ended, so its state can no longer change in this way."""


class BeingReadError(InputError):
    """The result of the run is being read, so it is not removed."""


class NotOwnerError(RuntimeError):
    """The job is not running, or another worker holds it: the caller must stop working on it."""
