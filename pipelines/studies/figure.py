"""Figures of studies of claims: panels side by side, saved as PNG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@contextmanager
def panels(path: Path, count: int = 1, width: float = 5.0) -> Iterator[list[Axes]]:
    """Give panels to draw into; the figure is written when all are drawn.

    Parameters
    ----------
    path
        PNG file to write.
    count
        Panels beside each other.
    width
        Of a panel, inches; the height is 4.

    Yields
    ------
    list of Axes
        From left to right.

    Examples
    --------
    >>> import tempfile
    >>> from pipelines.studies.figure import panels
    >>> path = Path(tempfile.mkdtemp()) / "line.png"
    >>> with panels(path) as (axes,):
    ...     line = axes.plot([1, 2], [3, 4])
    >>> path.read_bytes()[1:4]
    b'PNG'
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, 4), layout="constrained")
    yield list(figure.subplots(1, count, squeeze=False)[0])
    figure.savefig(path, dpi=150)
