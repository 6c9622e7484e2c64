"""The table and the picture of an ablation: every arm beside the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from pipelines.studies.ablation import ARMS, AXES, BASE, SUMS, Ablation, where
from pipelines.studies.tables import Gap, gaps, load_sums, write_rows

DAYS: Final = (1, 3, 5)
COLOURS: Final = {"time": "#14784f", "parameters": "#3b6fb6"}


@dataclass(frozen=True)
class Row(Gap):
    """One number of the table: an arm's score, compared with the base's."""

    axis: str
    arm: str
    embed: int
    parameters: int
    steps: int
    question: str


def rows(study: Ablation, folder: Path, plan: Mapping[str, Any]) -> list[Row]:
    """Compare what is finished, each arm on the seeds that it and the base have both done."""
    out: list[Row] = []
    for axis in AXES:
        for arm in study.arms:
            pairs = [
                [where(folder, axis, name, seed) / SUMS for name in (arm, BASE)]
                for seed in study.seeds
            ]
            done = [pair for pair in pairs if all(path.exists() for path in pair)]
            if done:
                one, base = zip(*([load_sums(path) for path in pair] for pair in done), strict=True)
                facts = {name: plan[axis][arm][name] for name in ("embed", "parameters", "steps")}
                out += [
                    Row(**asdict(gap), axis=axis, arm=arm, **facts, question=ARMS[arm].question)
                    for gap in gaps(one, base, DAYS)
                ]
    return out


def write(found: Sequence[Row], folder: Path) -> None:
    """Write ``ablation.csv`` and ``ablation.png``."""
    write_rows(found, folder / "ablation.csv")
    _draw(found, folder / "ablation.png")


def _draw(found: Sequence[Row], path: Path, field: str = "z500") -> None:
    """Draw each arm's difference to the base in anomaly correlation, with its interval, by lead."""
    part = [row for row in found if (row.field, row.score) == (field, "acc") and row.arm != BASE]
    arms = [name for name in ARMS if any(row.arm == name for row in part)]
    days = sorted({row.day for row in part})
    figure = Figure(
        figsize=(max(3.0 * len(days) + 1.5, 6.0), 0.5 * len(arms) + 2.0), layout="constrained"
    )
    axes = figure.subplots(1, max(len(days), 1), squeeze=False, sharey=True)[0]
    for axis, day in zip(axes, days, strict=False):
        for offset, (equal, colour) in zip((-0.13, 0.13), COLOURS.items(), strict=True):
            shown = [row for row in part if (row.day, row.axis) == (day, equal)]
            if not shown:
                continue
            axis.errorbar(
                [row.difference for row in shown],
                [arms.index(row.arm) + offset for row in shown],
                xerr=[
                    [row.difference - row.low for row in shown],
                    [row.high - row.difference for row in shown],
                ],
                fmt="o",
                markersize=4,
                capsize=2.5,
                color=colour,
                label=f"at equal {equal}",
            )
        axis.axvline(0.0, color="k", linewidth=0.6)
        axis.set(title=f"day {day}", xlabel=f"{field} ACC, arm minus base")
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(arms)), arms)
    axes[0].set_ylim(len(arms) - 0.5, -0.5)
    if part:
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8
        )
        counts = f"{part[0].seeds} seeds, {part[0].inits} init times"
        figure.suptitle(f"Beside {ARMS[BASE].question}\n{counts}; 95 % intervals", fontsize=9)
    figure.savefig(path, dpi=110)
