"""The tables of an ablation: every arm beside the base, with intervals over inits and seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pear.metrics import Channel
from pear.metrics.bootstrap import bootstrap_seeds
from pear.variables import BY_NAME
from pipelines.ablation import ARMS, AXES, BASE, Study, load_sums, where
from pipelines.files import write_atomically

FIELDS: Final[tuple[Channel, ...]] = (
    ("geopotential", 500), ("temperature", 850), ("mean_sea_level_pressure", None),
    ("2m_temperature", None), ("10m_u_component_of_wind", None),
)  # fmt: skip
DAYS: Final = (1, 3, 5)
SCORES: Final = ("acc", "rmse")


@dataclass(frozen=True)
class Row:
    """One number of the table.

    Attributes
    ----------
    value, difference
        The score pooled over seeds, and minus that of the base.
    low, high
        Interval of the difference (95 %).
    """

    axis: str
    arm: str
    field: str
    day: int
    score: str
    value: float
    difference: float
    low: float
    high: float
    seeds: int
    inits: int
    embed: int
    parameters: int
    steps: int

    @property
    def decided(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def rows(study: Study, folder: Path, plan: Mapping[str, Any]) -> list[Row]:
    """Collect what is finished; arms without a finished seed are left out."""
    out: list[Row] = []
    for axis in AXES:
        tables = {
            arm: [
                load_sums(path / "sums.npz")
                for seed in study.seeds
                if ((path := where(folder, axis, arm, seed)) / "sums.npz").exists()
            ]
            for arm in study.arms
        }
        if not tables[BASE]:
            continue
        for arm, held in tables.items():
            if held:
                out += _of_arm(axis, arm, held, tables[BASE], plan[axis][arm])
    return out


def _of_arm(
    axis: str, arm: str, held: Sequence[Any], base: Sequence[Any], facts: Mapping[str, Any]
) -> list[Row]:  # fmt: skip
    found = []
    fields = [channel for channel in FIELDS if channel in held[0].channels]
    held, base = ([table.select(channels=fields) for table in many] for many in (held, base))
    sums = held[0]
    days = [d for d in DAYS if d <= sums.leads.size]
    for score in SCORES:
        value, _ = bootstrap_seeds(held, score, replicates=1)
        gap, interval = bootstrap_seeds(held, score, base)
        for column, (name, level) in enumerate(fields):
            label = BY_NAME[name].short_name + ("" if level is None else str(level))
            for day in days:
                at = (day - 1, column, 0)
                found.append(Row(
                    axis, arm, label, day, score, float(value[at]), float(gap[at]),
                    float(interval.low[at]), float(interval.high[at]), len(held),
                    int(sums.inits.size), int(facts["embed"]), int(facts["parameters"]),
                    int(facts["steps"]),
                ))  # fmt: skip
    return found


def write_table(found: Sequence[Row], folder: Path) -> Path:
    """Write all rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(Row.__dataclass_fields__)
    writer.writerow([*names, "question"])
    for row in found:
        writer.writerow([*(getattr(row, name) for name in names), ARMS[row.arm].question])
    path = folder / "ablation.csv"
    write_atomically(path, text.getvalue().encode())
    return path
