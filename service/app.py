"""Application factory: from settings to a FastAPI application."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from anyio import to_thread
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from pear import __version__
from pear.errors import InputError
from pear.plotting.projections import keep_tables
from pipelines.catalog import UNAVAILABLE, Catalog, describe_error
from pipelines.catalog.rebuild import open_catalog
from pipelines.catalog.sharing import synchronise
from pipelines.engine.engine import Engine, EngineConfig
from pipelines.logging import logger
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import SharedStores
from service.api import (
    downloads,
    edr,
    evaluations,
    events,
    fields,
    forecasts,
    gridlook,
    initial_conditions,
    links,
    maps,
    models,
    normals,
    ogc,
    ogc_tiles,
    open_meteo,
    operations,
    schedules,
    score_parts,
    stac,
    store_fields,
    stores,
    system,
    tiles,
    wms,
)
from service.api.openapi import describe
from service.dashboard import assets, handbook, login, operation, routes, scores
from service.dependencies import Services
from service.http.caching import RunCache
from service.http.compression import Compression
from service.http.head import HeadRequests
from service.http.html import use_static
from service.http.keys import KeyFile
from service.http.links import SECRET_FILE, LinkSigner, SignedLinks
from service.http.metrics import Metrics
from service.http.middleware import AccessLog, HostPolicy, Limits
from service.http.permissions import routes_without_policy
from service.http.problems import add_problem_handlers, problem_responses
from service.http.response_cache import ResponseCache, ResponseCacheMiddleware
from service.http.routing import unguarded_routes
from service.http.security import AccessControl
from service.readers.download_folder import DownloadFolder
from service.readers.forecasts import ForecastReader
from service.readers.initial_conditions import InitialConditions
from service.readers.ogc.pixels import PixelTables
from service.readers.run_feed import RunFeed
from service.readers.scores import ScoreBoard
from service.readers.series import SeriesReader
from service.readers.storage import StorageSizes
from service.settings import Settings
from service.workers.memory import release_memory
from service.workers.pool import WorkerPool
from service.workers.queue import HeavyQueue

ROUTERS: Final[tuple[APIRouter, ...]] = tuple(
    module.router
    for module in (
        system,
        models,
        initial_conditions,
        forecasts,
        events,
        fields,
        normals,
        maps,
        tiles,
        downloads,
        stores,
        store_fields,
        gridlook,
        stac,
        links,
        open_meteo,
        ogc,
        edr,
        ogc_tiles,
        wms,
        evaluations,
        score_parts,
        schedules,
        operations,
        routes,
        scores,
        operation,
        handbook,
        login,
    )
)
DESCRIPTION: Final = """
Weather forecasts on the HEALPix grid: request a run, follow it, read it at points, as fields or as
maps.

