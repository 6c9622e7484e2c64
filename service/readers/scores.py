"""Scores of finished evaluations, as the evaluations wrote them."""

from __future__ import annotations

import csv
import io
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pear.errors import did_you_mean
from pipelines.storage.data_folder import DataFolder
from service.http.problems import ProblemError

Record = dict[str, Any]
METRICS: Final = ("acc", "rmse", "mae", "bias")
_KEYS: Final = ("forecaster", "variable", "level", "lead_days", "region")


@dataclass(frozen=True)
class Scores:
    """One finished evaluation.

    Attributes
    ----------
    id
        Name of its folder.
    about
        What was evaluated: model, analysis, climatology, init times, regions.
    records
        One per forecaster, variable, level, lead and region.
    """

    id: str
    about: dict[str, Any]
    records: list[Record]


class ScoreBoard:
    """The evaluations of a data folder, newest first; read again when a file has changed."""

    def __init__(self, folder: DataFolder) -> None:
        self._root = folder.root / "evaluations"
        self._kept: dict[str, tuple[int, Scores]] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Scores]:
        """Every evaluation that has scores, newest first."""
        found = []
        for path in self._root.glob("[!.]*/scores.json"):
            try:
                found.append((path.stat().st_mtime_ns, self._read(path)))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # half of one, or none: `pear doctor` names it
        return [scores for _, scores in sorted(found, key=lambda each: each[0], reverse=True)]

    def get(self, evaluation: str | None, model: str | None = None) -> Scores:
        """Return one evaluation, by default the newest (of the model).

        Raises
        ------
        ProblemError
            404 if there is none.
        """
        every = self.all()
        for scores in every:
            if evaluation not in (None, scores.id):
                continue
            if model in (None, scores.about.get("model")):
                return scores
        what = " ".join(
            f"{name} {value!r}"
            for name, value in (("evaluation", evaluation), ("model", model))
            if value is not None
        )
        raise ProblemError(
            404,
            f"no scores of {what}" if what else "no evaluation has finished yet",
            field="evaluation" if evaluation else "model",
            hint=did_you_mean(evaluation, [scores.id for scores in every])
            if evaluation and every
            else "make some with `pear evaluate`",
        )

    def plots(self, evaluation: str) -> dict[str, Path]:
        """Plots of an evaluation by name; what there is, never what a request names.

        Raises
        ------
        ProblemError
            404 if there is no such evaluation.
        """
        scores = self.get(evaluation)
        return {path.stem: path for path in sorted((self._root / scores.id).glob("*.png"))}

    def _read(self, path: Path) -> Scores:
        stamp = path.stat().st_mtime_ns
        name = path.parent.name
        with self._lock:
            kept = self._kept.get(name)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        document = json.loads(path.read_text())
        records = document.pop("scores")
        table = path.with_name("scores.csv")
        if table.is_file():  # the same scores and more, with their intervals
            records = _from_csv(table.read_text()) or records
        scores = Scores(name, {k: v for k, v in document.items() if k != "id"}, list(records))
        with self._lock:
            self._kept[name] = (stamp, scores)
        return scores


def select(records: list[Record], metric: str | None, **wanted: Any) -> list[Record]:
    """Records that agree with every wanted value that is not None, with one metric or all."""
    keep: Callable[[Record], bool] = lambda record: all(  # noqa: E731
        value is None or record.get(name, "global" if name == "region" else None) == value
        for name, value in wanted.items()
    )
    chosen = [record for record in records if keep(record)]
    if metric is None:
        return chosen
    # Every score's columns begin with its name: acc, acc_low, acc_per_init.
    known = tuple(name for name in METRICS if name != metric)
    return [{k: v for k, v in record.items() if not k.startswith(known)} for record in chosen]


def _from_csv(text: str) -> list[Record]:
    """Read records back: numbers where they are numbers, None where nothing stands."""
    return [
        {name: _value(name, value) for name, value in row.items()}
        for row in csv.DictReader(io.StringIO(text))
    ]


def _value(name: str, text: str | None) -> Any:
    if text is None or text == "":
        return None
    if name in ("forecaster", "variable", "region", "model", "climatology", "note"):
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return None
    return int(number) if name in ("level", "init_times") or number.is_integer() else number


def to_csv(records: list[Record]) -> bytes:
    """Write records as CSV, the keys first."""
    names = list(_KEYS)
    names += [name for record in records[:1] for name in record if name not in names]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def scorecard(records: list[Record], metric: str, baseline: str, region: str) -> list[Record]:
    """Compare the model with a baseline, field by field and lead by lead.

    Returns
    -------
    list of dict
        variable, level, lead_days, model, baseline and ``gain``: for ACC the difference, for
        errors the share of the baseline's error that the model takes away (1 is perfect, below 0
        is worse than the baseline); None where the baseline makes no error, or a score is missing.
    """
    chosen = select(records, None, region=region)
    theirs = {_field(r): r[metric] for r in chosen if r["forecaster"] == baseline}
    rows = []
    for record in chosen:
        if record["forecaster"] in ("persistence", "climatology") or _field(record) not in theirs:
            continue
        ours, other = record[metric], theirs[_field(record)]
        rows.append(
            {
                "variable": record["variable"],
                "level": record["level"],
                "lead_days": record["lead_days"],
                "model": ours,
                "baseline": other,
                "gain": None if ours is None or other is None else _gain(metric, ours, other),
            }
        )
    return rows


def _gain(metric: str, ours: float, other: float) -> float | None:
    if metric == "acc":
        return ours - other
    if metric == "bias":
        return abs(other) - abs(ours)
    return None if other == 0 else 1.0 - ours / other


def _field(record: Record) -> tuple[Any, ...]:
    return record["variable"], record["level"], record["lead_days"]
