"""The tables of a study: two networks side by side, with intervals over init times and seeds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pear.metrics import ScoreAccumulator
from pear.metrics.bootstrap import bootstrap_seeds
from pear.typing import Channel
from pear.variables import channel_label
from pipelines.storage.atomic import write_atomically

SCORES: Final = ("acc", "rmse")
FIELDS: Final[tuple[Channel, ...]] = (
    ("geopotential", 500),
    ("temperature", 850),
    ("mean_sea_level_pressure", None),
    ("2m_temperature", None),
    ("10m_u_component_of_wind", None),
)


def save_sums(path: Path, sums: ScoreAccumulator) -> None:
    """Keep a table of sums over the globe, float64."""
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        values=sums.values,
        inits=sums.inits,
        leads=sums.leads,
        channels=np.array(json.dumps(sums.channels)),
    )
    write_atomically(path, stream.getbuffer())


def load_sums(path: Path) -> ScoreAccumulator:
    """Read what :func:`save_sums` kept."""
    with np.load(path) as data:
        channels = tuple((str(n), level) for n, level in json.loads(str(data["channels"])))
        return ScoreAccumulator(data["inits"], data["leads"], channels, ("global",), data["values"])


@dataclass(frozen=True)
class Gap:
    """One score of one field at one lead, beside that of the network it is compared with.

    Attributes
    ----------
    value, reference, difference
        The score pooled over init times and seeds, that of the other network, and value minus it.
    low, high
        Interval of the difference (95 %), paired over init times and seeds.
    """

    field: str
    day: int
    score: str
    value: float
    reference: float
    difference: float
    low: float
    high: float
    seeds: int
    inits: int

    @property
    def decided(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def gaps(
    tables: Sequence[ScoreAccumulator],
    reference: Sequence[ScoreAccumulator],
    days: Sequence[int] | None = None,
) -> list[Gap]:
    """Compare two networks, trained with the same seeds, in :data:`SCORES` and :data:`FIELDS`.

    Parameters
    ----------
    tables, reference
        One for each seed, in the same order.
    days
        Leads wanted, those there are; all if not given.
    """
    channels = [channel for channel in FIELDS if channel in tables[0].channels]
    one, two = ([t.select(channels=channels) for t in many] for many in (tables, reference))
    last = one[0].leads.size
    out = []
    for score in SCORES:
        value, other = (bootstrap_seeds(t, score, replicates=1)[0] for t in (one, two))
        difference, interval = bootstrap_seeds(one, score, two)
        for column, channel in enumerate(channels):
            for day in days or range(1, last + 1):
                if day <= last:
                    at = (day - 1, column, 0)
                    out.append(
                        Gap(
                            channel_label(channel),
                            day,
                            score,
                            float(value[at]),
                            float(other[at]),
                            float(difference[at]),
                            float(interval.low[at]),
                            float(interval.high[at]),
                            len(one),
                            int(one[0].inits.size),
                        )
                    )
    return out


def write_rows(found: Sequence[Any], path: Path) -> None:
    """Write rows, dataclasses of one kind, as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(found[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in found)
    write_atomically(path, text.getvalue().encode())