Times are UTC: a forecast starts at its `init_time`; `valid_time` is `init_time` plus the lead time.
Errors are `application/problem+json`. Finished runs never change.
"""
_HOUSEKEEPING_SECONDS: Final = 30.0
_SYNCHRONISE_SECONDS: Final = 15.0
_EXCHANGE_SECONDS: Final = 0.5
_ENDING_SECONDS: Final = 5.0
_Result = TypeVar("_Result")
_COMMON_PROBLEMS: Final = (401, 403, 408, 414, 421, 429, 503)


def create_app(
    settings: Settings, catalog: Catalog | None = None, engine: Engine | None = None
) -> FastAPI:
    """Create the application that serves a data folder.

    Parameters
    ----------
    settings
        Settings of the service.
    catalog, engine
        Used as they are and left open at the end; default: created from the settings when the
        application starts, and closed when it stops.

    Returns
    -------
    FastAPI
        The application; its engine starts with it.

    Raises
    ------
    RuntimeError
        If a route has no access policy, or does not apply it.
    """
    folder = DataFolder.open(settings.data)
    metrics, cache = Metrics(), RunCache()
    response_cache = ResponseCache(cache, settings.response_cache_bytes)
    access = AccessControl(
        KeyFile(settings.keys_file or folder.root / "keys.json"),
        keys_required=settings.keys_required,
        per_minute=settings.tokens_per_minute,
        failures_per_minute=settings.failure_limit,
    )

    use_static(assets.address)
    secret = settings.link_secret
    signer = LinkSigner(
        folder.root / SECRET_FILE, None if secret is None else secret.get_secret_value()
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        own_catalog = catalog
        if own_catalog is None:
            own_catalog = await to_thread.run_sync(open_catalog, folder, settings.catalog)
        own_engine = engine
        if own_engine is None:
            own_engine = await to_thread.run_sync(_start_engine, settings, folder)
        if own_catalog.clients.shared and settings.keys_file is None:
            await to_thread.run_sync(access.keys.share, own_catalog.clients)
        metrics.add_catalog(own_catalog)
        services = app.state.services = Services(
            settings=settings,
            folder=folder,
            catalog=own_catalog,
            engine=own_engine,
            metrics=metrics,
            cache=cache,
            response_cache=response_cache,
            forecasts=ForecastReader(folder.forecast, cache, settings.cache_bytes),
            series=SeriesReader(folder, own_catalog, cache, settings.cache_bytes // 4),
            initial_conditions=InitialConditions(folder, own_catalog),
            scores=ScoreBoard(folder),
            run_feed=RunFeed(own_catalog.runs, settings.max_listeners),
            workers=WorkerPool(
                settings.heavy_slots,
                partial(keep_tables, settings.response_cache_bytes // settings.heavy_slots),
            ),
            heavy=HeavyQueue(settings.heavy_slots, settings.heavy_waiting),
            downloads=DownloadFolder(_download_folder(folder)),
            pixels=PixelTables(settings.response_cache_bytes),
            storage=StorageSizes(folder),
            shared=SharedStores.of(folder),
        )
        await to_thread.run_sync(services.downloads.sweep)
        tasks = [
            asyncio.create_task(_keep_house(services)),
            asyncio.create_task(_synchronise(services)),
            asyncio.create_task(_exchange(access, own_catalog)),
        ]
        try:
            yield
        finally:
            services.accepting = False
            await _end(tasks)
            await to_thread.run_sync(services.workers.close)
            await to_thread.run_sync(services.downloads.remove)
            if engine is None:
                await to_thread.run_sync(own_engine.close)
            if catalog is None:
                own_catalog.close()

    app = FastAPI(
        title="PEAR",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        middleware=_middleware(settings, metrics, response_cache, access, signer),
    )
    app.state.access, app.state.signer = access, signer
    app.openapi = lambda: describe(app, keys_required=settings.keys_required)  # type: ignore[method-assign]
    add_problem_handlers(app)
    for router in ROUTERS:
        app.include_router(router, responses=problem_responses(*_COMMON_PROBLEMS))
    routes = [route for router in ROUTERS for route in router.routes]
    missing = routes_without_policy(routes)
    if missing:
        raise RuntimeError(f"routes without an entry in ROUTE_POLICIES: {missing}")
    open_to_all = unguarded_routes(routes)
    if open_to_all:
        raise RuntimeError(f"routes that are not of class GuardedRoute: {open_to_all}")
    return app


async def _in_thread(work: Callable[..., _Result], *given: object) -> _Result:
    """Run a function in a thread; a task that is cancelled meanwhile ends when the thread has."""
    running = asyncio.ensure_future(to_thread.run_sync(work, *given))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their threads, which would ask a catalog that is closed then."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_ENDING_SECONDS)


async def _keep_house(services: Services) -> None:
    """End idle workers and give freed memory back, for as long as the application lives."""
    while True:
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)
        await _in_thread(services.workers.retire_idle)
        await _in_thread(release_memory)


async def _exchange(access: AccessControl, catalog: Catalog) -> None:
    """Bring keys and rates in line with those of other hosts, for as long as the app lives."""
    problem: str | None = None
    while catalog.clients.shared:
        before, problem = problem, None
        try:
            await _in_thread(access.exchange, catalog.clients)
        except (*UNAVAILABLE, InputError, OSError) as error:
            problem = describe_error(error)
        if problem is not None and problem != before:
            logger().warning("keys and rates of other hosts", problem=problem)
        await asyncio.sleep(_EXCHANGE_SECONDS)


async def _synchronise(services: Services) -> None:
    """Take over what other hosts share, for as long as the application lives."""
    problems: list[str] = []
    while services.shared is not None:
        before, problems = problems, await _in_thread(_take_over, services)
        for problem in set(problems) - set(before):
            logger().warning("shared stores", problem=problem)
        await asyncio.sleep(_SYNCHRONISE_SECONDS)


def _take_over(services: Services) -> list[str]:
    """Return what could not be taken over."""
    if services.shared is None or not services.folder.is_writable:
        return []
    try:
        removed, problems = synchronise(services.shared, services.catalog)
    except (*UNAVAILABLE, InputError, OSError) as error:
        return [describe_error(error)]
    for run in removed:
        services.cache.drop(run)
    return problems


def _download_folder(folder: DataFolder) -> Path:
    """Return where downloads are written: among partial results, if these can be written."""
    return folder.scratch if folder.is_writable else Path(tempfile.gettempdir())


def _middleware(
    settings: Settings,
    metrics: Metrics,
    cache: ResponseCache,
    access: AccessControl,
    signer: LinkSigner,
) -> list[Middleware]:
    """Return the layers around the application, the outermost first."""
    return [
        Middleware(AccessLog, metrics=metrics),
        Middleware(HeadRequests),
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD"),
            allow_headers=("Range", "X-API-Key", "Authorization", "If-None-Match"),
            expose_headers=("*",),
            max_age=86_400,
        ),
        Middleware(
            Limits,
            max_body_bytes=settings.max_body_bytes,
            max_query_bytes=settings.max_query_bytes,
            max_concurrent=settings.max_concurrent_requests,
            max_per_client=settings.max_requests_per_client,
        ),
        Middleware(HostPolicy, allowed_hosts=settings.hosts),
        Middleware(Compression),
        Middleware(SignedLinks, signer=signer, access=access),
        Middleware(ResponseCacheMiddleware, cache=cache, access=access),
    ]


def _operation_id(route: APIRoute) -> str:
    return route.name


def _start_engine(settings: Settings, folder: DataFolder) -> Engine:
    config = EngineConfig(
        workers=settings.workers,
        scheduler=settings.scheduler,
        device=settings.device,
        batch=settings.batch,
        max_queue=settings.queue_limit,
        run_schedules=settings.schedules,
    )
    return Engine(folder, config, catalog_url=settings.catalog).start()
