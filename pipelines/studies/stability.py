"""Stability: long forecasts beside the analyses of the same days, and bounds that they must keep.

To blur and to blow up are both unstable, and so are drifts of the mean, of mass and of energy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.models.checkpoint import load
from pear.rollout import Forecaster, PearForecaster
from pear.sphere.healpix import angular_power
from pear.state import State
from pear.store.analysis import Analysis
from pear.times import to_iso
from pear.typing import Float32, Float64, Times
from pear.variables import Layout, channel_label
from pipelines.evaluation.accumulators import PLOTTED
from pipelines.studies.comparison import write_results
from pipelines.studies.soundness import Fields, describe
from pipelines.studies.study import Study, Trial

BANDS: Final = {"planetary": (0.0, 0.35), "synoptic": (0.35, 1.0), "small": (1.25, 2.0)}
"""Degrees of the spherical harmonics over the nside: from above the first to the second."""
SPREAD_BOUNDS: Final = (0.8, 1.25)
POWER_BOUNDS: Final = {"planetary": (0.4, 2.5), "synoptic": (0.4, 2.5), "small": (0.8, 1.25)}
"""Of the power over that of the analyses; few waves make the larger scales vary more."""
LONG: Final = 30
"""Days from which drifts are bounded: before, they are the weather's."""
BOUNDS: Final = {
    "mean_z500": ("difference", 60.0),
    "mean_t850": ("difference", 0.5),
    "mean_t2m": ("difference", 0.7),
    "dry_mass": ("difference", 0.1),
    "negative_humidity": ("value", 0.0),
    "kinetic_energy": ("ratio", 0.02),
    "hydrostatic": ("ratio", 0.5),
}
"""Largest departure of a forecast from the analyses: differences in the units of
:func:`pipelines.studies.soundness.describe`, ratios from 1; of the hydrostatic residual upwards."""


@dataclass(frozen=True, kw_only=True)
class StabilityStudy(Study):
    """Long forecasts from several init times; one trial each.

    Attributes
    ----------
    store
        Analysis store with all days of the forecasts that are compared.
    inits
        Init times.
    model
        Folder of the model.
    days
        Length of a forecast.
    every
        Days between the lead times compared; day 1 and the last always are.
    correct
        Whether the model's correction is applied.
    """

    store: Path
    inits: Times
    model: Path
    days: int = 30
    every: int = 5
    correct: bool = True

    name: ClassVar[str] = "stability"

    @cached_property
    def forecaster(self) -> Forecaster:
        """The model under test."""
        return PearForecaster(load(self.model), correct=self.correct)

    def design(self) -> list[Trial]:
        """Return one forecast per init time."""
        return [
            Trial(time[:10], f"{time[:10]}.nc", partial(self._measure, init))
            for init, time in zip(self.inits, map(to_iso, self.inits), strict=True)
        ]

    def _measure(self, init: np.datetime64, folder: Path) -> None:
        forecaster = self.forecaster
        analysis = Analysis(self.store, forecaster.layout, forecaster.nside)
        days = sorted({1, *range(self.every, self.days + 1, self.every), self.days})
        write_results(measure(forecaster, analysis, init, days), folder / f"{to_iso(init)[:10]}.nc")

    def report(self, results: xr.Dataset) -> xr.Dataset:
        """Compare forecasts with analyses, averaged over the init times; write two tables.

        Parameters
        ----------
        results
            See :func:`measure`.

        Returns
        -------
        xarray.Dataset
            See :func:`compare_variability` and :func:`compare_soundness`, in one.
        """
        report = xr.merge([compare_variability(results), compare_soundness(results)])
        self.write_table(report[["spread", "power", "stable"]])
        kept = [name for name in ("departure", "bound", "sound") if name in report]
        self.write_table(report[[*kept, "reached"]], "soundness")
        return report


def measure(
    forecaster: Forecaster, analysis: Analysis, init: np.datetime64, days: list[int]
) -> xr.Dataset:
    """Forecast from one init time and measure it beside the analyses.

    Parameters
    ----------
    forecaster
        Model with daily steps.
    analysis
        Analyses on the model's channels and grid.
    init
        Init time.
    days
        Lead times to measure, increasing.

    Returns
    -------
    xarray.Dataset
        ``spread`` (forecaster, source, day, field), the standard deviation over cells, ``power``
        (…, degree) and ``soundness`` (forecaster, source, day, quantity) of the sources
        ``forecast`` and ``analysis``; NaN after a forecast that left the physical range, whose last
        physical day is ``reached`` (forecaster). The only entry of ``forecaster`` is the init time.

    Raises
    ------
    InputError
        If the model has none of the fields that are compared, or an analysis is missing.
    """
    layout = forecaster.layout
    fields = [channel for channel in PLOTTED if channel in layout.channels]
    if not fields:
        raise InputError("the model has none of the fields compared", field="--model")
    rows = [layout.channels.index(channel) for channel in fields]
    truths = [analysis.read(init + day * forecaster.time_step) for day in days]
    states = {0: analysis.read(init)}
    reached, stopped = 0, ""
    stream = forecaster.iterate(State.from_channels(states[0][None], [init], layout), days[-1])
    try:
        for reached, state in enumerate(stream, start=1):
            if reached in days:
                states[reached] = state.to_channels()[0]
    except InputError as error:
        stopped = error.message
    patch = getattr(getattr(getattr(forecaster, "checkpoint", None), "config", None), "patch", 16)
    blank = np.full_like(truths[0], np.nan)
    parts = [
        [_numbers(values, rows, layout, patch) for values in (states.get(day, blank), truth)]
        for day, truth in zip(days, truths, strict=True)
    ]
    names = sorted(parts[0][1][2])
    sound = [[[one[2].get(name, np.nan) for name in names] for one in pair] for pair in parts]
    dims = ("day", "source", "field")
    return xr.Dataset(
        {
            "spread": (dims, [[one[0] for one in pair] for pair in parts]),
            "power": ((*dims, "degree"), [[one[1] for one in pair] for pair in parts]),
            "soundness": (("day", "source", "quantity"), np.array(sound).reshape(len(days), 2, -1)),
            "reached": ((), reached),
            "stopped": ((), stopped),
        },
        {
            "day": days,
            "source": ["forecast", "analysis"],
            "field": [channel_label(channel) for channel in fields],
            "quantity": names,
        },
    ).expand_dims(forecaster=[to_iso(init)])


