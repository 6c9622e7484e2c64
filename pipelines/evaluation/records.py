"""Scores as records: one row per forecaster, variable, level, lead and region."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr

from pear.errors import InputError
from pear.metrics import ScoreAccumulator, bootstrap, score
from pear.metrics.statistics import NAMES, WEIGHT
from pear.times import as_utc
from pear.typing import Channel, Float64
from pipelines.evaluation.tables import EvaluationAccumulators
from pipelines.storage import create

Record = dict[str, Any]


HEADLINE: Final = ("acc", "rmse", "mae", "bias")


FURTHER: Final = ("acc_per_init", "acc_centered", "rmse_per_init", "activity")


KEYS: Final = ("forecaster", "variable", "level", "lead_days", "region")


UNDEFINED: Final = "no anomaly to correlate (0/0): given as 0"


FEWEST_INITS: Final = 8


"""Fewer init times tell nothing about how the next ones would differ: no interval is given."""


_RATIOS: Final = ("acc", "acc_per_init", "acc_centered")


_BOUNDED: Final = ("acc", "rmse")


def records(
    sums: Mapping[str, ScoreAccumulator],
    *,
    scores: Sequence[str] = HEADLINE,
    intervals: bool = False,
    **about: Any,
) -> list[Record]:
    """Turn tables of sums into records with finite scores.

    Parameters
    ----------
    sums
        Forecaster name → table.
    scores
        Names of :data:`pear.metrics.SCORES`.
    intervals
        Add ``acc_low``, ``acc_high``, ``rmse_low``, ``rmse_high``: 95 % by block bootstrap over
        init times, where there are enough of them; and for all but the first forecaster
        ``rmse_difference``, with ``_low`` and ``_high``: the first one's RMSE minus this one's, on
        the same draws, below zero where the first is better.
    about
        Further entries of every record, such as ``model`` and ``climatology``.

    Returns
    -------
    list of dict
        :data:`KEYS`, ``init_times`` (their number), the scores, and ``note`` where a correlation
        is 0/0 (the climatology's own) and therefore given as 0. ``level`` is None at the surface.

    Raises
    ------
    ValueError
        If any other score is not finite.
    """
    found: list[Record] = []
    first = next(iter(sums.values()))
    for name, table in sums.items():
        values = {which: score(table, which) for which in scores}
        if intervals and table.inits.size >= FEWEST_INITS:
            for which in _BOUNDED:
                bounds = bootstrap(table, which, replicates=500)
                values |= {f"{which}_low": bounds.low, f"{which}_high": bounds.high}
            if table is not first:
                gap = bootstrap(first, "rmse", table, replicates=500)
                values["rmse_difference"] = score(first, "rmse") - score(table, "rmse")
                values |= {"rmse_difference_low": gap.low, "rmse_difference_high": gap.high}
        found.extend(_rows(name, table, values, about))
    return found


def _rows(
    name: str, table: ScoreAccumulator, values: Mapping[str, Float64], about: Mapping[str, Any]
) -> Iterable[Record]:
    for k, (variable, level) in enumerate(table.channels):
        for j, lead in enumerate(table.leads):
            for r, region in enumerate(table.regions):
                record: Record = {
                    "forecaster": name,
                    "variable": variable,
                    "level": level,
                    "lead_days": lead_days(lead),
                    "region": region,
                    "init_times": len(table.inits),
                    **about,
                }
                for which, array in values.items():
                    value = float(array[j, k, r])
                    if (
                        np.isnan(value)
                        and which.removesuffix("_low").removesuffix("_high") in _RATIOS
                    ):
                        value, record["note"] = 0.0, UNDEFINED
                    if not np.isfinite(value):
                        raise ValueError(f"{which} is {value} for {record}")
                    record[which] = value
                yield record


def with_ensemble(rows: Sequence[Record], ensemble: ScoreAccumulator, name: str) -> list[Record]:
    """Add CRPS, spread, and their ratio to the RMSE of the mean to an ensemble's records."""
    values = {which: score(ensemble, which) for which in ("crps", "spread", "spread_skill")}
    place = {
        (variable, level, lead_days(lead), region): (j, k, r)
        for j, lead in enumerate(ensemble.leads)
        for k, (variable, level) in enumerate(ensemble.channels)
        for r, region in enumerate(ensemble.regions)
    }
    found = []
    for row in rows:
        if row["forecaster"] == name:
            where = place[row["variable"], row["level"], row["lead_days"], row["region"]]
            row = row | {which: float(array[where]) for which, array in values.items()}
        found.append(row)
    return found


def lead_days(lead: np.timedelta64) -> float:
    """Lead in days, an integer where it is whole."""
    days = float(lead / np.timedelta64(1, "D"))
    return int(days) if days.is_integer() else days


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document with one line for each record of its ``scores``.

    NaN is an error, never a token that JSON does not have.
    """
    lines = [json.dumps(row, allow_nan=False) for row in document.get("scores", [])]
    head = json.dumps({k: v for k, v in document.items() if k != "scores"}, allow_nan=False)
    rows = ",\n".join(lines)
    path.write_text(f'{head[:-1]}, "scores": [\n{rows}\n]}}\n', encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Record]) -> None:
    """Write records as CSV, one column for every key that any record has; None is empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


_DIMS: Final = ("time", "prediction_timedelta", "channel", "region")


_SECONDS: Final = "seconds"


def write_tables(
    path: Path, tables: Mapping[str, EvaluationAccumulators], about: Mapping[str, Any]
) -> None:
    """Write the tables of every forecaster; ``path`` must not exist.

    One group per forecaster with one array per statistic, its mean over the cells of each region
    (float32), the weights (float64), and the means of spectra and of maps of error. The names
    behind the axes are attributes of the root, because Zarr has no stable type for text yet.
    """
    first = next(iter(tables.values()))
    plan = first.plan
    root = zarr.create_group(
        path,
        zarr_format=3,
        attributes={
            **about,
            "forecasters": list(tables),
            "channels": [channel_text(c) for c in plan.layout.channels],
            "regions": list(plan.regions),
            "charted_channels": [channel_text(c) for c in plan.charted],
        },
    )
    create.time_coordinate(root, "forecast", first.scores.inits.astype(np.int64))
    for name, leads in (("prediction_timedelta", plan.leads), ("charted_lead", plan.charted_leads)):
        attributes = {"units": _SECONDS, "standard_name": "forecast_period"}
        create.coordinate(root, name, leads.astype(np.int64), attributes)
    create.add_cells(root, plan.nside)
    for name, table in tables.items():
        group = root.create_group(name)
        _write_scores(group, table.scores)
        for kind, means, axis in (
            ("spectra", table.spectra, "degree"),
            ("maps", table.maps, "cell"),
        ):
            if means.counts.any():
                for row in means.names:
                    values = means.mean(row).astype(np.float32)
                    dims = ("charted_lead", "charted_channel", axis)
                    create.coordinate(group, f"{kind}_{row}", values, {}, dims)


def _write_scores(group: zarr.Group, sums: ScoreAccumulator) -> None:
    weight = sums.values[sums.names.index(WEIGHT)]
    create.coordinate(group, WEIGHT, weight, {"long_name": "sum of weights"}, _DIMS)
    for index, name in enumerate(sums.names):
        if name != WEIGHT:
            mean = np.divide(
                sums.values[index], weight, out=np.zeros_like(weight), where=weight > 0
            )
            create.coordinate(group, name, mean.astype(np.float32), {}, _DIMS)


def read_sums(path: Path | str) -> dict[str, ScoreAccumulator]:
    """Read the tables of sums back, by forecaster.

    Raises
    ------
    InputError
        If there is no score table at the path.
    """
    path = Path(path)
    if not (path / "zarr.json").is_file():
        raise InputError(f"no score table at {path}", field="scores", hint="run `pear evaluate`")
    root: Any = zarr.open_group(path, mode="r")
    about: dict[str, Any] = dict(root.attrs)
    inits = as_utc(np.asarray(root["time"][...]).astype("datetime64[s]"))
    leads = np.asarray(root["prediction_timedelta"][...]).astype("timedelta64[s]")
    channels = tuple(channel_of(text) for text in about["channels"])
    found = {}
    for name in about["forecasters"]:
        weight = np.asarray(root[f"{name}/{WEIGHT}"][...])
        values = np.stack(
            [
                weight if n == WEIGHT else np.asarray(root[f"{name}/{n}"][...]) * weight
                for n in NAMES
            ]
        )
        found[name] = ScoreAccumulator(inits, leads, channels, tuple(about["regions"]), values)
    return found


def channel_text(channel: Channel) -> str:
    """``geopotential@500``, or the name alone at the surface."""
    name, level = channel
    return name if level is None else f"{name}@{level}"


def channel_of(text: str) -> Channel:
    """Inverse of :func:`channel_text`."""
    name, _, level = text.partition("@")
    return name, int(level) if level else None
