"""What a client asks a service, as operations that either driver runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import quote
from uuid import uuid4

import numpy as np
import xarray as xr

from pear import __version__
from pear.client.datasets import point_dataset, scores_dataset
from pear.client.errors import RefusedError, RunFailedError, UnavailableError
from pear.client.exchange import Ask, Operation, Server, Wait, exchange, read_json
from pear.client.records import (
    Evaluation,
    Job,
    MapImage,
    Run,
    ServedAnalysis,
    ServedModel,
    ServiceInfo,
    plain,
)
from pear.client.settings import (
    EvaluationSettings,
    ForecastSettings,
    MapOptions,
    PointSelection,
    RunLike,
    ScoreSelection,
    Status,
    StoreAt,
    Waiting,
)
from pear.derived import parse_quantity
from pear.errors import InputError, did_you_mean
from pear.progress import progress_callback
from pear.times import HOUR, as_duration, as_utc, to_iso
from pear.typing import DurationLike, TimeLike, TimesLike

T = TypeVar("T")
J = TypeVar("J", bound=Job)
_PAGE: Final = 500
_FIRST_POLL: Final = 0.25
_LONGEST_POLL: Final = 5.0
_CANCEL_SECONDS: Final = 5.0
_OF_JOBS: Final = ("lead", "wait", "progress", "cancel_on_interrupt")


class Operations:
    """The operations of a service.

    Parameters
    ----------
    server
        The service.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def _json(self, ask: Ask, read: Callable[[Any], T]) -> Operation[T]:
        answer = yield from exchange(self._server, ask)
        document = read_json(self._server, answer)
        try:
            return read(document)
        except InputError:
            raise
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise UnavailableError(
                f"{self._server.url} answers {ask.path} with something else than "
                f"PEAR {__version__} expects: {type(error).__name__} {error}"
            ) from error

    def info(self) -> Operation[ServiceInfo]:
        """Return what the service is, if this version of PEAR can talk to it."""
        found: dict[str, Any] = yield from self._json(Ask("GET", "/v1/info"), dict)
        if found.get("name") != "PEAR" or not isinstance(found.get("version"), str):
            raise UnavailableError(f"{self._server.url} is not a service of PEAR")
        version = self._server.scrub(found["version"])
        theirs, ours = _major(version), _major(__version__) or 0
        if theirs is None or theirs > ours:
            raise InputError(
                f"{self._server.url} runs PEAR {version}, which this PEAR {__version__} does not "
                "know",
                field="url",
                hint='pip install -U "pear-weather"',
            )
        return ServiceInfo(version, str(found.get("note", "")), dict(found.get("limits", {})))

    def _pages(self, path: str, params: Mapping[str, str], limit: int | None) -> Operation[Any]:
        """Return the items of all pages of a list, or the first ones."""
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            size = _PAGE if limit is None else min(_PAGE, limit - len(items))
            asked = {**params, **cursor, "limit": str(size)}
            page, following = yield from self._json(
                Ask("GET", path, asked), lambda found: (list(found["items"]), found["next"])
            )
            items += page
            if following is None or (limit is not None and len(items) >= limit):
                return items
            cursor = {"cursor": str(following)}

    def runs(
        self, model: str | None, status: Status | None, init: TimeLike | None, limit: int | None
    ) -> Operation[list[Run]]:
        """Return the runs that agree with the filters, newest first."""
        if limit is not None and limit < 1:
            raise InputError(f"limit {limit} is not positive", field="limit")
        given = {
            "model": model,
            "status": status,
            "init_time": None if init is None else to_iso(init),
        }
        items = yield from self._pages("/v1/forecasts", _texts(given), limit)
        return [self._read(Run.from_json, item) for item in items]

    def _read(self, read: Callable[[Any], T], item: object) -> T:
        try:
            return read(item)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnavailableError(
                f"{self._server.url} lists something else than PEAR {__version__} expects: "
                f"{type(error).__name__} {error}"
            ) from error

    def run(self, run: RunLike) -> Operation[Run]:
        """Return a run as it is now."""
        return self._json(Ask("GET", _path(run)), Run.from_json)

    def models(self) -> Operation[list[ServedModel]]:
        """Return the models, newest first."""
        return self._json(
            Ask("GET", "/v1/models"),
            lambda found: [ServedModel.from_json(item) for item in found["items"]],
        )

    def analyses(self) -> Operation[list[ServedAnalysis]]:
        """Return the analyses with their times."""
        states = yield from self._pages("/v1/initial-conditions", {}, None)
        return self._read(ServedAnalysis.from_states, states)

    def log(self, run: RunLike) -> Operation[list[dict[str, Any]]]:
        """Return the log of a run, oldest first."""
        return self._json(Ask("GET", f"{_path(run)}/log"), list)

    def forecast(
        self,
        init: TimeLike,
        lead: DurationLike,
        members: int | None,
        settings: ForecastSettings,
        waiting: Waiting,
    ) -> Operation[Run]:
        """Submit a forecast and wait for its end."""
        _require_known("forecast", settings, ForecastSettings, *_OF_JOBS, "init", "members")
        given: dict[str, Any] = {
            "init_time": to_iso(init),
            "lead_hours": _hours(lead),
            "members": members,
            **settings,
        }
        run = yield from self._submit("/v1/forecasts", given, Run.from_json)
        return (yield from self._follow(run, waiting, Run.from_json))

    def evaluate(
        self,
        init_times: TimesLike | None,
        lead: DurationLike,
        settings: EvaluationSettings,
        waiting: Waiting,
    ) -> Operation[xr.Dataset]:
        """Submit an evaluation, wait for its end and return its scores."""
        _require_known("evaluate", settings, EvaluationSettings, *_OF_JOBS, "init_times")
        times = None if init_times is None else [to_iso(time) for time in as_utc(init_times)]
        given: dict[str, Any] = {"init_times": times, "lead_hours": _hours(lead), **settings}
        job = yield from self._submit("/v1/evaluations", given, Evaluation.from_json)
        job = yield from self._follow(job, waiting, Evaluation.from_json)
        return (yield from self.scores({"evaluation": job.id}))

    def _submit(
        self, path: str, given: Mapping[str, Any], read: Callable[[Any], T]
    ) -> Operation[T]:
        body = plain({name: value for name, value in given.items() if value is not None})
        # A request that is repeated is the same one, whatever became of the first.
        headers = {"Idempotency-Key": uuid4().hex} if path == "/v1/forecasts" else {}
        return (yield from self._json(Ask("POST", path, body=dict(body), headers=headers), read))  # type: ignore[call-overload]

    def _follow(self, job: J, waiting: Waiting, read: Callable[[Any], J]) -> Operation[J]:
        if waiting.until is False:
            return job
        try:
            return (yield from self._until_end(job, waiting, read))
        except (KeyboardInterrupt, asyncio.CancelledError) as interrupted:
            if waiting.cancel:
                interrupted.add_note((yield from self._cancel_quietly(job)))
            else:
                interrupted.add_note(f"{_goes_on(job)} at {self._server.url}")
            raise
        except UnavailableError as error:
            error.add_note(f"{_goes_on(job)} as long as the service does")
            raise

    def _until_end(self, job: J, waiting: Waiting, read: Callable[[Any], J]) -> Operation[J]:
        tick = progress_callback(max(job.progress.total, 1), progress=waiting.progress)
        most = None if waiting.until is True else float(waiting.until)
        done, pause, began = 0, _FIRST_POLL, time.monotonic()
        while True:
            if job.progress.step > done:
                tick(job.progress.step - done, f"{job.noun} {job.id} {job.status}")
                done = job.progress.step
            if not job.is_active:
                break
            if most is not None and time.monotonic() - began + pause > most:
                raise TimeoutError(
                    f"{job.noun} {job.id} is {job.status} after {most:g} s, step "
                    f"{job.progress.step} of {job.progress.total}; {_goes_on(job)}"
                )
            yield Wait(pause)
            pause = min(1.5 * pause, _LONGEST_POLL)
            job = yield from self._json(Ask("GET", f"{job.collection}/{quote(job.id, '')}"), read)
        if not job.has_succeeded:
            reason = self._server.scrub(job.reason or "no reason is given")
            remedy = f"; client.log({job.id!r}) tells more" if isinstance(job, Run) else ""
            raise RunFailedError(f"{job.noun} {job.id} {_ended(job)}: {reason}{remedy}", job)
        return job

    def cancel(self, run: RunLike) -> Operation[Run]:
        """Cancel a run."""
        return self._json(Ask("POST", f"{_path(run)}/cancel"), Run.from_json)

    def _cancel_quietly(self, job: Job) -> Operation[str]:
        hasty = replace(self._server, patience=_CANCEL_SECONDS)
        ask = Ask("POST", f"{job.collection}/{quote(job.id, '')}/cancel")
        try:
            yield from exchange(hasty, ask)
        except (RefusedError, UnavailableError) as error:
            return f"{job.noun} {job.id} was not cancelled: {error}"
        return f"{job.noun} {job.id} was cancelled"

    def store_of_run(self, run: RunLike, statistic: str | None) -> Operation[StoreAt]:
        """Return where the store of a run is, which must have a result."""
        found = yield from self.run(run)  # `latest` may be another run while it is read
        at = StoreAt("forecast", f"{_path(found)}/zarr", _texts({"statistic": statistic}))
        return (yield from self._check_store(at))

    def store_of_analysis(self, name: str) -> Operation[StoreAt]:
        """Return where the store of an analysis is, which must be there."""
        at = StoreAt("analysis", f"/v1/stores/analysis/{quote(name, safe='')}.zarr", {})
        return self._check_store(at)

    def _check_store(self, at: StoreAt) -> Operation[StoreAt]:
        # A file that is missing later is one that was never written; this one says what is wrong.
        yield from exchange(self._server, Ask("GET", f"{at.path}/zarr.json", at.params))
        return at

    def point(
        self,
        run: RunLike,
        latitude: float | Sequence[float],
        longitude: float | Sequence[float],
        variables: str | Sequence[str] | None,
        selection: PointSelection,
    ) -> Operation[xr.Dataset]:
        """Return the forecast at one point or several."""
        _require_known("point", selection, PointSelection, "latitude", "longitude", "variables")
        several = np.ndim(latitude) > 0 or np.ndim(longitude) > 0
        names, levels = _select(variables, selection.get("levels"))
        params = {
            "latitude": _numbers(latitude, "latitude"),
            "longitude": _numbers(longitude, "longitude"),
            "variables": names,
            "levels": levels,
            "interpolation": selection.get("method"),
            "statistic": selection.get("statistic"),
        }
        return self._json(
            Ask("GET", f"{_path(run)}/point", _texts(params)),
            lambda found: point_dataset(found, several=several),
        )

    def map(
        self, run: RunLike, field: str, lead: DurationLike, options: MapOptions
    ) -> Operation[MapImage]:
        """Return a map as PNG."""
        _require_known("map", options, MapOptions, "run", "field", "lead")
        path = f"{_path(run)}/maps/{quote(field, '')}.png"
        params = {"lead_time": _hours(lead), **options}
        answer = yield from exchange(self._server, Ask("GET", path, _texts(params)))
        if answer.headers.get("content-type") != "image/png":
            raise UnavailableError(
                f"{self._server.url} answers {path} with something that is not a PNG"
            )
        return MapImage(answer.content)

    def scores(self, selection: ScoreSelection) -> Operation[xr.Dataset]:
        """Return the scores of an evaluation."""
        _require_known("scores", selection, ScoreSelection)
        return self._json(Ask("GET", "/v1/scores", _texts(selection)), scores_dataset)


