"""Stability: variance and spectrum of long forecasts compared with those of the analyses."""

from __future__ import annotations

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
from pear.typing import Times
from pear.variables import channel_label
from pipelines.evaluation.accumulators import PLOTTED
from pipelines.studies.comparison import write_results
from pipelines.studies.study import Study, Trial

BANDS: Final = {"planetary": (1, 5), "synoptic": (6, 15), "small": (16, None)}
"""Degrees of the spherical harmonics, both ends included; None: the highest."""
SPREAD_BOUNDS: Final = (0.8, 1.25)
POWER_BOUNDS: Final = (0.4, 2.5)


@dataclass(frozen=True, kw_only=True)
class StabilityStudy(Study):
    """Long forecasts from several init times; one trial each.

    Attributes
    ----------
    store
        Analysis store with all days of the forecasts.
    inits
        Init times.
    model
        Folder of the model.
    days
        Length of a forecast.
    every
        Days between the lead times compared; day 1 always is.
    """

    store: Path
    inits: Times
    model: Path
    days: int = 30
    every: int = 5

    name: ClassVar[str] = "stability"

    @cached_property
    def forecaster(self) -> Forecaster:
        """The model under test."""
        return PearForecaster(load(self.model))

    def design(self) -> list[Trial]:
        """Return one forecast per init time."""
        return [
            Trial(time[:10], f"{time[:10]}.nc", partial(self._measure, init))
            for init, time in zip(self.inits, map(to_iso, self.inits), strict=True)
        ]

    def _measure(self, init: np.datetime64, folder: Path) -> None:
        forecaster = self.forecaster
        analysis = Analysis(self.store, forecaster.layout, forecaster.nside)
        days = sorted({1, *range(self.every, self.days + 1, self.every)})
        write_results(measure(forecaster, analysis, init, days), folder / f"{to_iso(init)[:10]}.nc")

    def report(self, results: xr.Dataset) -> xr.Dataset:
        """Compare forecasts with analyses, averaged over the init times; write a table.

        Parameters
        ----------
        results
            See :func:`measure`.

        Returns
        -------
        xarray.Dataset
            Ratios forecast over analysis, where 1 is perfect: ``spread`` (field, day) of the
            standard deviations over cells, ``power`` (field, day, band) of the spectra, and
            ``stable`` (field, day), True where all lie within their bounds.
        """
        report = compare_variability(results)
        self.write_table(report)
        return report


def measure(
    forecaster: Forecaster, analysis: Analysis, init: np.datetime64, days: list[int]
) -> xr.Dataset:
    """Forecast from one init time and measure variability beside that of the analyses.

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
        ``spread`` (forecaster, source, day, field), the standard deviation over cells, and
        ``power`` (…, degree) of the sources ``forecast`` and ``analysis``; the only entry of
        ``forecaster`` is the init time.

    Raises
    ------
    InputError
        If the model has none of the fields that are compared.
    """
    channels = forecaster.layout.channels
    fields = [channel for channel in PLOTTED if channel in channels]
    if not fields:
        raise InputError("the model has none of the fields compared", field="--model")
    rows = [channels.index(channel) for channel in fields]
    initial = State.from_channels(analysis.read(init)[None], [init], forecaster.layout)
    values = []
    for day, state in enumerate(forecaster.iterate(initial, days[-1]), start=1):
        if day in days:
            truth = analysis.read(init + day * forecaster.time_step)
            values.append([state.to_channels()[0][rows], truth[rows]])
    parts = np.array(values, dtype=np.float64)
    dims = ("day", "source", "field")
    return xr.Dataset(
        {"spread": (dims, parts.std(axis=-1)), "power": ((*dims, "degree"), angular_power(parts))},
        {
            "day": days,
            "source": ["forecast", "analysis"],
            "field": [channel_label(channel) for channel in fields],
        },
    ).expand_dims(forecaster=[to_iso(init)])


def compare_variability(results: xr.Dataset) -> xr.Dataset:
    """Return ratios forecast over analysis of sums over init times, and whether they are stable.

    Parameters
    ----------
    results
        See :func:`measure`.

    Returns
    -------
    xarray.Dataset
        See :meth:`StabilityStudy.report`.
    """
    total = results.sum("forecaster")
    bands = {
        name: slice(low, None if high is None else high + 1)
        for name, (low, high) in BANDS.items()
        if low < total.sizes["degree"]
    }
    power = xr.concat(
        [total["power"].isel(degree=degrees).sum("degree") for degrees in bands.values()],
        xr.DataArray(list(bands), dims="band", name="band"),
    )
    data = xr.Dataset({"spread": total["spread"], "power": power})
    ratio = data.sel(source="forecast", drop=True) / data.sel(source="analysis", drop=True)
    inside = ratio["power"].clip(*POWER_BOUNDS) == ratio["power"]
    spread = ratio["spread"].clip(*SPREAD_BOUNDS) == ratio["spread"]
    return ratio.assign(stable=inside.all("band") & spread)
