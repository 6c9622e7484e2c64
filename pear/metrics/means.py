"""Means over init times of whole arrays: spectra and maps, mergeable like the sums of scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pear.metrics.statistics import Array
from pear.metrics.sums import Channel, position


@dataclass(frozen=True)
class MeanArrays:
    """Sums over init times of arrays by lead and channel, and how many were added.

    Attributes
    ----------
    leads
        (lead,) ``timedelta64[s]``, increasing.
    channels
        (variable, level) behind the channel axis.
    names
        What is summed, such as ``("forecast", "truth")``.
    size
        Length of the last axis: degrees of a spectrum, cells of a map.
    totals
        (name, lead, channel, size).
    counts
        (lead,) number of arrays added.
    """

    leads: npt.NDArray[np.timedelta64]
    channels: tuple[Channel, ...]
    names: tuple[str, ...]
    size: int
    totals: Array = field(default_factory=lambda: np.empty(0), repr=False)
    counts: Array = field(default_factory=lambda: np.empty(0), repr=False)

    def __post_init__(self) -> None:
        leads = np.atleast_1d(np.asarray(self.leads, dtype="timedelta64[s]"))
        object.__setattr__(self, "leads", leads)
        shape = (len(self.names), leads.size, len(self.channels), self.size)
        if not self.totals.size:
            object.__setattr__(self, "totals", np.zeros(shape))
            object.__setattr__(self, "counts", np.zeros(leads.size))
        if self.totals.shape != shape or self.counts.shape != (leads.size,):
            raise ValueError(f"totals have shape {self.totals.shape}, the axes say {shape}")

    def add(self, lead: np.timedelta64, values: Mapping[str, npt.ArrayLike]) -> None:
        """Add one array (channel, size) for every name.

        Raises
        ------
        ValueError
            If the lead is not on the axis, a name is missing, or a value is not finite.
        """
        row = position(self.leads, lead, "lead")
        stacked = np.stack([np.asarray(values[name], dtype=np.float64) for name in self.names])
        if not np.isfinite(stacked).all():
            raise ValueError(f"values at lead {lead} are not finite")
        self.totals[:, row] += stacked
        self.counts[row] += 1

    def merge(self, other: MeanArrays) -> MeanArrays:
        """Return the sum of both; axes must agree."""
        same = (self.channels, self.names, self.size) == (other.channels, other.names, other.size)
        if not same or not np.array_equal(self.leads, other.leads):
            raise ValueError("means with different axes cannot be merged")
        return MeanArrays(
            self.leads,
            self.channels,
            self.names,
            self.size,
            self.totals + other.totals,
            self.counts + other.counts,
        )

    def mean(self, name: str) -> Array:
        """Mean over what was added, (lead, channel, size); NaN where nothing was."""
        total = self.totals[position(self.names, name, "name")]
        count = self.counts[:, None, None]
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return np.asarray(mean)
