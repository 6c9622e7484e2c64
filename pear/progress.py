"""Progress callbacks of long-running operations."""

from __future__ import annotations

from typing import Protocol


class ProgressCallback(Protocol):
    """Callback that a long-running operation calls after each unit of work."""

    def __call__(self, advance: float = 1, note: str = "", /) -> object:
        """Take note of the units done and of what they were."""


class ProgressFactory(Protocol):
    """Callback that a long-running operation calls once it knows its number of units."""

    def __call__(self, total: int, /) -> ProgressCallback:
        """Return the callback for that many units."""


def no_progress(advance: float = 1, note: str = "") -> None:
    """Ignore progress.

    Examples
    --------
    >>> from pear.progress import no_progress
    >>> no_progress(1, "step 1 of 10")
    """
