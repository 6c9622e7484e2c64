"""Scores of forecasts in Datasets, beside those of the baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import xarray as xr

from pear import resources
from pear.datasets.regrid import is_healpix, regrid
from pear.errors import InputError, did_you_mean
from pear.metrics import SCORES, ScoreAccumulator, ensemble_sums, region_weights
from pear.metrics.dataset import LONG_NAMES, scores_to_dataset
from pear.metrics.ensemble import ENSEMBLE_NAMES
from pear.metrics.statistics import NAMES, weighted_sums
from pear.models.climate import (
    OTHER_CLIMATE,
    Atmosphere,
    analysis_atmosphere,
    global_mean_difference,
)
from pear.sphere.healpix import centres, nside_from_cells
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.store.coarse import coarsen_channels
from pear.store.dataset import dataset_layout
from pear.store.static_fields import read_static_fields
from pear.times import as_utc, to_iso
from pear.typing import Float32, Float64, StrPath
from pear.variables import BY_NAME, SIMULATED, Layout

ACC_DEFINITION: Final = (
    "sum(f' o') / sqrt(sum(f'^2) sum(o'^2)) over cells and init times, not centred, with anomalies "
    "from the climatology at the valid time (arXiv 2505.17720 and WeatherBench-X)"
)
Forecasts: TypeAlias = xr.Dataset | Sequence[xr.Dataset] | Mapping[str, xr.Dataset]
Read: TypeAlias = Callable[[np.datetime64], Float32]


def evaluate(
    forecast: Forecasts,
    analysis: xr.Dataset | StrPath,
    climatology: Climatology | StrPath,
    *,
    metrics: Sequence[str] = ("rmse", "acc", "mae", "bias"),
    regions: Sequence[str] = ("global",),
    baselines: bool = True,
    allow_other_climate: bool = False,
) -> xr.Dataset:
    """Score forecasts against analyses, as ``pear evaluate`` does.

    Parameters
    ----------
    forecast
        As returned by ``forecast`` of a model or :func:`pear.open_forecast`; several Datasets of
        one forecaster with different init times; or one Dataset for each forecaster, by name. A
        dimension ``number`` makes an ensemble: it is scored by its mean, and by its members in the
        metrics :data:`pear.metrics.ENSEMBLE_SCORES`.
    analysis
        Analyses at all valid times: a Dataset on HEALPix, one on a latitude-longitude grid, which
        is regridded, or a store.
    climatology
        Reference of the anomalies: a climatology, its store, or ``"shipped"`` for that of the
        simulated atmosphere.
    metrics
        Names of :data:`pear.metrics.SCORES`.
    regions
        Names as in :func:`pear.metrics.region_weights`: ``global``, ``tropics``, ``europe``,
        ``land``, ``band:-60:-30``, ``box:35:75:-12.5:42.5`` …
    baselines
        Also score persistence and the climatology.
    allow_other_climate
        Score forecasts although they started outside their model's training climate, or although
        forecasts, analysis and climatology are of different kinds of atmosphere or have other
        global means. The scores say so in their attribute ``other_climate``.

    Returns
    -------
    xarray.Dataset
        One variable for each variable of the forecasts, (metric, forecaster, region,
        prediction_timedelta, [level]), float64, over all init times, without lead time 0. NaN
        where a metric does not apply, such as the anomaly correlation of the climatology. The
        attributes tell the definition of the anomaly correlation and the init times.

    Raises
    ------
    InputError
        If a metric or region is unknown, the forecasts have different axes, the analyses or the
        climatology lack a time, variable or level, or are of another climate.

    Examples
    --------
    >>> import pear
    >>> analysis = pear.sample_analysis()
    >>> forecaster = pear.Persistence(analysis.pear.layout, nside=16)
    >>> forecast = forecaster.forecast(analysis, init="2006-11-01", lead="2d")
    >>> scores = evaluate(forecast, analysis, climatology="shipped", metrics=["rmse"])
    >>> scores["geopotential"].dims
    ('metric', 'forecaster', 'region', 'prediction_timedelta', 'level')
    """
    _check_metrics(metrics)
    forecasts = {
        name: _Forecast.from_datasets(name, many) for name, many in _named(forecast).items()
    }
    first = next(iter(forecasts.values()))
    for name, other in forecasts.items():
        other.require_same_axes(first, name)
    truth = _open_analysis(analysis, first.layout, first.nside)
    expected, source = _open_climatology(climatology, first.layout, first.nside)
    climate = _describe_climate(forecasts, truth, expected, source)
    if not allow_other_climate:
        _require_one_climate(climate)
    land = read_static_fields(truth.path, first.nside)["land_fraction"]
    weights = region_weights(regions, *centres(first.nside), land_fraction=land)
    axes = first.inits, first.leads, first.layout.channels, tuple(regions)
    sums = {
        name: ScoreAccumulator(*axes, names=NAMES + ENSEMBLE_NAMES[1:] if f.is_ensemble else NAMES)
        for name, f in forecasts.items()
    }
    if baselines:
        for name in set(forecasts) & {"persistence", "climatology"}:
            raise InputError(
                f"the forecaster {name!r} has the name of a baseline",
                field="forecast",
                hint="name it otherwise, or give baselines=False",
            )
        sums |= {name: ScoreAccumulator(*axes) for name in ("persistence", "climatology")}
    for init in first.inits:
        initial = truth.read(init) if baselines else None
        for lead in first.leads:
            observed, usual = truth.read(init + lead), expected(init + lead)
            fields = {name: f.read(init, lead) for name, f in forecasts.items()}
            if initial is not None:
                fields |= {"persistence": initial, "climatology": usual}
            for name, values in fields.items():
                sums[name].add_sums(init, lead, _sums(values, observed, usual, weights))
    about = {
        "title": "Scores of forecasts",
        "acc_definition": ACC_DEFINITION,
        "analysis": truth.name,
        "climatology": source,
        "init_times": [to_iso(init) for init in first.inits],
        **climate,
    }
    return _arrange(scores_to_dataset(sums, metrics), first.layout).assign_attrs(about)


def _check_metrics(metrics: Sequence[str]) -> None:
    for name in metrics:
        if name not in SCORES:
            raise InputError(
                f"unknown metric {name!r}", field="metrics", hint=did_you_mean(name, SCORES)
            )


def _describe_climate(
    forecasts: Mapping[str, _Forecast], truth: Analysis, expected: Read, source: str
) -> dict[str, str]:
    """Return attributes that tell the kind of atmosphere, and a difference in climate."""
    first = next(iter(forecasts.values()))
    given = analysis_atmosphere(truth.attributes)
    found = {SIMULATED: "true"} if given == "simulated" else {}
    for name, each in forecasts.items():
        stated = each.stated_difference(given)
        if stated is not None:
            return {**found, OTHER_CLIMATE: f"{name}: {stated}"}
    time = first.inits[0] + first.leads[0]
    usual = expected(time).astype(np.float64)
    names = [f"{name}{level or ''}" for name, level in first.layout.channels]
    statistics = usual.mean(axis=1), usual.std(axis=1)
    difference = global_mean_difference(
        names, truth.read(time), *statistics, f"climatology {source}"
    )
    if difference is None:
        return found
    return {**found, OTHER_CLIMATE: f"analysis {truth.name} at {to_iso(time)}: {difference}"}


def _require_one_climate(described: Mapping[str, str]) -> None:
    if OTHER_CLIMATE in described:
        raise InputError(
            described[OTHER_CLIMATE],
            field="analysis",
            hint="allow it with allow_other_climate=True",
        )


def _sums(forecast: Float32, observed: Float32, usual: Float32, weights: Float64) -> Float64:
    """Return the sums of one forecast (channel, cell) or ensemble (member, channel, cell)."""
    mean = forecast if forecast.ndim == 2 else forecast.mean(axis=0, dtype=np.float64)
    sums = weighted_sums(mean, observed, usual, weights)
    if forecast.ndim == 2:
        return sums
    # Both tables begin with the same weight.
    return np.concatenate([sums, ensemble_sums(forecast, observed, weights)[1:]])


@dataclass(frozen=True)
class _Forecast:
    """The forecasts of one forecaster, by init time."""

    layout: Layout
    nside: int
    leads: np.typing.NDArray[np.timedelta64]
    is_ensemble: bool
    by_init: dict[np.datetime64, xr.Dataset]

    @classmethod
    def from_datasets(cls, name: str, datasets: Sequence[xr.Dataset]) -> _Forecast:
        by_init: dict[np.datetime64, xr.Dataset] = {}
        for data in datasets:
            if "prediction_timedelta" not in data.dims or not is_healpix(data):
                raise InputError(
                    f"{name} is not a forecast on HEALPix (its dimensions: "
                    f"{', '.join(map(str, data.dims))})",
                    field="forecast",
                )
            inits = as_utc(data["time"].values)
            by_init |= {init: data.isel(time=row) for row, init in enumerate(inits)}
        first = datasets[0]
        leads = first["prediction_timedelta"].values.astype("timedelta64[s]")
        leads = leads[leads > np.timedelta64(0, "s")]
        if leads.size == 0:
            raise InputError(f"{name} has no lead time after 0", field="forecast")
        found = cls(
            dataset_layout(first),
            nside_from_cells(first.sizes["cell"]),
            leads,
            "number" in first.dims,
            {init: by_init[init] for init in sorted(by_init)},
        )
        for data in datasets[1:]:
            found.require_same_axes(cls.from_datasets(name, [data]), name, inits=False)
        return found

    @property
    def inits(self) -> np.typing.NDArray[np.datetime64]:
        return np.array(list(self.by_init), dtype="datetime64[s]")

    def stated_difference(self, given: Atmosphere) -> str | None:
        """Return what a forecast says of its climate, if that is not the analysis's."""
        for data in self.by_init.values():
            if OTHER_CLIMATE in data.attrs:
                return str(data.attrs[OTHER_CLIMATE])
            own = analysis_atmosphere(data.attrs)
            # Forecasts of other origin need not say that they are simulated.
            if own != given and (own == "simulated" or "model" in data.attrs):
                return f"the forecast is {own}, and the analysis is {given}"
        return None

    def require_same_axes(self, other: _Forecast, name: str, *, inits: bool = True) -> None:
        for what, one, two in (
            ("variables or levels", self.layout, other.layout),
            ("resolution", self.nside, other.nside),
            ("lead times", self.leads.tolist(), other.leads.tolist()),
            ("init times", inits and self.inits.tolist(), inits and other.inits.tolist()),
        ):
            if one != two:
                raise InputError(
                    f"the forecasts differ in {what} ({name})",
                    field="forecast",
                    hint="select what they share first",
                )

    def read(self, init: np.datetime64, lead: np.timedelta64) -> Float32:
        """Return the fields at one lead time, ([member,] channel, cell)."""
        data = self.by_init[init].sel(prediction_timedelta=lead).load()
        first = ("number",) if self.is_ensemble else ()
        parts = []
        for name in self.layout.names:
            array = data[name]
            if name in self.layout.upper:
                array = array.sel(level=list(self.layout.levels)).transpose(*first, "level", "cell")
            else:
                array = array.expand_dims("level").transpose(*first, "level", "cell")
            parts.append(np.asarray(array.values, dtype=np.float32))
        return np.concatenate(parts, axis=-2)