def _numbers(
    values: Float32, rows: list[int], layout: Layout, patch: int
) -> tuple[Float64, Float64, dict[str, float]]:
    """Return spread (field,), power (field, degree) and soundness of a state; NaN for NaN."""
    chosen = values[rows].astype(np.float64)
    if np.isnan(chosen).any():
        return chosen.std(axis=-1), np.full_like(angular_power(np.zeros_like(chosen)), np.nan), {}
    sound = describe(Fields(values.astype(np.float64), layout), patch)
    return chosen.std(axis=-1), angular_power(chosen), sound


def compare_variability(results: xr.Dataset) -> xr.Dataset:
    """Return ratios forecast over analysis of sums over init times, and whether they are stable.

    Parameters
    ----------
    results
        See :func:`measure`.

    Returns
    -------
    xarray.Dataset
        Ratios, where 1 is perfect: ``spread`` (field, day) of the standard deviations over cells,
        ``power`` (field, day, band) of the spectra, and ``stable`` (field, day), True where all lie
        within their bounds. NaN, and not stable, where a forecast did not get that far.
    """
    total = results[["spread", "power"]].sum("forecaster", skipna=False)
    nside = (total.sizes["degree"] - 1) // 2
    powers = []
    for low, high in BANDS.values():
        degrees = slice(math.floor(low * nside) + 1, math.floor(high * nside) + 1)
        powers.append(total["power"].isel(degree=degrees).sum("degree", skipna=False))
    power = xr.concat(powers, xr.DataArray(list(BANDS), dims="band", name="band"))
    data = xr.Dataset({"spread": total["spread"], "power": power})
    ratio = data.sel(source="forecast", drop=True) / data.sel(source="analysis", drop=True)
    bounds = xr.DataArray(
        list(POWER_BOUNDS.values()), {"band": list(POWER_BOUNDS)}, ("band", "end")
    )
    inside = (ratio["power"] >= bounds.isel(end=0)) & (ratio["power"] <= bounds.isel(end=1))
    spread = ratio["spread"].clip(*SPREAD_BOUNDS) == ratio["spread"]
    return ratio.assign(stable=inside.all("band") & spread)


def compare_soundness(results: xr.Dataset) -> xr.Dataset:
    """Return how far forecasts depart from analyses, and whether that is within the bounds.

    Parameters
    ----------
    results
        See :func:`measure`.

    Returns
    -------
    xarray.Dataset
        ``departure`` (quantity, day) of the means over init times: differences, values or ratios as
        in :data:`BOUNDS`, ``bound`` (quantity) the largest allowed, NaN where there is none,
        ``sound`` (quantity, day), and ``reached``, the last physical day of the shortest forecast.
        Means and mass are bounded from day :data:`LONG` on.
    """
    reached = results["reached"].min("forecaster")
    if not results.sizes["quantity"]:
        return xr.Dataset({"reached": reached})
    mean = results["soundness"].mean("forecaster", skipna=False)
    forecast, truth = (mean.sel(source=source, drop=True) for source in ("forecast", "analysis"))
    departures, bounds, sound = [], [], []
    for name in mean["quantity"].values:
        kind, bound = BOUNDS.get(str(name), ("ratio", np.nan))
        here, there = forecast.sel(quantity=name), truth.sel(quantity=name)
        value = {"difference": here - there, "value": here}.get(kind, here / there)
        off = value - 1 if kind == "ratio" else value
        kept = (off if name == "hydrostatic" else abs(off)) <= bound
        if kind == "difference":
            kept = kept | ((mean["day"] < LONG) & value.notnull())
        departures.append(value)
        bounds.append(bound)
        sound.append(kept | np.isnan(bound))
    return xr.Dataset(
        {
            "departure": xr.concat(departures, mean["quantity"]),
            "bound": ("quantity", bounds),
            "sound": xr.concat(sound, mean["quantity"]),
            "reached": reached,
        }
    )