def _path(run: RunLike) -> str:
    name = run.id if isinstance(run, Run) else str(run)
    if not name.strip() or name in (".", ".."):
        raise InputError(f"{name!r} is not the id of a run", field="run", hint='or "latest"')
    return f"/v1/forecasts/{quote(name, safe='')}"


def _goes_on(job: Job) -> str:
    """Say that a job goes on, and how to find it."""
    look = (
        f"client.run({job.id!r})"
        if isinstance(job, Run)
        else f"client.scores(evaluation={job.id!r})"
    )
    what = (
        "shows it, and the same call waits for it again" if isinstance(job, Run) else "has its end"
    )
    return f"{job.noun} {job.id} goes on: {look} {what}"


def _require_known(method: str, given: Mapping[str, Any], known: type, *named: str) -> None:
    """Refuse keywords that a method does not take, which would be passed over or misread."""
    names = [*named, *known.__annotations__]
    for name in given:
        if name not in known.__annotations__:
            hint = did_you_mean(name, names)
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}; {hint}")


def _ended(job: Job) -> str:
    return {"cancelled": "was cancelled", "expired": "has no result any more"}.get(
        job.status, job.status
    )


def _major(version: str) -> int | None:
    digits = version.partition(".")[0].partition("+")[0]
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 6 else None


