"""Scores of finished evaluations: files of this version (scores.nc) and of earlier ones (JSON)."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import pandas as pd
import xarray as xr
from cachetools import LRUCache
from numpy.typing import NDArray

from pear.errors import InputError, did_you_mean
from pear.metrics.dataset import DIMS, KEYS, UNDEFINED, scores_to_frame, scores_to_records
from pear.metrics.hours import HOUR_METRICS, scores_by_hour
from pear.metrics.scores import gain
from pear.variables import channel_label
from pipelines.catalog import describe_error
from pipelines.evaluation.scores import FILE, describe, open_scores, read_scores
from pipelines.logging import logger
from pipelines.storage.data_folder import DataFolder
from service.http.errors import ProblemError

Record = dict[str, Any]
METRICS: Final = ("acc", "rmse", "mae", "bias")
BASELINES: Final = ("persistence", "climatology")
_CACHE_BYTES: Final = 64 * 1024**2
_RECORD_BYTES: Final = 1000
"""Size of one record, a dict of about ten numbers and names."""
_FORMER_FILE: Final = "scores.json"
_FORMER_TEXTS: Final = (*KEYS, "init_times", "model", "climatology", "note")


@dataclass(frozen=True)
class Scores:
    """One finished evaluation.

    Attributes
    ----------
    id
        Name of its folder.
    about
        What was evaluated: model, analysis, climatology, init times, regions.
    data
        Scores (forecaster, region, prediction_timedelta, channel).
    """

    id: str
    about: dict[str, Any]
    data: xr.Dataset = field(repr=False)

    @property
    def nbytes(self) -> int:
        """Memory, with the records; bytes."""
        return int(self.data.nbytes) + _RECORD_BYTES * math.prod(
            self.data.sizes.get(dim, 1) for dim in DIMS
        )

    @property
    def fields(self) -> list[tuple[str, int | None]]:
        """Variable and level of each evaluated field, in the order of the file."""
        levels = np.asarray(self.data["level"].values, dtype=float)
        names = self.data["variable"].values
        return [
            (str(name), None if np.isnan(level) else int(level))
            for name, level in zip(names, levels, strict=True)
        ]

    @property
    def regions(self) -> list[str]:
        """Names of the regions."""
        return [str(name) for name in np.atleast_1d(self.data["region"].values)]

    @cached_property
    def records(self) -> list[Record]:
        """One per forecaster, variable, level, lead time and region."""
        return scores_to_records(self.data)


class ScoreBoard:
    """Evaluations of a data folder, newest first; a changed file is read again."""

    def __init__(self, folder: DataFolder) -> None:
        self._root = folder.root / "evaluations"
        self._cache: LRUCache[str, tuple[int, Scores]] = LRUCache(
            _CACHE_BYTES, getsizeof=lambda kept: kept[1].nbytes
        )
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._logged: dict[str, str] = {}

    def all(self) -> list[Scores]:
        """Return every evaluation with readable scores, newest first; log damaged ones."""
        return self._sorted()[0]

    def damaged(self) -> dict[str, str]:
        """Return what is wrong with each evaluation that cannot be read, by id."""
        return self._sorted()[1]

    def _sorted(self) -> tuple[list[Scores], dict[str, str]]:
        found: dict[str, tuple[int, Scores]] = {}
        damaged: dict[str, str] = {}
        for folder in sorted(self._root.glob("[!.]*")):
            name = folder.name
            try:
                if not folder.is_dir() or not any(folder.iterdir()):
                    continue
                path = folder / (FILE if (folder / FILE).exists() else _FORMER_FILE)
                stamp = path.stat().st_mtime_ns
                found[name] = stamp, self._read(path, stamp)
            except FileNotFoundError:
                if folder.is_dir():  # it was not removed meanwhile
                    damaged[name] = "its scores are missing"
            except InputError as error:
                damaged[name] = error.message
            except (OSError, ValueError, KeyError, TypeError) as error:
                damaged[name] = describe_error(error)
        self._log_once(damaged)
        by_age = sorted(found.values(), key=lambda each: each[0], reverse=True)
        return [scores for _, scores in by_age], damaged

    def _log_once(self, damaged: dict[str, str]) -> None:
        with self._lock:
            new = {name: text for name, text in damaged.items() if self._logged.get(name) != text}
            self._logged = damaged
        for name, reason in new.items():
            logger().error("evaluation is damaged", evaluation=name, reason=reason)

    def get(self, evaluation: str | None, model: str | None = None) -> Scores:
        """Return one evaluation, by default the newest (of the model).

        Parameters
        ----------
        evaluation
            Evaluation id.
        model
            Model id.

        Returns
        -------
        Scores

        Raises
        ------
        ProblemError
            404 if there is none, 503 if it is damaged.
        """
        known, damaged = self._sorted()
        if evaluation in damaged:
            raise ProblemError(
                503,
                f"evaluation {evaluation} is damaged: {damaged[evaluation]}",
                field="evaluation",
                hint="evaluate again",
                headers={"Retry-After": "60"},
            )
        for scores in known:
            if evaluation in (None, scores.id) and model in (None, scores.about.get("model")):
                return scores
        names = {"evaluation": evaluation, "model": model}
        what = " ".join(f"{name} {value!r}" for name, value in names.items() if value is not None)
        raise ProblemError(
            404,
            f"no scores of {what}" if what else "no evaluation has finished yet",
            field=next((name for name, value in names.items() if value is not None), None),
            hint=_hint(evaluation, model, known),
        )

    def by_hour(
        self,
        scores: Scores,
        *,
        metric: str | None = None,
        variable: str | None = None,
        level: int | None = None,
        region: str | None = None,
        baseline: str | None = None,
    ) -> pd.DataFrame:
        """Return scores of the forecasts from each hour of the day by themselves.

        Parameters
        ----------
        scores
            The evaluation.
        metric
            One of :data:`METRICS` (default: all).
        variable, level, region, baseline
            As in :func:`select`.

        Returns
        -------
        pandas.DataFrame
            As :func:`pear.metrics.hours.scores_by_hour`.

        Raises
        ------
        InputError
            If the evaluation has no sums by init time, all its forecasts start at one hour, or
            it lacks what is selected.
        """
        if not self.keeps_sums(scores):
            raise InputError(
                f"evaluation {scores.id} was made by an earlier version, which did not keep sums "
                "by init time",
                field="by_hour",
                hint="evaluate again",
            )

        def choose(data: xr.Dataset) -> xr.Dataset:
            return select(
                data[["sums"]], variable=variable, level=level, region=region, baseline=baseline
            )

        found = self.read(scores, choose)
        frame = scores_by_hour(found, HOUR_METRICS if metric is None else (metric,))
        if frame is None:
            raise InputError(
                f"all forecasts of evaluation {scores.id} start at the same hour of the day",
                field="by_hour",
                hint="leave it out: the scores are of that hour",
            )
        return frame

    def keeps_sums(self, scores: Scores) -> bool:
        """Return whether an evaluation has more than its scores: sums, spectra and maps."""
        return (self._root / scores.id / FILE).is_file()

    def read(self, scores: Scores, choose: Callable[[xr.Dataset], xr.Dataset]) -> xr.Dataset:
        """Return the part of the file of an evaluation that a function chooses, in memory.

        Parameters
        ----------
        scores
            An evaluation with :meth:`keeps_sums`.
        choose
            Selects from everything that is stored; only that is read, since the sums of all
            channels are tens of megabytes.

        Returns
        -------
        xarray.Dataset
        """
        with self._reading, open_scores(self._root / scores.id) as data:
            return choose(data).load()

    def plots(self, evaluation: str) -> dict[str, Path]:
        """Return the plots of an evaluation by name."""
        scores = self.get(evaluation)
        return {path.stem: path for path in sorted((self._root / scores.id).glob("*.png"))}

    def _read(self, path: Path, stamp: int) -> Scores:
        name = path.parent.name
        # HDF5 is not thread-safe, and this is the only place where the service opens one of its
        # files; maps and downloads are made in processes of their own.
        with self._reading:
            with self._lock:
                cached = self._cache.get(name)
            if cached is not None and cached[0] == stamp:
                return cached[1]
            if path.name == FILE:
                data = read_scores(path.parent, scores_only=True)
                scores = Scores(name, describe(data), data)
            else:
                scores = _read_former(path)
            with self._lock, suppress(ValueError):  # larger than the cache
                self._cache[name] = stamp, scores
            return scores


def _hint(evaluation: str | None, model: str | None, known: list[Scores]) -> str:
    """Return what to do about an evaluation or a model without scores."""
    if evaluation and known:
        return did_you_mean(evaluation, [scores.id for scores in known])
    models = sorted({str(scores.about["model"]) for scores in known if "model" in scores.about})
    if model and models:
        return f"models with scores: {', '.join(models)}; make more with `pear evaluate`"
    return "make some with `pear evaluate`"


def _read_former(path: Path) -> Scores:
    """Read scores.json, and scores.csv beside it, which has more scores and their intervals."""
    about = json.loads(path.read_text())
    frame = pd.DataFrame(about.pop("scores"))
    table = path.with_name("scores.csv")
    if table.is_file() and table.stat().st_size:
        frame = pd.read_csv(table)
    about.pop("id", None)
    levels = frame["level"].astype("Float64")
    channels = zip(frame["variable"], levels.isna(), levels.fillna(0), strict=True)
    frame["channel"] = [
        channel_label((variable, None if surface else int(level)))
        for variable, surface, level in channels
    ]
    frame["prediction_timedelta"] = pd.to_timedelta(frame["lead_days"], unit="D")
    metrics = [name for name in frame.columns if name not in (*_FORMER_TEXTS, *DIMS)]
    data = frame.set_index(list(DIMS))[metrics].astype(float).to_xarray()
    order = {dim: frame[dim].unique() for dim in DIMS}
    first = frame.drop_duplicates("channel").set_index("channel")
    data = data.reindex(order).assign_coords(
        variable=("channel", first["variable"].astype(str)),
        level=("channel", first["level"].astype(float)),
        init_times=int(frame["init_times"].iloc[0]),
    )
    if "note" in frame:  # undefined correlations were stored as 0
        undefined = frame.set_index(list(DIMS))["note"].eq(UNDEFINED).to_xarray().reindex(order)
        for name in metrics:
            if name.startswith("acc"):
                data[name] = data[name].where(~undefined.astype(bool))
    attributes = {k: v for k, v in about.items() if k in ("model", "climatology") and k in frame}
    return Scores(path.parent.name, about, data.assign_attrs(attributes))


def select(
    data: xr.Dataset,
    *,
    metric: str | None = None,
    variable: str | None = None,
    level: int | None = None,
    region: str | None = None,
    baseline: str | None = None,
) -> xr.Dataset:
    """Return the part of the scores that agrees with every value given.

    Parameters
    ----------
    data
        Scores of an evaluation.
    metric
        Leave out the other metrics of :data:`METRICS`.
    variable, level, region
        Keep only these.
    baseline
        Leave out the other baseline.

    Returns
    -------
    xarray.Dataset
        Never without scores: what the evaluation does not have is an InputError that names what
        it has.
    """
    data = _select_fields(data, variable, level)
    if region is not None:
        chosen = _positions(data, "region", region)
        data = data.isel(region=chosen)
    if baseline is not None:
        _positions(data, "forecaster", baseline, field="baseline")
        dropped = [name for name in BASELINES if name != baseline]
        data = data.isel(forecaster=np.flatnonzero(~data["forecaster"].isin(dropped)))
    if metric is not None:
        if metric not in data:
            has = [name for name in METRICS if name in data]
            _refuse("metric", metric, has)
        # Names of variables begin with their metric: acc, acc_low, acc_per_init.
        others = tuple(name for name in METRICS if name != metric)
        data = data[[name for name in data.data_vars if not str(name).startswith(others)]]
    return data


def _select_fields(data: xr.Dataset, variable: str | None, level: int | None) -> xr.Dataset:
    """Return the scores of one variable, of one level, or of both."""
    if variable is not None:
        data = data.isel(channel=_positions(data, "variable", variable))
    if level is None:
        return data
    rows = np.flatnonzero(data["level"] == level)
    if rows.size == 0:
        levels = np.unique(np.asarray(data["level"].values, dtype=float))
        known = [f"{known:g}" for known in levels[~np.isnan(levels)]]
        what = "" if variable is None else f" of {variable}"
        raise InputError(
            f"the evaluation has no scores{what} at level {level}",
            field="level",
            hint=f"known: {', '.join(known)}" if known else "omit it: they are of the surface",
        )
    return data.isel(channel=rows)


def _positions(data: xr.Dataset, name: str, value: str, field: str = "") -> NDArray[np.intp]:
    """Return where a coordinate has a value; an error names those that it has."""
    rows = np.flatnonzero(data[name] == value)
    if rows.size == 0:
        known = dict.fromkeys(str(each) for each in np.atleast_1d(data[name].values))
        _refuse(field or name, value, known)
    return rows


def _refuse(field: str, value: str, known: Iterable[str]) -> NoReturn:
    names = [name for name in known if field != "baseline" or name in BASELINES]
    hint = f"known: {', '.join(names) or 'none'}"
    if field in ("variable", "region"):  # the others are words that are not misspelt
        hint = did_you_mean(value[:64], names)
    raise InputError(
        f"the evaluation has no scores of {field} {value[:64]!r}", field=field, hint=hint
    )


def scorecard(data: xr.Dataset, metric: str, baseline: str, region: str) -> list[Record]:
    """Compare the model with a baseline, field by field and lead time by lead time.

    The model is the first forecaster that is not a baseline.

    Returns
    -------
    list of dict
        variable, level, lead_days, model, baseline and ``gain``: for ACC and bias the difference,
        otherwise the share of the baseline's error that the model removes (1 is perfect, below 0
        is worse than the baseline); None where it is undefined. Never empty, as :func:`select`.
    """
    frame = scores_to_frame(select(data, metric=metric, region=region, baseline=baseline))
    keys = ["variable", "level", "lead_days"]
    others = frame.loc[frame["forecaster"] == baseline, [*keys, metric]]
    model = next(name for name in frame["forecaster"] if name not in BASELINES)
    models = frame.loc[frame["forecaster"] == model, [*keys, metric]]
    cells = models.merge(others, on=keys, suffixes=("_model", "_baseline"))
    ours, theirs = cells.pop(f"{metric}_model"), cells.pop(f"{metric}_baseline")
    gains = gain(metric, ours.to_numpy(float), theirs.to_numpy(float))
    cells = cells.assign(model=ours, baseline=theirs, gain=gains).astype(object)
    return [
        {str(name): value for name, value in row.items()}
        for row in cells.where(cells.notna(), None).to_dict("records")
    ]