def _named(forecast: Forecasts) -> dict[str, Sequence[xr.Dataset]]:
    """Return the Datasets of each forecaster."""
    if isinstance(forecast, Mapping) and not isinstance(forecast, xr.Dataset):
        found = {name: [data] for name, data in forecast.items()}
    else:
        many = [forecast] if isinstance(forecast, xr.Dataset) else list(forecast)
        found = {"pear" if "model" in many[0].attrs else "forecast": many} if many else {}
    if not found:
        raise InputError(
            "there are no forecasts", field="forecast", hint="give one Dataset or several"
        )
    return dict(found)


def _open_analysis(analysis: xr.Dataset | StrPath, layout: Layout, nside: int) -> Analysis:
    if isinstance(analysis, xr.Dataset) and not is_healpix(analysis):
        analysis = regrid(analysis, nside)
    return Analysis(analysis, layout, nside)


def _open_climatology(
    climatology: Climatology | StrPath, layout: Layout, nside: int
) -> tuple[Read, str]:
    """Return a reader of (channel, cell) by valid time, and the name of the climatology."""
    if not isinstance(climatology, Climatology):
        shipped = climatology == "shipped"
        path = resources.path("climatology") if shipped else climatology
        climatology = Climatology.open(path, layout, nside)
    held = list(climatology.layout.channels)
    missing = [channel for channel in layout.channels if channel not in held]
    if missing or nside > climatology.nside:
        what = f"{missing[0][0]} {missing[0][1] or ''}".strip() if missing else f"nside {nside}"
        raise InputError(f"climatology {climatology.name} lacks {what}", field="climatology")
    rows = [held.index(channel) for channel in layout.channels]

    def read(time: np.datetime64) -> Float32:
        surface, upper = climatology.at(time)
        fields = np.concatenate([surface[0], upper[0].reshape(-1, upper.shape[-1])])[rows]
        return np.asarray(coarsen_channels(fields, layout, nside))

    return read, climatology.name


def _arrange(scores: xr.Dataset, layout: Layout) -> xr.Dataset:
    """Turn one variable per metric (…, channel) into one per field (metric, …, [level])."""
    stacked = scores.to_dataarray("metric").transpose("metric", ...)
    stacked = stacked.assign_coords(metric=stacked["metric"].astype(str))
    names, levels = stacked["variable"].values, stacked["level"].values
    plain = stacked.drop_vars(["channel", "variable", "level", "units", "init_times"])
    out = {}
    for name in layout.names:
        about = {"units": BY_NAME[name].units, "long_name": BY_NAME[name].long_name}
        rows = np.flatnonzero(names == name)
        if BY_NAME[name].kind == "surface":
            out[name] = plain.isel(channel=int(rows[0])).assign_attrs(about)
        else:
            rows = rows[np.argsort(levels[rows])]
            coordinate = ("level", levels[rows].astype(int), {"units": "hPa"})
            found = plain.isel(channel=rows).rename(channel="level")
            out[name] = found.assign_coords(level=coordinate).assign_attrs(about)
    data = xr.Dataset(out)
    long_names = [LONG_NAMES[str(name)] for name in data["metric"].values]
    return data.assign_coords(metric_name=("metric", long_names))
