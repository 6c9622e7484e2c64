"""The picture of ``pear bench orbit``: error by ensemble size, scores by lead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pipelines.orbit_study import ErrorRow, Result, ScoreRow

COLOURS: Final = ("#14784f", "#b6533b", "#3b6fb6", "#7a5ba8")
STYLES: Final = {"averaged": ":", "ensemble": "-", "both": "--"}


def draw(result: Result, path: Path) -> None:
    """Draw errors on the left, and what averaging does to ACC and RMSE of z500."""
    figure = Figure(figsize=(12.5, 3.9), layout="constrained")
    error, acc, rmse = figure.subplots(1, 3)
    names = list(result.exact)
    for name, colour in zip(names, COLOURS, strict=False):
        _draw_errors(error, [r for r in result.errors if (r.models, r.day) == (name, 1)], colour)
        for axis, score in ((acc, "acc"), (rmse, "rmse")):
            rows = [
                r for r in result.scores if (r.models, r.field, r.score) == (name, "z500", score)
            ]
            _draw_scores(axis, rows, score, colour)
    error.set(
        xscale="log",
        yscale="log",
        xlabel="members",
        title="Equivariance error, one day",
        ylabel="rms, 1 = a day's change",
    )
    counts = sorted({row.members for row in result.errors})
    error.set_xticks(counts, [str(count) for count in counts])
    error.minorticks_off()
    acc.set(title="z500 ACC, minus a single network's", xlabel="lead (days)")
    rmse.set(title="z500 RMSE, over a single network's", xlabel="lead (days)")
    for axis in (error, acc, rmse):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def _draw_errors(axis: Any, rows: Sequence[ErrorRow], colour: str) -> None:
    members = [row.members for row in rows]
    name = rows[0].models
    axis.plot(members, [row.error for row in rows], "o-", color=colour, label=name, markersize=4)
    if len(rows) > 1:
        low, high = [row.low for row in rows], [row.high for row in rows]
        axis.fill_between(members, low, high, color=colour, alpha=0.2, lw=0)
        expected = [row.expected for row in rows]
        axis.plot(members, expected, ":", color=colour, label=f"{name}: one member's / √n")


def _draw_scores(axis: Any, rows: Sequence[ScoreRow], score: str, colour: str) -> None:
    for way, style in STYLES.items():
        part = [row for row in rows if row.way == way]
        if not part:
            continue
        days = [row.day for row in part]
        base = [row.reference if score == "rmse" else None for row in part]
        middle, low, high = (
            [v if b is None else 1 + v / b for v, b in zip(values, base, strict=True)]
            for values in (
                [r.difference for r in part],
                [r.low for r in part],
                [r.high for r in part],
            )
        )
        axis.plot(days, middle, style, color=colour, label=f"{part[0].models}, {way}")
        axis.fill_between(days, low, high, color=colour, alpha=0.12, lw=0)
