"""Design of an evaluation and the sums that it accumulates; sums of any parts merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from pear.metrics.ensemble import rank_names, rank_sums
from pear.metrics.statistics import NAMES, weighted_sums
from pear.sphere.healpix import angular_power, cells_of_nside, centres
from pear.typing import Channel, Float32, Float64, Times
from pear.variables import Layout

REGIONS: Final = ("global", "northern_extratropics", "tropics", "southern_extratropics")
PLOTTED: Final[tuple[Channel, ...]] = (
    ("geopotential", 500),
    ("temperature", 850),
    ("specific_humidity", 700),
    ("u_component_of_wind", 850),
    ("mean_sea_level_pressure", None),
    ("2m_temperature", None),
    ("10m_u_component_of_wind", None),
)
"""Channels with spectra and error maps, where a forecaster has them."""
PLOTTED_DAYS: Final = (1, 3, 5, 7, 10)
MAX_SPECTRAL_INITS: Final = 12
"""Init times that spectra are averaged over: a transform costs as much as all other scores."""


@dataclass(frozen=True)
class EvaluationDesign:
    """Axes of an evaluation, shared by all its parts.

    Attributes
    ----------
    layout, nside
        Channels and grid of every forecaster.
    inits
        Init times of all parts together, strictly increasing.
    leads
        Lead times, (lead,) ``timedelta64[s]``.
    regions, weights
        Names of the regions and their weights (region, cell).
    plotted
        Channels with spectra and error maps.
    plotted_leads
        Lead times with spectra and error maps.
    derived
        Quantities that are computed from the channels and scored beside them.
    """

    layout: Layout
    nside: int
    inits: Times
    leads: npt.NDArray[np.timedelta64]
    regions: tuple[str, ...]
    weights: Float64 = field(repr=False)
    plotted: tuple[Channel, ...]
    plotted_leads: npt.NDArray[np.timedelta64]
    derived: tuple[Channel, ...] = ()

    @classmethod
    def build(
        cls,
        layout: Layout,
        nside: int,
        inits: Times,
        leads: npt.NDArray[np.timedelta64],
        regions: Sequence[str] = REGIONS,
        *,
        land_fraction: npt.ArrayLike | None = None,
        derived: Sequence[Channel] = (),
    ) -> EvaluationDesign:
        """Return the design with the weights of the regions and the channels to plot.

        Parameters
        ----------
        layout, nside, inits, leads
            See the class.
        regions
            Names as in :func:`pear.metrics.region_weights`.
        land_fraction
            (cell,) in [0, 1]; needed by the regions ``land`` and ``sea``.
        derived
            See the class.

        Returns
        -------
        EvaluationDesign
        """
        days = np.array(PLOTTED_DAYS, dtype="timedelta64[D]").astype("timedelta64[s]")
        return cls(
            layout,
            nside,
            inits,
            leads.astype("timedelta64[s]"),
            tuple(regions),
            region_weights(regions, *centres(nside), land_fraction=land_fraction),
            tuple(channel for channel in PLOTTED if channel in layout.channels),
            leads[np.isin(leads, days)].astype("timedelta64[s]"),
            tuple(derived),
        )

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Channels of the layout, then the derived quantities."""
        return self.layout.channels + self.derived

    def without_plots(self) -> EvaluationDesign:
        """Return the same design without spectra and error maps."""
        return replace(self, plotted=())

    @property
    def spectral_inits(self) -> Times:
        """At most :data:`MAX_SPECTRAL_INITS` evenly chosen init times with spectra."""
        count = min(MAX_SPECTRAL_INITS, len(self.inits))
        chosen: Times = self.inits[np.linspace(0, len(self.inits) - 1, count).astype(int)]
        return chosen

    @property
    def plotted_rows(self) -> list[int]:
        """Positions of the plotted channels on the channel axis."""
        return [self.layout.channels.index(channel) for channel in self.plotted]


@dataclass(frozen=True)
class EvaluationAccumulators:
    """Sums of one forecaster: scores, spectra and error maps.

    Attributes
    ----------
    scores
        (init, lead, channel, region); those of an ensemble are of its mean and hold
        :data:`pear.metrics.ENSEMBLE_NAMES` and the ranks of the analysis as well.
    spectra
        ``forecast`` and ``analysis``, (lead, channel, degree), units squared.
    maps
        ``error`` and ``squared_error``, (lead, channel, cell).
    """

    design: EvaluationDesign = field(repr=False)
    scores: ScoreAccumulator
    spectra: FieldAccumulator
    maps: FieldAccumulator

    @classmethod
    def empty(
        cls, design: EvaluationDesign, inits: Times, *, members: int = 0
    ) -> EvaluationAccumulators:
        """Return empty sums over some init times, with the statistics of members."""
        axes = (design.plotted_leads, design.plotted)
        names = NAMES + ENSEMBLE_NAMES[1:] + rank_names(members) if members else NAMES
        return cls(
            design,
            ScoreAccumulator(inits, design.leads, design.channels, design.regions, names=names),
            FieldAccumulator(*axes, ("forecast", "analysis"), 2 * design.nside + 1),
            FieldAccumulator(*axes, ("error", "squared_error"), cells_of_nside(design.nside)),
        )

    def add(
        self,
        init: np.datetime64,
        lead: np.timedelta64,
        fields: Float32,
        references: References,
    ) -> None:
        """Add one forecast (channel, cell), or the members of one (member, channel, cell)."""
        design, analysis = self.design, references.analysis
        forecast = fields if fields.ndim == 2 else fields.mean(axis=0, dtype=np.float64)
        sums = weighted_sums(forecast, analysis, references.climatology, design.weights)
        if fields.ndim == 3:
            # Both tables begin with the same weight.
            ensemble = ensemble_sums(fields, analysis, design.weights)[1:]
            sums = np.concatenate([sums, ensemble, rank_sums(fields, analysis, design.weights)])
        self.scores.add_sums(init, lead, sums)
        if lead not in design.plotted_leads or not design.plotted:
            return
        rows = design.plotted_rows
        error = forecast[rows].astype(np.float64) - analysis[rows]
        self.maps.add(lead, {"error": error, "squared_error": error**2})
        if references.spectrum is not None:
            power = angular_power(forecast[rows])
            self.spectra.add(lead, {"forecast": power, "analysis": references.spectrum})

    def merge(self, other: EvaluationAccumulators) -> EvaluationAccumulators:
        """Return the sums of both; parts may be merged in any order."""
        return EvaluationAccumulators(
            self.design,
            self.scores.merge(other.scores),
            self.spectra.merge(other.spectra),
            self.maps.merge(other.maps),
        )


@dataclass(frozen=True)
class References:
    """Float32 that a forecast is compared with at one valid time.

    Attributes
    ----------
    analysis, climatology
        (channel, cell), physical units.
    spectrum
        Power of the analysis (plotted channel, degree), where the forecast's is wanted too.
    channels
        Number of channels before the derived quantities.
    """

    analysis: Float32
    climatology: Float32
    spectrum: Float64 | None = None
    channels: int | None = None

    @property
    def derived_climatology(self) -> Float32:
        """(derived quantity, cell)."""
        return self.climatology[len(self.climatology) if self.channels is None else self.channels :]


Accumulators = Mapping[str, EvaluationAccumulators]
"""Sums of each forecaster, by name."""


def merge_accumulators(one: Accumulators, other: Accumulators) -> Accumulators:
    """Return the sums of two parts of an evaluation, forecaster by forecaster."""
    return {name: sums.merge(other[name]) for name, sums in one.items()}
