"""Does a model stay weather? Variance and spectrum of long roll-outs beside the analyses'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.rollout import Forecaster
from pear.sphere.healpix import angular_power
from pear.state import State
from pear.store.analysis import Analysis
from pear.times import as_utc
from pear.typing import Channel, Times
from pear.variables import channel_label
from pipelines.evaluation.accumulators import PLOTTED

BANDS: Final = {"planetary": (1, 5), "synoptic": (6, 15), "small": (16, None)}
"""Degrees of the spherical harmonics, both ends included; None: the finest there is."""
SPREAD_BOUNDS: Final = (0.8, 1.25)
POWER_BOUNDS: Final = (0.4, 2.5)


@dataclass(frozen=True)
class Row:
    """Forecast over analysis for one field at one lead; 1 is perfect.

    Attributes
    ----------
    spread
        Ratio of the standard deviations over the cells, mean over init times.
    power
        Ratio of the spectral power by band.
    """

    field: str
    day: int
    spread: float
    power: dict[str, float]

    @property
    def within(self) -> bool:
        """Whether every ratio lies in its bounds."""
        low, high = POWER_BOUNDS
        inside = all(low <= value <= high for value in self.power.values())
        return inside and SPREAD_BOUNDS[0] <= self.spread <= SPREAD_BOUNDS[1]


def measure(
    forecaster: Forecaster,
    analysis: Analysis,
    inits: Times,
    days: int = 30,
    every: int = 5,
    tick: ProgressCallback | None = None,
) -> list[Row]:
    """Roll out from every init time and compare with the analyses of the same days.

    Parameters
    ----------
    forecaster
        The model.
    analysis
        Truth on the model's channels and grid.
    inits
        Init times; all days after them must be in the analysis.
    days
        Length of a roll-out.
    every
        Days between the leads that are looked at; day 1 always is.
    tick
        Called after each init time.

    Raises
    ------
    InputError
        If a day is missing in the analysis, or a forecast leaves the atmosphere.
    """
    fields = [channel for channel in PLOTTED if channel in forecaster.layout.channels]
    if not fields:
        raise InputError("the model has none of the charted fields", field="checkpoint")
    leads = sorted({1, *range(every, days + 1, every)})
    at = [forecaster.layout.channels.index(channel) for channel in fields]
    sums = np.zeros((2, 2, len(leads), len(fields)), dtype=object)
    for init in as_utc(inits):
        initial = State.from_channels(analysis.read(init)[None], [init], forecaster.layout)
        for day, state in enumerate(forecaster.iterate(initial, days), start=1):
            if day not in leads:
                continue
            truth = analysis.read(init + day * forecaster.time_step)
            for which, values in enumerate((state.to_channels()[0], truth)):
                part = values[at].astype(np.float64)
                power = angular_power(part)
                for column in range(len(fields)):
                    sums[0, which, leads.index(day), column] += float(part[column].std())
                    sums[1, which, leads.index(day), column] += power[column]
        if tick is not None:
            tick(1, str(init)[:10])
    return [
        _row(channel, day, sums[:, :, row, column])
        for column, channel in enumerate(fields)
        for row, day in enumerate(leads)
    ]


def _row(channel: Channel, day: int, sums: Any) -> Row:
    (spread, true_spread), (power, true_power) = sums
    ratios = {
        name: float(
            power[low : None if high is None else high + 1].sum()
            / true_power[low : None if high is None else high + 1].sum()
        )
        for name, (low, high) in BANDS.items()
        if low < len(power)
    }
    return Row(channel_label(channel), day, spread / true_spread, ratios)


def stable(rows: Sequence[Row]) -> bool:
    """Whether a model is weather to the end: every field at every lead within the bounds."""
    return all(row.within for row in rows)
