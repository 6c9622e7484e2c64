"""How work that takes long tells of its progress, whoever listens."""

from __future__ import annotations

from typing import Protocol


class ProgressCallback(Protocol):
    """Called after each unit of work; ``note`` says what was just done."""

    def __call__(self, advance: float = 1, note: str = "", /) -> object: ...


class ProgressFactory(Protocol):
    """Told how many units there are to do, once that is known; returns the tick."""

    def __call__(self, total: int, /) -> ProgressCallback: ...


def no_progress(advance: float = 1, note: str = "") -> None:
    """Tell nobody."""
