"""Scores as records: one row per forecaster, variable, level, lead and region."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pear.metrics import ScoreSums, score

Record = dict[str, Any]

HEADLINE: Final = ("acc", "rmse", "mae", "bias")
KEYS: Final = ("forecaster", "variable", "level", "lead_days", "region")
UNDEFINED_ACC: Final = "no anomaly to correlate (0/0): given as 0"
_RATIOS: Final = ("acc", "acc_per_init", "acc_centered")


def records(
    sums: Mapping[str, ScoreSums],
    *,
    scores: Sequence[str] = HEADLINE,
    **about: Any,
) -> list[Record]:
    """Turn tables of sums into records with finite scores.

    Parameters
    ----------
    sums
        Forecaster name → table.
    scores
        Names of :data:`pear.metrics.SCORES`.
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
    return [
        record for name, table in sums.items() for record in _records_of(name, table, scores, about)
    ]


def _records_of(
    name: str, table: ScoreSums, scores: Sequence[str], about: Mapping[str, Any]
) -> Iterable[Record]:
    values = {which: score(table, which) for which in scores}
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
                for which in scores:
                    value = float(values[which][j, k, r])
                    if np.isnan(value) and which in _RATIOS:
                        value, record["note"] = 0.0, UNDEFINED_ACC
                    if not np.isfinite(value):
                        raise ValueError(f"{which} is {value} for {record}")
                    record[which] = value
                yield record


def lead_days(lead: np.timedelta64) -> float:
    """Lead in days, an integer where it is whole."""
    days = float(lead / np.timedelta64(1, "D"))
    return int(days) if days.is_integer() else days


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write one JSON document; NaN is an error, never a token that JSON does not have."""
    path.write_text(json.dumps(document, allow_nan=False, indent=1) + "\n", encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Record]) -> None:
    """Write records as CSV, one column for every key that any record has; None is empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