def _hours(lead: DurationLike) -> int:
    hours = as_duration(lead) / HOUR
    if hours != int(hours):
        raise InputError(f"lead time {lead} is not a whole number of hours", field="lead")
    return int(hours)


def _numbers(values: float | Sequence[float], name: str) -> str:
    try:
        numbers = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if numbers.ndim != 1 or numbers.size == 0 or not np.isfinite(numbers).all():
        raise InputError(f"{name} {values!r} is not a number, nor a list of some", field=name)
    return ",".join(repr(float(number)) for number in numbers)


def _select(
    variables: str | Sequence[str] | None, levels: Sequence[int] | None
) -> tuple[str | None, str | None]:
    """Return names and levels of a request, so that each variable comes at the same levels."""
    wanted = None if levels is None else sorted({int(level) for level in levels})
    names = [variables] if isinstance(variables, str) else variables
    if names is None:
        return None, None if wanted is None else ",".join(map(str, wanted))
    parts = [part.strip() for name in names for part in str(name).split(",")]
    try:
        rows = [parse_quantity(part) for part in parts]
    except InputError:  # perhaps a variable of the service's own, or else it says what is meant
        return ",".join(parts), None if wanted is None else ",".join(map(str, wanted))
    named = {level for _, level in rows if level is not None}
    every = wanted is None and any(row.kind == "upper" and level is None for row, level in rows)
    union = sorted(named.union(wanted or ()))
    text = ",".join(dict.fromkeys(row.name for row, _ in rows))
    return text, ",".join(map(str, union)) if union and not every else None


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters of a query: those that are not None, as text."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in given.items()
        if value is not None
    }
