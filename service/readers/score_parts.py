"""What an evaluation keeps beside its scores: sums by init time, ranks, spectra and error maps."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.metrics import ScoreAccumulator, score
from pear.metrics.bootstrap import bootstrap_gain
from pear.metrics.dataset import sums_from_dataset
from pear.metrics.ensemble import RANK
from pear.metrics.scores import gain
from pear.typing import Float64
from pipelines.evaluation.scores import MIN_INITS, REPLICATES
from service.readers.scores import BASELINES, Scores, select

_DIMS: Final = ("channel", "region", "prediction_timedelta", "time")
_SAME: Final = ("analysis", "nside")
"""Facts that two evaluations must share for their errors to be compared."""


def model_of(scores: Scores) -> str:
    """Return the name of the forecaster that was evaluated: the first that is not a baseline."""
    names = [str(name) for name in np.atleast_1d(scores.data["forecaster"].values)]
    return next((name for name in names if name not in BASELINES), names[0])


def compare_with_baseline(
    scores: Scores, sums: xr.Dataset, metric: str, baseline: str
) -> tuple[Float64, Float64] | None:
    """Return the interval of the gain over a baseline, as :func:`compare_tables` does."""
    tables = sums_from_dataset(sums)
    one, other = tables[model_of(scores)], tables[baseline]
    if one.inits.size < MIN_INITS:
        return None
    return _interval(one, other, metric)


def check_comparable(one: Scores, other: Scores, metric: str) -> None:
    """Raise InputError unless the scores of two evaluations can be compared.

    Parameters
    ----------
    one, other
        Two evaluations.
    metric
        Score to compare.

    Raises
    ------
    InputError
        Naming what differs: the analysis, the grid, or for correlations the climatology.
    """
    same = (*_SAME, "climatology") if metric == "acc" else _SAME
    for name in same:
        first, second = one.about.get(name), other.about.get(name)
        if first is not None and second is not None and first != second:
            raise InputError(
                f"evaluation {other.id} has {name} {second}, not {first} as evaluation {one.id}",
                field="against",
                hint=f"compare evaluations of the same {name}",
            )


def compare_tables(
    one: Scores, first: xr.Dataset, other: Scores, second: xr.Dataset, metric: str
) -> tuple[list[dict[str, Any]], int]:
    """Compare the models of two evaluations at the init times that both have.

    Parameters
    ----------
    one, other
        Two evaluations, as :func:`check_comparable` accepts them.
    first, second
        Their sums, of one region.
    metric
        Score to compare.

    Returns
    -------
    cells : list of dict
        variable, level, lead_days, model, baseline (the score of the other model), gain, and
        ``low`` and ``high``, its 95 % interval on the same draws of init times (None for fewer
        than :data:`pipelines.evaluation.scores.MIN_INITS`).
    init_times : int
        Number of those in common.

    Raises
    ------
    InputError
        If they have no init time, lead time or field in common.
    """
    for dim in _DIMS:
        common = np.intersect1d(first[dim].values, second[dim].values)
        if common.size == 0:
            what = {"channel": "field", "prediction_timedelta": "lead time", "time": "init time"}
            raise InputError(
                f"evaluations {one.id} and {other.id} have no {what.get(dim, dim)} in common",
                field="against",
                hint="evaluate both models at the same init times",
            )
        first = first.isel({dim: np.isin(first[dim].values, common)})
        second = second.sel({dim: first[dim].values})
    ours = sums_from_dataset(first)[model_of(one)]
    theirs = sums_from_dataset(second)[model_of(other)]
    scores = score(ours, metric), score(theirs, metric)
    bounds = _interval(ours, theirs, metric) if ours.inits.size >= MIN_INITS else None
    gains = gain(metric, *scores)
    days = ours.leads / np.timedelta64(1, "D")
    cells = [
        {
            "variable": name,
            "level": level,
            "lead_days": float(days[lead]),
            "model": _plain(scores[0][lead, channel, 0]),
            "baseline": _plain(scores[1][lead, channel, 0]),
            "gain": _plain(gains[lead, channel, 0]),
            "low": None if bounds is None else _plain(bounds[0][lead, channel, 0]),
            "high": None if bounds is None else _plain(bounds[1][lead, channel, 0]),
        }
        for channel, (name, level) in enumerate(ours.channels)
        for lead in range(days.size)
    ]
    return cells, int(ours.inits.size)


def _interval(
    one: ScoreAccumulator, other: ScoreAccumulator, metric: str
) -> tuple[Float64, Float64]:
    """Return the 95 % interval of the gain, low and high, each (lead, channel, region)."""
    found = bootstrap_gain(one, metric, other, replicates=REPLICATES)
    return found.low, found.high


def ranks(sums: xr.Dataset) -> tuple[int, list[dict[str, Any]]]:
    """Return how often the analysis had each rank among the members.

    Parameters
    ----------
    sums
        Sums of one field and one region.

    Returns
    -------
    members : int
    records : list of dict
        lead_days and ``shares``, one for each rank, which add up to 1.

    Raises
    ------
    InputError
        If no forecaster of the evaluation has members, or their ranks were not counted.
    """
    names = [str(name) for name in sums["statistic"].values]
    rows = [i for i, name in enumerate(names) if name.startswith(RANK)]
    if not rows:
        raise InputError(
            "the evaluation has no ranks: it has no members, or was made before they were counted",
            field="evaluation",
            hint="evaluate with --members",
        )
    values = sums["sums"].isel(statistic=rows, channel=0, region=0)
    counted = values.notnull().any(("statistic", "time", "prediction_timedelta"))
    one = values.isel(forecaster=int(np.argmax(counted.values)))
    counts = one.sum("time").transpose("prediction_timedelta", "statistic").values
    days = sums["prediction_timedelta"].values / np.timedelta64(1, "D")
    return len(rows) - 1, [
        {"lead_days": float(day), "shares": [float(share) for share in count / count.sum()]}
        for day, count in zip(days, counts, strict=True)
    ]


def spectra(data: xr.Dataset, scores: Scores) -> list[dict[str, Any]]:
    """Return the mean power of the forecasts and of the analyses, by degree.

    Parameters
    ----------
    data
        ``power`` and ``power_of_analysis`` of one field.
    scores
        The evaluation.

    Returns
    -------
    list of dict
        lead_days, ``forecast`` and ``analysis`` (units squared), from degree 0.
    """
    one = data.isel(plotted_channel=0).sel(forecaster=model_of(scores))
    return [
        {
            "lead_days": float(lead / np.timedelta64(1, "D")),
            "forecast": [float(value) for value in at["power"].values],
            "analysis": [float(value) for value in at["power_of_analysis"].values],
        }
        for lead in one["plotted_lead"].values
        for at in (one.sel(plotted_lead=lead),)
    ]


def error_map(data: xr.Dataset, scores: Scores, metric: str, lead_days: float) -> Float64:
    """Return the error of each cell over all init times.

    Parameters
    ----------
    data
        ``error_map`` and ``squared_error_map`` of one field.
    scores
        The evaluation.
    metric
        ``bias`` or ``rmse``.
    lead_days
        Lead time.

    Returns
    -------
    numpy.ndarray
        (cell,), nested, in the unit of the variable.

    Raises
    ------
    InputError
        If there is no map at this lead time.
    """
    days = data["plotted_lead"].values / np.timedelta64(1, "D")
    found = np.flatnonzero(np.isclose(days, lead_days))
    if found.size == 0:
        known = ", ".join(f"{day:g}" for day in days)
        raise InputError(
            f"no error map at {lead_days:g} days", field="lead_days", hint=f"known: {known}"
        )
    one = data.sel(forecaster=model_of(scores)).isel(plotted_channel=0, plotted_lead=found[0])
    if metric == "bias":
        return np.asarray(one["error_map"].values, dtype=np.float64)
    return np.sqrt(np.maximum(np.asarray(one["squared_error_map"].values, np.float64), 0.0))


def with_intervals(
    cells: list[dict[str, Any]], sums: xr.Dataset, bounds: tuple[Float64, Float64] | None
) -> list[dict[str, Any]]:
    """Return the cells of a scorecard with the intervals of their gains.

    Parameters
    ----------
    cells
        As :func:`service.readers.scores.scorecard` returns them.
    sums
        The sums of the evaluation.
    bounds
        Low and high, each (lead, channel, region), or None.

    Returns
    -------
    list of dict
        With ``low`` and ``high``; None where there is no interval.
    """
    if bounds is None:
        return [{**cell, "low": None, "high": None} for cell in cells]
    days = sums["prediction_timedelta"].values / np.timedelta64(1, "D")
    rows = {round(float(day), 6): row for row, day in enumerate(days)}
    levels = (None if np.isnan(level) else int(level) for level in sums["level"].values)
    columns = {
        (str(name), level): column
        for column, (name, level) in enumerate(zip(sums["variable"].values, levels, strict=True))
    }
    out = []
    for cell in cells:
        row = rows[round(float(cell["lead_days"]), 6)]
        column = columns[cell["variable"], cell["level"]]
        low, high = (_plain(bound[row, column, 0]) for bound in bounds)
        out.append({**cell, "low": low, "high": high})
    return out


def plotted(data: xr.Dataset, variable: str, level: int | None, what: str) -> xr.Dataset:
    """Return what an evaluation keeps of one field in its spectra or maps.

    Parameters
    ----------
    data
        Everything that the evaluation keeps.
    variable, level
        The field.
    what
        Variable of the dataset, such as ``power``.

    Returns
    -------
    xarray.Dataset
        With one ``plotted_channel``.

    Raises
    ------
    InputError
        If the evaluation keeps none of this field.
    """
    known = [] if what not in data else [str(name) for name in data["plotted_channel"].values]
    chosen = select(data[["channel"]] if what not in data else data, variable=variable, level=level)
    labels = [str(name) for name in np.atleast_1d(chosen["channel"].values)]
    if len(labels) != 1 or labels[0] not in known:
        raise InputError(
            f"the evaluation keeps no {'spectra' if what == 'power' else 'maps'} of "
            f"{', '.join(labels[:3])}",
            field="variable",
            hint=f"it has those of {', '.join(known)}" if known else "evaluate again",
        )
    return data.sel(plotted_channel=labels)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
