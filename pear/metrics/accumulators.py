"""The table of sums that one pass over the data fills and that any number of workers can merge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from pear.metrics.statistics import NAMES, Array, weighted_sums

Channel = tuple[str, int | None]


"""Canonical variable name and level in hPa, None at the surface."""


@dataclass(frozen=True)
class ScoreAccumulator:
    """Weighted sums of every statistic by (init, lead, channel, region).

    Attributes
    ----------
    inits
        (init,) ``datetime64[s]``, increasing.
    leads
        (lead,) ``timedelta64[s]``, increasing.
    channels
        (variable, level) behind the channel axis.
    regions
        Names behind the region axis.
    values
        (statistic, init, lead, channel, region), float64; an entry that was never added has
        weight 0.
    names
        Statistics behind the first axis: those of a deterministic forecast, or
        :data:`pear.metrics.ensemble.ENSEMBLE_NAMES`.
    """

    inits: npt.NDArray[np.datetime64]
    leads: npt.NDArray[np.timedelta64]
    channels: tuple[Channel, ...]
    regions: tuple[str, ...] = ("global",)
    values: Array = field(default_factory=lambda: np.empty(0), repr=False)
    names: tuple[str, ...] = NAMES

    def __post_init__(self) -> None:
        inits = np.atleast_1d(np.asarray(self.inits, dtype="datetime64[s]"))
        leads = np.atleast_1d(np.asarray(self.leads, dtype="timedelta64[s]"))
        for label, axis in (("inits", inits), ("leads", leads)):
            if axis.size == 0 or np.any(np.diff(axis.astype(np.int64)) <= 0):
                raise ValueError(f"{label} must be strictly increasing and not empty, got {axis}")
        axes = (inits, leads, self.channels, self.regions)
        shape = (len(self.names), *(len(axis) for axis in axes))
        values = self.values if self.values.size else np.zeros(shape)
        if values.shape != shape:
            raise ValueError(f"sums have shape {values.shape}, the axes say {shape}")
        object.__setattr__(self, "inits", inits)
        object.__setattr__(self, "leads", leads)
        object.__setattr__(self, "values", values)

    def add(
        self,
        init: np.datetime64,
        lead: np.timedelta64,
        forecast: npt.ArrayLike,
        truth: npt.ArrayLike,
        climatology: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        mask: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Add one verification: fields (channel, cell) at one init and lead.

        Parameters
        ----------
        init, lead
            Entries of :attr:`inits` and :attr:`leads`.
        forecast, truth, climatology
            (channel, cell), physical units; climatology at the valid time.
        weights
            (region, cell); equal weights for a single region if not given.
        mask
            (channel, cell), False to skip.

        Raises
        ------
        ValueError
            If init or lead is not on the axes, shapes disagree, or a sum is not finite (a NaN in
            a field that no mask skips).
        """
        if weights is None:
            weights = np.ones((1, np.shape(forecast)[-1]))
        self.add_sums(init, lead, weighted_sums(forecast, truth, climatology, weights, mask))

    def add_sums(self, init: np.datetime64, lead: np.timedelta64, sums: Array) -> None:
        """Add sums (statistic, channel, region) that were formed elsewhere; as :meth:`add`."""
        i = position(self.inits, init, "init")
        j = position(self.leads, lead, "lead")
        if not np.isfinite(sums).all():
            channel = int(np.argwhere(~np.isfinite(sums))[0, 1])
            raise ValueError(
                f"{self.channels[channel]} at init {init}, lead {lead} has values that are not "
                "finite; mask them or repair the store"
            )
        self.values[:, i, j] += sums

    def merge(self, other: ScoreAccumulator) -> ScoreAccumulator:
        """Return the table of both: axes united, sums added. Any order gives the same table.

        Raises
        ------
        ValueError
            If channels or regions differ.
        """
        for label in ("channels", "regions", "names"):
            if getattr(self, label) != getattr(other, label):
                raise ValueError(f"tables with different {label} cannot be merged")
        inits = np.union1d(self.inits, other.inits)
        leads = np.union1d(self.leads, other.leads)
        shape = (len(self.names), inits.size, leads.size, *self.values.shape[3:])
        values = np.zeros(shape)
        for part in (self, other):
            rows = np.searchsorted(inits, part.inits)
            columns = np.searchsorted(leads, part.leads)
            values[:, rows[:, None], columns] += part.values
        return ScoreAccumulator(inits, leads, self.channels, self.regions, values, self.names)

    @staticmethod
    def merged(parts: Iterable[ScoreAccumulator]) -> ScoreAccumulator:
        """Merge any number of tables, at least one."""
        return reduce(ScoreAccumulator.merge, parts)

    def select(
        self,
        *,
        inits: npt.NDArray[np.intp] | None = None,
        regions: Sequence[str] | None = None,
        channels: Sequence[Channel] | None = None,
    ) -> ScoreAccumulator:
        """Return the table of some inits (by position, strictly increasing), regions, channels."""
        values, times, names = self.values, self.inits, self.regions
        kept = self.channels if channels is None else tuple(channels)
        if channels is not None:
            values = values[:, :, :, [position(self.channels, c, "channel") for c in kept]]
        if inits is not None:
            values, times = values[:, inits], times[inits]
        if regions is not None:
            values = values[..., [position(names, name, "region") for name in regions]]
            names = tuple(regions)
        return ScoreAccumulator(times, self.leads, kept, names, values, self.names)


def position(axis: Any, item: Any, what: str) -> int:
    found = [index for index, entry in enumerate(axis) if entry == item]
    if not found:
        raise ValueError(f"{what} {item} is not one of {list(axis)}")
    return found[0]


@dataclass(frozen=True)
class FieldAccumulator:
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

    def merge(self, other: FieldAccumulator) -> FieldAccumulator:
        """Return the sum of both; axes must agree."""
        same = (self.channels, self.names, self.size) == (other.channels, other.names, other.size)
        if not same or not np.array_equal(self.leads, other.leads):
            raise ValueError("means with different axes cannot be merged")
        return FieldAccumulator(
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
