"""Everything that one pass over the data sums up; parts made anywhere merge into the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.metrics import (
    ENSEMBLE_NAMES,
    FieldAccumulator,
    ScoreAccumulator,
    ensemble_sums,
    region_weights,
)
from pear.sphere.healpix import angular_power, cells_of_nside, centres
from pear.typing import Channel, Float64, Times
from pear.variables import Layout

Fields = npt.NDArray[np.float32]

REGIONS: Final = ("global", "northern_extratropics", "tropics", "southern_extratropics")
CHARTED: Final[tuple[Channel, ...]] = (
    ("geopotential", 500),
    ("temperature", 850),
    ("specific_humidity", 700),
    ("u_component_of_wind", 850),
    ("mean_sea_level_pressure", None),
    ("2m_temperature", None),
    ("10m_u_component_of_wind", None),
)
"""Channels that get spectra and maps of error, where a forecaster has them."""
CHARTED_DAYS: Final = (1, 3, 5, 7, 10)
MOST_SPECTRA: Final = 12
"""Init times that spectra are averaged over: a transform costs as much as all other scores."""


@dataclass(frozen=True)
class Plan:
    """What is verified: axes of the tables, shared by all parts of the work.

    Attributes
    ----------
    layout, nside
        Of every forecaster.
    inits
        All init times, strictly increasing, of all parts together.
    leads
        (lead,) ``timedelta64[s]``.
    regions, weights
        Names and (region, cell).
    charted
        Channels with spectra and maps.
    charted_leads
        Leads with spectra and maps.
    """

    layout: Layout
    nside: int
    inits: Times
    leads: npt.NDArray[np.timedelta64]
    regions: tuple[str, ...]
    weights: Float64 = field(repr=False)
    charted: tuple[Channel, ...]
    charted_leads: npt.NDArray[np.timedelta64]

    @classmethod
    def of(
        cls,
        layout: Layout,
        nside: int,
        inits: Times,
        leads: npt.NDArray[np.timedelta64],
        regions: Sequence[str] = REGIONS,
        *,
        land_fraction: npt.ArrayLike | None = None,
        cells: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Plan:
        """Plan an evaluation; ``land_fraction`` and ``cells`` as in :func:`region_weights`."""
        weights = region_weights(regions, *centres(nside), land_fraction=land_fraction, cells=cells)
        charted = tuple(channel for channel in CHARTED if channel in layout.channels)
        days = np.array(CHARTED_DAYS, dtype="timedelta64[D]").astype("timedelta64[s]")
        return cls(
            layout,
            nside,
            inits,
            leads.astype("timedelta64[s]"),
            tuple(regions),
            weights,
            charted,
            leads[np.isin(leads, days)].astype("timedelta64[s]"),
        )

    @property
    def spectral_inits(self) -> Times:
        """The init times whose spectra are taken, spread over all."""
        count = min(MOST_SPECTRA, len(self.inits))
        chosen: Times = self.inits[np.linspace(0, len(self.inits) - 1, count).astype(int)]
        return chosen

    def charted_rows(self) -> list[int]:
        """Positions of the charted channels on the channel axis."""
        return [self.layout.channels.index(channel) for channel in self.charted]


@dataclass(frozen=True)
class EvaluationAccumulators:
    """Sums of one forecaster: scores, and means of spectra and of maps of error.

    Attributes
    ----------
    scores
        (init, lead, channel, region).
    spectra
        ``forecast`` and ``truth``, (lead, channel, degree), units squared.
    maps
        ``error`` and ``squared_error``, (lead, channel, cell).
    ensemble
        CRPS and spread, (init, lead, channel, region), if the forecaster is an ensemble; the
        other tables are then those of its mean.
    """

    plan: Plan = field(repr=False)
    scores: ScoreAccumulator
    spectra: FieldAccumulator
    maps: FieldAccumulator
    ensemble: ScoreAccumulator | None = None

    @classmethod
    def empty(cls, plan: Plan, inits: Times, *, ensemble: bool = False) -> EvaluationAccumulators:
        """Make the tables of some of the plan's init times."""
        axes = (plan.charted_leads, plan.charted)
        score_axes = (inits, plan.leads, plan.layout.channels, plan.regions)
        return cls(
            plan,
            ScoreAccumulator(*score_axes),
            FieldAccumulator(*axes, ("forecast", "truth"), 2 * plan.nside + 1),
            FieldAccumulator(*axes, ("error", "squared_error"), cells_of_nside(plan.nside)),
            ScoreAccumulator(*score_axes, names=ENSEMBLE_NAMES) if ensemble else None,
        )

    def add_members(
        self, init: np.datetime64, lead: np.timedelta64, members: Fields, truth: Fields
    ) -> None:
        """Add one verification of an ensemble, (member, channel, cell)."""
        if self.ensemble is None:
            raise TypeError("these tables are those of a single forecast")
        sums = ensemble_sums(members, truth, self.plan.weights)
        self.ensemble.add_sums(init, lead, sums)

    def add(
        self,
        init: np.datetime64,
        lead: np.timedelta64,
        forecast: Fields,
        truth: Fields,
        climatology: Fields,
        truth_spectrum: Float64 | None = None,
    ) -> None:
        """Add one verification, fields (channel, cell); the spectrum (charted channel, degree).

        A truth spectrum is given where the forecast's own is wanted too.
        """
        self.scores.add(init, lead, forecast, truth, climatology, self.plan.weights)
        if lead not in self.plan.charted_leads or not self.plan.charted:
            return
        rows = self.plan.charted_rows()
        error = forecast[rows].astype(np.float64) - truth[rows]
        self.maps.add(lead, {"error": error, "squared_error": error**2})
        if truth_spectrum is not None:
            own = angular_power(forecast[rows])
            self.spectra.add(lead, {"forecast": own, "truth": truth_spectrum})

    def merge(self, other: EvaluationAccumulators) -> EvaluationAccumulators:
        """Add the tables of other init times."""
        return EvaluationAccumulators(
            self.plan,
            self.scores.merge(other.scores),
            self.spectra.merge(other.spectra),
            self.maps.merge(other.maps),
            None
            if self.ensemble is None or other.ensemble is None
            else self.ensemble.merge(other.ensemble),
        )


def merge_all(
    parts: Iterable[Mapping[str, EvaluationAccumulators]],
) -> dict[str, EvaluationAccumulators]:
    """Merge the tables of every forecaster over any number of parts, in any order."""

    first, *others = parts
    merged = dict(first)
    for part in others:
        merged = {name: table.merge(part[name]) for name, table in merged.items()}
    return merged
