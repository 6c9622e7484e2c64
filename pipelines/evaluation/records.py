"""Scores as records: one row per forecaster, variable, level, lead and region."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pear.metrics import Array, ScoreSums, bootstrap, score

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
    sums: Mapping[str, ScoreSums],
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
    name: str, table: ScoreSums, values: Mapping[str, Array], about: Mapping[str, Any]
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


def with_ensemble(rows: Sequence[Record], ensemble: ScoreSums, name: str) -> list[Record]:
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
