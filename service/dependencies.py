"""What a request handler is given: settings, data folder, catalog, engine, readers, the run."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from fastapi import Depends, Path, Query, Request

from pipelines.catalog import UNAVAILABLE, Catalog, Evaluation, Job, Run, Schedule
from pipelines.engine.engine import ActionResult
from pipelines.storage.data_folder import DataFolder
from service.http.caching import BoundedCache, CachedBody
from service.http.metrics import Metrics
from service.http.problems import ProblemError
from service.http.response_cache import CachedResponse
from service.readers.forecasts import ForecastReader, ForecastStore, statistics_of
from service.readers.initial_conditions import InitialConditions
from service.readers.scores import ScoreBoard
from service.settings import Settings

_REMEMBERED = 10_000
_NOTE_SECONDS = 600.0


class WorkEngine(Protocol):
    """The part of :class:`pipelines.engine.engine.Engine` that the service uses."""

    def request_forecast(
        self,
        init_time: Any,
        lead_hours: int,
        *,
        model: str | None = None,
        analysis: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Run, bool]:
        """Ask for a forecast; the run, and whether it now has to be computed."""
        ...

    def request_evaluation(
        self, model: str | None, request: dict[str, Any], *, total: int = 1
    ) -> tuple[Evaluation, bool]:
        """Ask for an evaluation; the job, and whether it now has to be computed."""
        ...

    def add_schedule(self, name: str, cron: str, action: Mapping[str, Any]) -> Schedule:
        """Enter or change a schedule after checking all of it."""
        ...

    def run_schedule(self, name: str) -> ActionResult:
        """Do what a schedule wants now."""
        ...

    def cancel(self, job_id: str) -> Job:
        """Stop a job before its next step."""
        ...

    def ready(self, timeout: float | None = 0) -> bool:
        """Whether work can be taken up now."""
        ...

    def status(self) -> dict[str, Any]:
        """What the engine does now."""
        ...

    def close(self) -> None:
        """Let go of the workers; what they have done is kept."""
        ...


@dataclass
class Services:
    """Everything that lives as long as the application."""

    settings: Settings
    folder: DataFolder
    catalog: Catalog
    engine: WorkEngine
    forecasts: ForecastReader
    body_cache: BoundedCache[CachedBody]
    initial_conditions: InitialConditions
    metrics: Metrics
    scores: ScoreBoard
    response_cache: BoundedCache[CachedResponse]
    accepting: bool = True

    _requests: OrderedDict[str, str] = field(default_factory=OrderedDict)

    def check_idempotency_key(self, key: str, body: str) -> None:
        """Note an idempotency key; the same key must come with the same body.

        The request itself is idempotent (it is addressed by what it asks for), so keys are kept
        in memory only, the last ten thousand of them.

        Raises
        ------
        ProblemError
            422 if the key came with another body before.
        """
        if self._requests.setdefault(key, body) != body:
            raise ProblemError(
                422,
                "this key was used with another body",
                field="Idempotency-Key",
                hint="use a new key for a new request",
            )
        while len(self._requests) > _REMEMBERED:
            self._requests.popitem(last=False)

    _read_at: dict[str, float] = field(default_factory=dict)

    def touch_run(self, run: str) -> None:
        """Tell the catalog now and then that a run is being read: retention then leaves it."""
        now = time.monotonic()
        if now - self._read_at.get(run, -_NOTE_SECONDS) < _NOTE_SECONDS:
            return
        self._read_at[run] = now
        with suppress(*UNAVAILABLE):
            self.catalog.runs.touch(run)

    def forget(self, run: str) -> None:
        """Drop everything that is kept of a run: its result is about to go."""
        self.forecasts.forget(run)
        self.body_cache.drop(lambda key: isinstance(key, tuple) and key[0] == run)
        self.response_cache.drop(lambda key: isinstance(key, tuple) and run.encode() in key[0])


def get_services(request: Request) -> Services:
    """Return the services of the application that handles this request."""
    services: Services | None = getattr(request.app.state, "services", None)
    if services is None:
        raise ProblemError(503, "PEAR is starting", headers={"Retry-After": "2"})
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def run_of(
    services: ServicesDep,
    run_id: Annotated[str, Path(description="Identity of the run, or `latest`.", max_length=128)],
) -> Run:
    """Return the run that the path names; ``latest`` is the newest finished one.

    Raises
    ------
    ProblemError, NotFoundError
        404 if there is none.
    """
    if run_id == "latest":
        latest = services.catalog.runs.latest()
        if latest is None:
            raise ProblemError(404, "no forecast has finished yet", field="run_id")
        return latest
    return services.catalog.runs.get(run_id)


RunDep = Annotated[Run, Depends(run_of)]


Statistic = Annotated[
    str | None,
    Query(
        pattern=r"^(spread|[qpm][0-9]{2})$",
        description="Of an ensemble: `spread`, `q90` (a quantile kept), `p00` (the probability of "
        "the first threshold in `exceedance`), `m03` (a member kept); "
        "its mean, or the forecast itself, by default.",
    ),
]


def finished_store(
    services: ServicesDep, run: RunDep, statistic: Statistic = None
) -> ForecastStore:
    """Return the store of the run in the path, or that of one statistic of its ensemble.

    Raises
    ------
    ProblemError
        409 if the run has not finished, 410 if its result has been removed, 404 if it has no
        such statistic.
    """
    if run.status == "expired":
        raise ProblemError(410, f"the result of run {run.id} has been removed", field="run_id")
    if run.status != "succeeded":
        busy = run.status in ("queued", "running")
        raise ProblemError(
            409,
            f"run {run.id} is {run.status} and has no result",
            field="run_id",
            hint="watch its events" if busy else "submit it again",
            headers={"Retry-After": "5"} if busy else {},
        )
    services.touch_run(run.id)
    if statistic is None:
        return services.forecasts.store(run.id)
    kept = statistics_of(services.folder, run.id)
    if statistic not in kept:
        raise ProblemError(
            404,
            f"run {run.id} has no {statistic}",
            field="statistic",
            hint="it has " + ", ".join(kept) if kept else "it is no ensemble",
        )
    return services.forecasts.store(f"{run.id}.{statistic}")


StoreDep = Annotated[ForecastStore, Depends(finished_store)]
