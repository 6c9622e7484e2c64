"""Progress callbacks of long-running operations."""

from __future__ import annotations

import sys
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


def progress_callback(total: int, *, progress: bool | ProgressCallback) -> ProgressCallback:
    """Return the callback of an operation that prints its progress or passes it on.

    Parameters
    ----------
    total
        Number of units.
    progress
        True to print the progress on standard error, False for silence, or a callback.

    Returns
    -------
    ProgressCallback
        To be called after each unit.

    Examples
    --------
    >>> from pear.progress import progress_callback
    >>> progress_callback(10, progress=False) is no_progress
    True
    """
    if not isinstance(progress, bool):
        return progress
    if not progress:
        return no_progress
    done = 0.0

    def show(advance: float = 1, note: str = "") -> None:
        nonlocal done
        done += advance
        end = "\n" if done >= total else ""
        sys.stderr.write(f"\r{done / total:4.0%} {note}{end}")
        sys.stderr.flush()

    return show
