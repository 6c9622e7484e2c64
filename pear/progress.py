"""Progress callbacks of long-running operations."""

from __future__ import annotations

from typing import Protocol


class ProgressCallback(Protocol):
    """Called after each unit of work with the units done and a note on what they were."""

    def __call__(self, advance: float = 1, note: str = "", /) -> object: ...


class ProgressFactory(Protocol):
    """Called with the total number of units once it is known; returns the callback."""

    def __call__(self, total: int, /) -> ProgressCallback: ...


def no_progress(advance: float = 1, note: str = "") -> None:
    """Ignore progress."""
