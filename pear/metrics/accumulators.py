"""Mergeable means: tables of sums that one pass over the data fills and any worker can merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pear.metrics.statistics import NAMES, weighted_sums
from pear.typing import Bool, Channel, Float64, Times


@dataclass(frozen=True)
class ScoreAccumulator:
    """Weighted sums of every statistic by (init, lead, channel, region).

    Attributes
    ----------
    inits
        (init,) init times, ``datetime64[s]``, increasing.
    leads
        (lead,) lead times, ``timedelta64[s]``, increasing.
    channels
        (variable, level) along the channel axis.
    regions
        Names along the region axis.
    values
        (statistic, init, lead, channel, region), float64; entries without data have weight 0.
    names
        Statistics along the first axis: those of a deterministic forecast, or
        :data:`pear.metrics.ensemble.ENSEMBLE_NAMES`.

    Raises
    ------
    ValueError
        If an axis is empty or not increasing, or the values do not fit the axes.

    Examples
    --------
    >>> from pear.metrics import score
    >>> sums = ScoreAccumulator(
    ...     np.array(["2019-01-01"], "datetime64[s]"),
    ...     np.array([1], "timedelta64[D]"),
    ...     (("geopotential", 500),),
    ... )
    >>> analysis = np.zeros((1, 48))
    >>> sums.add(sums.inits[0], sums.leads[0], analysis + 2.0, analysis, analysis)
    >>> float(score(sums, "rmse")[0, 0, 0])
    2.0
    """

    inits: Times
    leads: npt.NDArray[np.timedelta64]
    channels: tuple[Channel, ...]
    regions: tuple[str, ...] = ("global",)
    values: Float64 = field(default_factory=lambda: np.empty(0), repr=False)
    names: tuple[str, ...] = NAMES

    def __post_init__(self) -> None:
        inits = np.atleast_1d(np.asarray(self.inits, dtype="datetime64[s]"))
        leads = np.atleast_1d(np.asarray(self.leads, dtype="timedelta64[s]"))
        for label, axis in (("inits", inits), ("leads", leads)):
            if axis.size == 0 or np.any(np.diff(axis.astype(np.int64)) <= 0):
                raise ValueError(f"{label} must be strictly increasing and not empty, got {axis}")
        axes = (self.names, inits, leads, self.channels, self.regions)
        shape = tuple(len(axis) for axis in axes)
        values = self.values if self.values.size else np.zeros(shape)
        if values.shape != shape:
            raise ValueError(f"sums have shape {values.shape}, the axes need {shape}")
        object.__setattr__(self, "inits", inits)
        object.__setattr__(self, "leads", leads)
        object.__setattr__(self, "values", values)

    def add(
        self,
        init: np.datetime64,
        lead: np.timedelta64,
        forecast: npt.ArrayLike,
        analysis: npt.ArrayLike,
        climatology: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        mask: Bool | None = None,
    ) -> None:
        """Add the fields of one init time and lead time.

        An init or lead time that is not on the axes, and a value that is not finite and not
        masked, are a ValueError.

        Parameters
        ----------
        init, lead
            Entries of :attr:`inits` and :attr:`leads`.
        forecast, analysis, climatology
            (channel, cell), physical units; the climatology at the valid time.
        weights
            (region, cell); default: equal weights for a single region.
        mask
            (channel, cell), False where a value is to be skipped.
        """
        if weights is None:
            weights = np.ones((1, np.shape(forecast)[-1]))
        self.add_sums(init, lead, weighted_sums(forecast, analysis, climatology, weights, mask))

    def add_sums(self, init: np.datetime64, lead: np.timedelta64, sums: Float64) -> None:
        """Add sums that were computed elsewhere.

        Parameters
        ----------
        init, lead
            Entries of :attr:`inits` and :attr:`leads`.
        sums
            (statistic, channel, region).

        Raises
        ------
        ValueError
            If a sum is not finite.
        """
        i = _index(self.inits, init, "init")
        j = _index(self.leads, lead, "lead")
        if not np.isfinite(sums).all():
            channel = int(np.argwhere(~np.isfinite(sums))[0, 1])
            raise ValueError(
                f"{self.channels[channel]} at init {init}, lead {lead} has values that are not "
                "finite; mask them or repair the store"
            )
        self.values[:, i, j] += sums

    def merge(self, other: ScoreAccumulator) -> ScoreAccumulator:
        """Combine with another table; the result does not depend on the order of merges.

        Parameters
        ----------
        other
            Table with the same channels, regions and statistics.

        Returns
        -------
        ScoreAccumulator
            United axes, added sums.

        Raises
        ------
        ValueError
            If channels, regions or statistics differ.
        """
        for label in ("channels", "regions", "names"):
            if getattr(self, label) != getattr(other, label):
                raise ValueError(f"tables with different {label} cannot be merged")
        inits = np.union1d(self.inits, other.inits)
        leads = np.union1d(self.leads, other.leads)
        values = np.zeros((len(self.names), inits.size, leads.size, *self.values.shape[3:]))
        for part in (self, other):
            rows = np.searchsorted(inits, part.inits)
            columns = np.searchsorted(leads, part.leads)
            values[:, rows[:, None], columns] += part.values
        return ScoreAccumulator(inits, leads, self.channels, self.regions, values, self.names)

    def select(
        self,
        *,
        inits: npt.NDArray[np.intp] | None = None,
        regions: Sequence[str] | None = None,
        channels: Sequence[Channel] | None = None,
    ) -> ScoreAccumulator:
        """Select a part of the table.

        Parameters
        ----------
        inits
            Positions of init times, increasing; default: all.
        regions
            Names of regions; default: all.
        channels
            (variable, level) pairs; default: all.

        Returns
        -------
        ScoreAccumulator
            The selected sums.
        """
        values, times = self.values, self.inits
        kept = self.channels if channels is None else tuple(channels)
        names = self.regions if regions is None else tuple(regions)
        if channels is not None:
            values = values[:, :, :, [_index(self.channels, c, "channel") for c in kept]]
        if inits is not None:
            values, times = values[:, inits], times[inits]
        if regions is not None:
            values = values[..., [_index(self.regions, name, "region") for name in names]]
        return ScoreAccumulator(times, self.leads, kept, names, values, self.names)


@dataclass(frozen=True)
class FieldAccumulator:
    """Sums over init times of spectra or maps by lead time and channel, and their number.

    Attributes
    ----------
    leads
        (lead,) lead times, ``timedelta64[s]``, increasing.
    channels
        (variable, level) along the channel axis.
    names
        Summed quantities, such as ``("forecast", "truth")``.
    size
        Length of the last axis: degrees of a spectrum, cells of a map.
    totals
        (name, lead, channel, size).
    counts
        (lead,) number of arrays added.

    Raises
    ------
    ValueError
        If the totals do not fit the axes.

    Examples
    --------
    >>> from pear.metrics import FieldAccumulator
    >>> channels = (("temperature", 850),)
    >>> means = FieldAccumulator(np.timedelta64(1, "D"), channels, ("error",), size=2)
    >>> means.add(means.leads[0], {"error": [[1.0, 2.0]]})
    >>> means.add(means.leads[0], {"error": [[3.0, 2.0]]})
    >>> means.mean("error")
    array([[[2., 2.]]])
    """

    leads: npt.NDArray[np.timedelta64]
    channels: tuple[Channel, ...]
    names: tuple[str, ...]
    size: int
    totals: Float64 = field(default_factory=lambda: np.empty(0), repr=False)
    counts: Float64 = field(default_factory=lambda: np.empty(0), repr=False)

    def __post_init__(self) -> None:
        leads = np.atleast_1d(np.asarray(self.leads, dtype="timedelta64[s]"))
        object.__setattr__(self, "leads", leads)
        shape = (len(self.names), leads.size, len(self.channels), self.size)
        if not self.totals.size:
            object.__setattr__(self, "totals", np.zeros(shape))
            object.__setattr__(self, "counts", np.zeros(leads.size))
        if self.totals.shape != shape or self.counts.shape != (leads.size,):
            raise ValueError(f"totals have shape {self.totals.shape}, the axes need {shape}")

    def add(self, lead: np.timedelta64, values: Mapping[str, npt.ArrayLike]) -> None:
        """Add one array for every name.

        Parameters
        ----------
        lead
            Entry of :attr:`leads`.
        values
            (channel, size) by name.

        Raises
        ------
        ValueError
            If a value is not finite.
        """
        row = _index(self.leads, lead, "lead")
        stacked = np.stack([np.asarray(values[name], dtype=np.float64) for name in self.names])
        if not np.isfinite(stacked).all():
            raise ValueError(f"values at lead {lead} are not finite")
        self.totals[:, row] += stacked
        self.counts[row] += 1

    def merge(self, other: FieldAccumulator) -> FieldAccumulator:
        """Combine with another table of the same axes.

        Parameters
        ----------
        other
            Table with the same axes.

        Returns
        -------
        FieldAccumulator
            Added sums and counts.

        Raises
        ------
        ValueError
            If the axes differ.
        """
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

    def mean(self, name: str) -> Float64:
        """Return the mean of a quantity, (lead, channel, size); NaN where nothing was added."""
        total = self.totals[_index(self.names, name, "name")]
        count = self.counts[:, None, None]
        nothing = np.full_like(total, np.nan)
        return np.asarray(np.divide(total, count, out=nothing, where=count > 0))


def _index(axis: Sequence[object] | npt.NDArray[np.generic], item: object, label: str) -> int:
    """Return the position of an entry on an axis."""
    for index, entry in enumerate(axis):
        if entry == item:
            return index
    raise ValueError(f"{label} {item} is not one of {list(axis)}")
