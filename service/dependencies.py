"""Dependencies of request handlers: the services of the application, the run, its store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Annotated, Final

from anyio import CapacityLimiter
from cachetools import TTLCache
from fastapi import Depends, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from pear.errors import InputError
from pear.times import to_iso
from pipelines.catalog import UNAVAILABLE, Catalog, NotFoundError, Run, Status
from pipelines.catalog.evaluations import Evaluations
from pipelines.catalog.runs import Runs
from pipelines.engine.engine import Engine
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import SharedStores
from service.http.caching import RunCache
from service.http.errors import ProblemError
from service.http.forms import STATISTIC
from service.http.idempotency import IdempotencyMemory
from service.http.metrics import Metrics
from service.http.response_cache import (
    CachedBody,
    ResponseCache,
    Versioned,
    heavy_response,
    run_response,
)
from service.readers.download_folder import DownloadFolder
from service.readers.forecasts import ForecastReader, ForecastStore, statistics_of
from service.readers.initial_conditions import InitialConditions
from service.readers.ogc.pixels import PixelTables
from service.readers.run_feed import RunFeed
from service.readers.scores import ScoreBoard
from service.readers.series import SeriesReader
from service.readers.storage import StorageSizes
from service.settings import Settings
from service.workers.pool import WorkerPool
from service.workers.queue import HeavyQueue

_TOUCH_SECONDS: Final = 600.0
LIGHT_BYTES: Final = 8 * 1024**2
"""Forty threads, one for each small response, hold no more than forty times this."""


@dataclass(frozen=True)
class Work:
    """What makes a response.

    Attributes
    ----------
    make
        Called in a thread.
    nbytes
        About what it reads or writes; :data:`LIGHT_BYTES` and less does not wait in the queue.
    """

    make: Callable[[], CachedBody]
    nbytes: int


@dataclass
class Services:
    """Objects that live as long as the application.

    Attributes
    ----------
    cache
        Everything kept in memory of finished runs; ``cache.drop(run)`` removes all of a run.
    workers, heavy
        Processes for maps and downloads, and the queue of everything expensive.
    downloads
        Where downloads are written until they are sent.
    series
        Reads analyses and climatologies.
    pixels
        Tables of the pixels of tiles.
    storage
        Disk space of each kind of entry.
    shared
        Stores that hosts have in common; None if there are none.
    probe_threads
        Threads for readiness checks, which must not wait for those of other routes.
    accepting
        False once the service is stopping.
    """

    settings: Settings
    folder: DataFolder
    catalog: Catalog
    engine: Engine
    metrics: Metrics
    cache: RunCache
    response_cache: ResponseCache
    forecasts: ForecastReader
    series: SeriesReader
    initial_conditions: InitialConditions
    scores: ScoreBoard
    run_feed: RunFeed
    workers: WorkerPool
    heavy: HeavyQueue
    downloads: DownloadFolder
    pixels: PixelTables
    storage: StorageSizes
    shared: SharedStores | None = None
    probe_threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))
    accepting: bool = True
    idempotency: IdempotencyMemory = field(default_factory=IdempotencyMemory)
    _touched: TTLCache[str, bool] = field(default_factory=lambda: TTLCache(10_000, _TOUCH_SECONDS))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _reads: SimpleQueue[str] = field(default_factory=SimpleQueue)
    _recorder: threading.Thread | None = None

    def check_lead_hours(self, lead_hours: int, field: str = "lead_hours") -> None:
        """Check a lead time against the limit of this service, else InputError."""
        limit = self.settings.max_lead_hours
        if lead_hours > limit:
            raise InputError(
                f"lead time {lead_hours} h is longer than the limit of {limit} h", field=field
            )

    def ensure_run(self, run: Run) -> None:
        """Fetch the metadata of a finished run that another host has computed.

        Parameters
        ----------
        run
            The run.

        Raises
        ------
        ProblemError
            503 if the shared stores do not respond.
        """
        if self.shared is None or run.status is not Status.SUCCEEDED:
            return
        try:
            self.shared.ensure("forecasts", run.id)
        except (OSError, InputError) as error:
            raise ProblemError(
                503,
                f"run {run.id} is in shared stores that do not respond",
                hint="try again later",
                headers={"Retry-After": "10"},
            ) from error

    def touch_run(self, run: str) -> None:
        """Record in the catalog, every ten minutes, that a run is read: retention keeps it."""
        with self._lock:
            if self.catalog.read_only:
                return
            if run in self._touched:
                return
            self._touched[run] = True
        self._reads.put(run)
        with self._lock:
            if self._recorder is None:
                self._recorder = threading.Thread(target=self._record_reads, daemon=True)
                self._recorder.start()

    def _record_reads(self) -> None:
        # Reading a run must never wait for the catalog, which another process may have locked.
        while True:
            run = self._reads.get()
            try:
                self.catalog.runs.touch(run)
            except (*UNAVAILABLE, InputError):
                with self._lock:
                    self._touched.pop(run, None)  # the next read is recorded

    async def respond(
        self,
        request: Request,
        run: Versioned,
        key: tuple[Hashable, ...],
        work: Work,
        *,
        pinned: bool | None = None,
    ) -> Response:
        """Return the cached response, or make it in a thread: small ones at once, others in turn.

        Parameters
        ----------
        request, run, key, pinned
            As in :func:`service.http.response_cache.run_response`.
        work
            Makes the response.

        Returns
        -------
        Response
            With a strong ETag; kept by clients for a day if pinned.
        """
        if work.nbytes <= LIGHT_BYTES:
            return await run_in_threadpool(
                run_response, request, self.response_cache, run, key, work.make, pinned=pinned
            )
        return await heavy_response(
            request,
            self.response_cache,
            run,
            key,
            lambda: self.heavy.run(work.make),
            pinned=pinned,
        )


def get_services(request: Request) -> Services:
    """Return the services of the application that handles this request."""
    services: Services | None = getattr(request.app.state, "services", None)
    if services is None:
        raise ProblemError(503, "PEAR is starting", headers={"Retry-After": "2"})
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def find_listed_model(
    services: Services, model: str | None, jobs: Runs | Evaluations
) -> str | None:
    """Return the id of a model that a list is filtered by, given by id or name.

    Returns
    -------
    str or None
        None without a filter.

    Raises
    ------
    InputError
        If it is unknown, and none of the jobs is of it: one that was removed leaves its jobs.
    """
    if model is None:
        return None
    try:
        return services.catalog.models.get(model).id
    except NotFoundError as error:
        if jobs.page(model=model, limit=1).items:
            return model
        raise InputError(error.message, field="model", hint=error.hint) from error


def get_run(
    services: ServicesDep,
    run_id: Annotated[str, Path(description="Run id, or `latest`.", max_length=128)],
) -> Run:
    """Return the run that the path names; ``latest`` is the newest finished one.

    Returns
    -------
    Run
        Of any status, unless it is ``latest``.

    Raises
    ------
    ProblemError
        404 if no run has finished.
    """
    runs = services.catalog.runs
    run = runs.latest() if run_id == "latest" else runs.get(run_id)
    if run is None:
        raise ProblemError(404, "no forecast has finished yet", field="run_id")
    services.ensure_run(run)
    return run


RunDep = Annotated[Run, Depends(get_run)]
Statistic = Annotated[
    str | None,
    Query(
        pattern=STATISTIC,
        description="Statistic of an ensemble: `spread`; `q90`, a quantile; `p00`, the probability "
        "of exceeding the first threshold; `m03`, a member (default: the mean, or the forecast "
        "itself). Quantiles, thresholds and members are those that the run was asked to keep.",
    ),
]


def get_store(services: ServicesDep, run: RunDep, statistic: Statistic = None) -> ForecastStore:
    """Return the store of the run in the path, or of one statistic of its ensemble.

    Returns
    -------
    ForecastStore
        Open for reading.

    Raises
    ------
    ProblemError
        409 if the run has not finished, 410 if its result was removed, 404 if it does not have
        the statistic.
    """
    if run.status is Status.EXPIRED:
        raise ProblemError(410, f"the result of run {run.id} was removed", field="run_id")
    if run.status is not Status.SUCCEEDED:
        raise ProblemError(
            409,
            f"run {run.id} is {run.status} and has no result",
            field="run_id",
            hint="follow its events" if run.status.is_active else "submit it again",
            headers={"Retry-After": "5"} if run.status.is_active else {},
        )
    services.touch_run(run.id)
    if statistic is None:
        store = services.forecasts.store(run.id)
        if store.init_time != run.init_time:
            raise ProblemError(
                503,
                f"the store of run {run.id} begins at {to_iso(store.init_time)}, the run at "
                f"{to_iso(run.init_time)}",
                hint="`pear check --repair` checks and repairs stores",
                headers={"Retry-After": "30"},
            )
        last, wanted = store.lead_hours[-1], max(run.options.get("leads") or (run.lead_hours,))
        if last != wanted:
            raise ProblemError(
                503,
                f"the store of run {run.id} ends at {last} h, the run at {wanted} h",
                hint="`pear check --repair` checks and repairs stores",
                headers={"Retry-After": "30"},
            )
        return store
    statistics = statistics_of(services.folder, run.id)
    if statistic not in statistics:
        raise ProblemError(
            404,
            f"run {run.id} has no statistic {statistic!r}",
            field="statistic",
            hint="it has " + ", ".join(statistics) if statistics else "it is not an ensemble",
        )
    return services.forecasts.store(f"{run.id}.{statistic}")


StoreDep = Annotated[ForecastStore, Depends(get_store)]
