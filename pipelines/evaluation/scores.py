"""Scores of an evaluation as one Dataset: what was evaluated, scores, intervals, sums and maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from pear import __version__
from pear.errors import InputError
from pear.metrics import ENSEMBLE_SCORES, FieldAccumulator, ScoreAccumulator, bootstrap
from pear.metrics.dataset import CORRELATIONS, DIMS, scores_to_dataset, sums_to_dataset
from pear.metrics.scores import has_score
from pear.times import to_iso
from pear.variables import channel_label
from pipelines.evaluation.accumulators import Accumulators
from pipelines.storage.checksums import check_files

METRICS: Final = (
    "acc",
    "rmse",
    "mae",
    "bias",
    "acc_per_init",
    "acc_centered",
    "rmse_per_init",
    "activity",
)
MIN_INITS: Final = 8
"""Fewer init times say too little about other init times: no interval is computed."""
REPLICATES: Final = 500
FILE: Final = "scores.nc"
_OF_FILE: Final = ("Conventions", "title", "history")
_LONG_NAMES: Final = {
    "rmse_difference": "RMSE of the first forecaster minus that of each other",
    "init_times": "number of init times",
    "sums": "sums by init time, from which every score is computed",
    "power": "mean power spectrum of the forecasts",
    "power_of_analysis": "mean power spectrum of the analyses",
    "error_map": "mean error, forecast minus analysis",
    "squared_error_map": "mean squared error",
    "time": "initial time of the forecasts",
    "plotted_lead": "lead time of spectra and maps",
    "plotted_channel": "variable and level of spectra and maps",
}
_LARGE: Final = ("sums", "power", "power_of_analysis", "error_map", "squared_error_map")


def evaluation_dataset(sums: Accumulators, about: Mapping[str, Any]) -> xr.Dataset:
    """Compute all scores of an evaluation.

    Parameters
    ----------
    sums
        Sums of each forecaster; the first is the one under test.
    about
        Attributes of the result: model, analysis, climatology and others.

    Returns
    -------
    xarray.Dataset
        Scores as in :func:`pear.metrics.dataset.scores_to_dataset` and

        ``acc_low``, ``acc_high``, ``rmse_low``, ``rmse_high``
            95 % intervals by block bootstrap over the init times.
        ``rmse_difference``, ``rmse_difference_low``, ``rmse_difference_high``
            RMSE of the first forecaster minus that of the others, with its interval on the same
            draws; negative where the first is better.
        ``sums``
            Sums by init time, from which any score can be computed.
        ``power``, ``power_of_analysis``
            Mean spectra, (forecaster, plotted_lead, plotted_channel, degree).
        ``error_map``, ``squared_error_map``
            Mean maps, (forecaster, plotted_lead, plotted_channel, cell).

        Intervals need at least :data:`MIN_INITS` init times. A score that is not finite and
        cannot be 0/0 is a ValueError.
    """
    tables = {name: one.scores for name, one in sums.items()}
    ensembles = any(has_score(table, "crps") for table in tables.values())
    data = scores_to_dataset(tables, METRICS + (ENSEMBLE_SCORES if ensembles else ()))
    _check_finite(data)
    if data["init_times"] >= MIN_INITS:
        _add_intervals(data, tables)
    data["sums"] = sums_to_dataset(tables)["sums"]
    design = next(iter(sums.values())).design
    plotted = {
        "plotted_lead": design.plotted_leads,
        "plotted_channel": [channel_label(channel) for channel in design.plotted],
    }
    for name, kind, which, size in (
        ("power", "spectra", "forecast", "degree"),
        ("power_of_analysis", "spectra", "analysis", "degree"),
        ("error_map", "maps", "error", "cell"),
        ("squared_error_map", "maps", "squared_error", "cell"),
    ):
        means: list[FieldAccumulator] = [getattr(one, kind) for one in sums.values()]
        if design.plotted and any(mean.counts.any() for mean in means):
            data = data.assign_coords(plotted)
            values = np.stack([mean.mean(which) for mean in means])
            data[name] = ("forecaster", *plotted, size), values
    _describe_variables(data)
    return data.assign_attrs({k: v for k, v in about.items() if k not in ("inits", "regions")})


def _describe_variables(data: xr.Dataset) -> None:
    """Say of each variable and axis what it is, where that is not said yet."""
    for name in map(str, data.variables):
        about = data[name].attrs
        for end, which in (("_low", "lower"), ("_high", "upper")):
            score = name.removesuffix(end)
            if score != name and score in data:
                of = data[score].attrs.get("long_name", score)
                about.setdefault("long_name", f"{of}: {which} end of the 95 % interval")
        if name in _LONG_NAMES:
            about.setdefault("long_name", _LONG_NAMES[name])
    data["time"].attrs.setdefault("standard_name", "forecast_reference_time")


def _check_finite(data: xr.Dataset) -> None:
    for name in METRICS:
        if name not in CORRELATIONS and not np.isfinite(data[name]).all():
            where = data[name].where(~np.isfinite(data[name]), drop=True)
            at = ", ".join(f"{dim} {where[dim].values[0]}" for dim in DIMS)
            raise ValueError(f"{name} is not finite for {at}")


def _add_intervals(data: xr.Dataset, tables: Mapping[str, ScoreAccumulator]) -> None:
    """Add 95 % intervals of ACC and RMSE, and of RMSE differences to the first forecaster."""
    first, *others = tables.values()
    bounds = {
        which: [bootstrap(table, which, replicates=REPLICATES) for table in tables.values()]
        for which in ("acc", "rmse")
    }
    gaps = [bootstrap(first, "rmse", other, replicates=REPLICATES) for other in others]
    for which, intervals in bounds.items():
        for end in ("low", "high"):
            values = np.stack([getattr(one, end) for one in intervals])
            data[f"{which}_{end}"] = DIMS, values.transpose(0, 3, 1, 2)
    if others:
        rmse = data["rmse"]
        data["rmse_difference"] = (rmse[0] - rmse).where(
            rmse["forecaster"] != rmse["forecaster"][0]
        )
        for end in ("low", "high"):
            values = np.stack(
                [np.full_like(bounds["rmse"][0].low, np.nan)] + [getattr(gap, end) for gap in gaps]
            )
            data[f"rmse_difference_{end}"] = DIMS, values.transpose(0, 3, 1, 2)


def write_scores(data: xr.Dataset, path: Path) -> None:
    """Write a Dataset of scores as netCDF; sums, spectra and maps as compressed float32."""
    encoding: dict[str, dict[str, Any]] = {
        str(name): {"zlib": True, "dtype": "float32"}
        for name, array in data.data_vars.items()
        if set(array.dims) != set(DIMS)
    }
    about = (
        "CF-1.13",
        f"scores of {data.attrs.get('model', 'a model')}",
        f"written by PEAR {__version__}",
    )
    attributes = dict(zip(_OF_FILE, about, strict=True)) | data.attrs
    data.assign_attrs(attributes).to_netcdf(path, engine="netcdf4", encoding=encoding)


def read_scores(path: Path, *, scores_only: bool = False) -> xr.Dataset:
    """Read the scores of an evaluation into memory.

    Parameters
    ----------
    path
        Folder of the evaluation.
    scores_only
        Leave out sums, spectra and maps.

    Returns
    -------
    xarray.Dataset
        As :func:`evaluation_dataset`.

    Raises
    ------
    InputError
        If the folder has no scores.
    """
    file = Path(path) / FILE
    if not file.is_file():
        raise InputError(f"no scores at {file}", field="evaluation", hint="run `pear evaluate`")
    check_files(Path(path))
    omitted = _LARGE if scores_only else ()
    return xr.load_dataset(file, engine="netcdf4", decode_timedelta=True, drop_variables=omitted)


def open_scores(path: Path) -> xr.Dataset:
    """Open the scores of an evaluation, of which only what is used is read; close it afterwards.

    Parameters
    ----------
    path
        Folder of the evaluation, checked by :func:`read_scores` before.

    Returns
    -------
    xarray.Dataset
        As :func:`evaluation_dataset`.
    """
    return xr.open_dataset(Path(path) / FILE, engine="netcdf4", decode_timedelta=True)


def describe(data: xr.Dataset) -> dict[str, Any]:
    """Return what was evaluated, as JSON can hold it."""
    about = {
        str(name): _to_plain(value) for name, value in data.attrs.items() if name not in _OF_FILE
    }
    inits = [to_iso(time) for time in data["time"].values.astype("datetime64[s]")]
    return {**about, "inits": inits, "regions": [str(name) for name in data["region"].values]}


def _to_plain(value: object) -> object:
    """Convert an attribute, which netCDF returns as NumPy types, to what JSON can hold."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value
