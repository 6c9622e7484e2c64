"""Datasets of what a service answers in JSON: values at points, and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from pear.errors import InputError
from pear.metrics.dataset import LONG_NAMES
from pear.store import schema
from pear.times import as_utc
from pear.typing import Float32, Float64
from pear.variables import BY_NAME, SIMULATED

_KEYS: Final = ("forecaster", "variable", "level", "lead_days", "region")
_LABEL: Final = ("statistic", "atmosphere")
"""Entries of an answer that say what its values are."""
_NOT_SCORES: Final = (
    *_KEYS,
    "init_times",
    "model",
    "climatology",
    "note",
    "init_hour",
    "valid_hour",
)


def point_dataset(answer: Mapping[str, Any], *, several: bool) -> xr.Dataset:
    """Return the forecast at points as ``sel_point`` of a local forecast returns it.

    Parameters
    ----------
    answer
        The JSON of ``/v1/forecasts/ID/point``.
    several
        Whether points were given as a list, and have an axis.

    Returns
    -------
    xarray.Dataset
        (time, prediction_timedelta, level, point), float32, NaN where the service has none; without
        an axis of levels at the surface, and without one of points for a single one.

    Raises
    ------
    InputError
        If variables come at different levels, which a Dataset cannot hold without gaps.
    """
    leads = np.array(answer["lead_hours"], "timedelta64[h]")
    points, nside = answer["points"], int(answer["grid"]["nside"])
    init = as_utc(answer["init_time"])
    coordinates = {
        "time": schema.time_coordinate("forecast", init),
        "prediction_timedelta": schema.lead_coordinate(leads),
        schema.VALID_TIME: schema.valid_time_coordinate(init, leads),
    }
    columns = _columns([point["series"] for point in points])
    long_names = {  # an older service has none
        str(row["variable"]): str(row["long_name"])
        for row in points[0]["series"]
        if row.get("long_name")
    }
    levels = sorted({level for each in columns.values() for level in each if level is not None})
    if levels:
        coordinates["level"] = schema.level_coordinate(levels)
    place = ("point",) if several else ()
    where = {
        name: (place, np.array([point[name] for point in points], kind))
        for name, kind in (("cell", np.int64), ("latitude", np.float64), ("longitude", np.float64))
    }
    if not several:
        where = {name: ((), values[0]) for name, (_, values) in where.items()}
    about = schema.group_attributes("forecast", nside, {})
    fields = {}
    for name, by_level in columns.items():
        surface = None in by_level
        order = [None] if surface else sorted(level for level in by_level if level is not None)
        if not surface and order != levels:
            raise InputError(
                f"{name} was asked for at {order} hPa, another variable at others",
                field="variables",
                hint="give levels= for all of them",
            )
        values = np.stack([by_level[level][1] for level in order], axis=1)  # lead, level, point
        values = values[:, 0] if surface else values
        values = values if several else values[..., 0]
        dims = ("time", "prediction_timedelta", *(() if surface else ("level",)), *place)
        units = by_level[order[0]][0]
        known = _attributes(name, units, nside, about)
        if name in long_names:
            known["long_name"] = long_names[name]
        fields[name] = (dims, values[None], known)
    coords = {name: tuple(each) for name, each in coordinates.items()} | where
    title = f"PEAR forecast at {len(points)} point{'s' * (len(points) != 1)}"
    attributes = {
        "title": ", ".join((title, *(str(answer[key]) for key in _LABEL if answer.get(key)))),
        "pear_kind": "point forecast",
        **{key: answer[key] for key in ("run", "model", "note", "interpolation")},
        **{key: answer[key] for key in _LABEL if answer.get(key)},
        **({SIMULATED: "true"} if answer.get("atmosphere") else {}),
    }
    return xr.Dataset(dict(sorted(fields.items())), coords, attributes)


def _columns(
    places: Sequence[Sequence[Mapping[str, Any]]],
) -> dict[str, dict[int | None, tuple[str, Float32]]]:
    """Return unit and values (lead, point) by variable and level."""
    found: dict[str, dict[int | None, tuple[str, Float32]]] = {}
    for rows in zip(*places, strict=True):
        first = rows[0]
        values = np.array([row["values"] for row in rows], dtype=np.float32).T  # None is NaN
        by_level = found.setdefault(str(first["variable"]), {})
        by_level[first["level"]] = str(first["units"]), values
    return found


def _attributes(name: str, units: str, nside: int, about: Mapping[str, Any]) -> dict[str, Any]:
    if name not in BY_NAME:  # derived, or of the service's own
        return {"units": units}
    known = schema.variable_attributes(name, nside, about)
    return {key: value for key, value in known.items() if key != "coordinates"} | {"units": units}


def scores_dataset(answer: Mapping[str, Any]) -> xr.Dataset:
    """Return scores as :func:`pear.evaluate` returns them.

    Parameters
    ----------
    answer
        The JSON of ``/v1/scores``.

    Returns
    -------
    xarray.Dataset
        One variable for each variable of the forecasts, (metric, forecaster, region,
        prediction_timedelta, [level]), float64; NaN where a score is undefined, such as the anomaly
        correlation of the climatology. Scores by hour have ``init_hour`` (UTC) as first dimension.
        The attributes are those of the evaluation.
    """
    rows = answer["records"]
    hours = sorted({int(row["init_hour"]) for row in rows if row.get("init_hour") is not None})
    about = {key: value for key, value in answer["about"].items() if value is not None}
    about |= {"title": "Scores of forecasts", "evaluation": answer["evaluation"]}
    if not hours:
        return _scores(rows).assign_attrs(about)
    parts = [_scores([row for row in rows if row["init_hour"] == hour]) for hour in hours]
    axis = pd.Index(hours, name="init_hour")
    data = xr.concat(parts, axis, coords="minimal", compat="override", join="outer")
    data["init_hour"].attrs.update(long_name="Hour of the initial times, UTC", units="h")
    lead_hours = data["prediction_timedelta"] / np.timedelta64(1, "h")
    valid = (data["init_hour"] + lead_hours) % 24
    valid.attrs = {"long_name": "Hour of the valid times, UTC", "units": "h"}
    return data.assign_coords(valid_hour=valid).assign_attrs(about)


def _scores(rows: Sequence[Mapping[str, Any]]) -> xr.Dataset:
    """Return records as a Dataset, one variable for each of the forecasts."""
    metrics = list(dict.fromkeys(key for row in rows for key in row if key not in _NOT_SCORES))
    metrics.sort(key=lambda name: _rank(name))
    names = list(dict.fromkeys(row["variable"] for row in rows))
    axes: dict[str, list[Any]] = {
        "forecaster": list(dict.fromkeys(row["forecaster"] for row in rows)),
        "region": list(dict.fromkeys(row["region"] for row in rows)),
        "lead_days": sorted({float(row["lead_days"]) for row in rows}),
    }
    leads = np.round(np.array(axes["lead_days"]) * 86_400).astype("timedelta64[s]")
    data = xr.Dataset(
        coords={
            "metric": metrics,
            "forecaster": axes["forecaster"],
            "region": axes["region"],
            "prediction_timedelta": ("prediction_timedelta", leads),
            "metric_name": ("metric", [LONG_NAMES.get(name, name) for name in metrics]),
        }
    )
    dims = ("metric", "forecaster", "region", "prediction_timedelta")
    levels = sorted({int(row["level"]) for row in rows if row["level"] is not None})
    if levels:
        data = data.assign_coords(level=("level", levels, {"units": "hPa"}))
    for name in names:
        own = [row for row in rows if row["variable"] == name]
        surface = all(row["level"] is None for row in own)
        values = _table(own, metrics, axes, [None] if surface else list(levels))
        known = BY_NAME.get(name)
        about = {} if known is None else {"units": known.units, "long_name": known.long_name}
        data[name] = (dims, values[..., 0], about) if surface else ((*dims, "level"), values, about)
    return data


def _rank(name: str) -> int:
    known = list(LONG_NAMES)
    return known.index(name) if name in known else len(known)


def _table(
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
    axes: Mapping[str, list[Any]],
    levels: list[int | None],
) -> Float64:
    """Return scores (metric, forecaster, region, lead time, level), NaN where there are none."""
    values = np.full((len(metrics), *(len(axis) for axis in axes.values()), len(levels)), np.nan)
    for row in rows:
        at = (
            axes["forecaster"].index(row["forecaster"]),
            axes["region"].index(row["region"]),
            axes["lead_days"].index(float(row["lead_days"])),
            levels.index(None if row["level"] is None else int(row["level"])),
        )
        undefined = bool(row.get("note"))  # a correlation that is 0/0, given as 0
        for place, metric in enumerate(metrics):
            value = row.get(metric)
            if value is not None and not (undefined and metric.startswith("acc")):
                values[(place, *at)] = float(value)
    return values
