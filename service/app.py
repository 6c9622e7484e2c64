"""The application: settings in, FastAPI out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from pear import __version__
from pipelines.catalog import Catalog
from pipelines.engine.engine import Engine
from pipelines.storage.data_folder import DataFolder
from service.api import (
    downloads,
    evaluations,
    fields,
    forecasts,
    initial_conditions,
    maps,
    models,
    open_meteo,
    schedules,
    system,
)
from service.api.openapi import describe
from service.dashboard import login, routes
from service.dependencies import Services, WorkEngine
from service.http import problems
from service.http.caching import BoundedCache
from service.http.metrics import Metrics
from service.http.middleware import RequestMiddleware
from service.http.permissions import without_rule
from service.http.response_cache import CachedResponse, ResponseCacheMiddleware
from service.http.security import Guard, KeyFile, guarded
from service.readers.forecasts import ForecastReader
from service.readers.initial_conditions import InitialConditions
from service.readers.scores import ScoreBoard
from service.settings import Settings

DESCRIPTION = """
Forecasts on the sphere's own grid: ask for one, watch it, read it at points, as fields, as maps.

Times are UTC and always named: `init_time` is when a forecast starts, `lead` is how far it looks,
`valid_time` is their sum. Errors are `application/problem+json`. Finished runs never change.
"""


_COMMON_PROBLEMS = problems.documented(401, 403, 408, 414, 421, 429, 503)


def create_app(
    settings: Settings, catalog: Catalog | None = None, engine: WorkEngine | None = None
) -> FastAPI:
    """Build the service over a data folder.

    Parameters
    ----------
    settings
        Where the data lie and what is allowed.
    catalog, engine
        Used as they are and left open at the end; by default made from the settings when the
        application starts, and closed when it stops.

    Raises
    ------
    InputError
        If there is no data folder.
    """
    folder = DataFolder.open(settings.data)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        own_catalog = catalog or Catalog(settings.catalog or folder.catalog_url)
        own_engine = (
            await to_thread.run_sync(_start_engine, settings, folder) if engine is None else engine
        )
        services = _services(
            settings, folder, own_catalog, own_engine, metrics, app.state.response_cache
        )
        app.state.services = services
        try:
            yield
        finally:
            services.accepting = False
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
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
    )
    problems.install(app)
    for router in ROUTERS:
        app.include_router(
            router,
            dependencies=[Depends(guarded)],
            responses=problems.documented(401, 403, 408, 414, 421, 429, 503),
        )
    missing = without_rule(route for router in ROUTERS for route in router.routes)
    if missing:
        raise RuntimeError(f"no rule for {missing}: add one to service.http.security.RULES")
    keys = KeyFile(settings.keys_file or folder.root / "keys.json")
    guard = Guard(keys, settings.keys_required, settings.tokens_per_minute)
    app.state.guard = guard
    app.state.response_cache = BoundedCache[CachedResponse](
        settings.answer_cache_bytes, lambda kept: kept.size
    )
    app.openapi = lambda: describe(app, settings.keys_required)  # type: ignore[method-assign]
    # The outermost is added last.
    app.add_middleware(ResponseCacheMiddleware, cache=app.state.response_cache, guard=guard)
    app.add_middleware(
        RequestMiddleware,
        metrics=metrics,
        max_body=settings.max_body_bytes,
        max_query=settings.max_query_bytes,
        hosts=settings.hosts,
        cors_origins=settings.cors_origins,
        max_at_once=settings.max_at_once,
    )
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _start_engine(settings: Settings, folder: DataFolder) -> WorkEngine:
    return Engine(
        folder,
        catalog_url=settings.catalog,
        workers=settings.workers,
        scheduler=settings.scheduler,
        max_queue=settings.queue_limit,
        schedules=settings.schedules,
        device=settings.device,
        batch=settings.batch,
    ).start()


def _services(
    settings: Settings,
    folder: DataFolder,
    catalog: Catalog,
    engine: WorkEngine,
    metrics: Metrics,
    kept: BoundedCache[CachedResponse],
) -> Services:
    metrics.watch(catalog)
    return Services(
        settings=settings,
        folder=folder,
        catalog=catalog,
        engine=engine,
        forecasts=ForecastReader(folder.forecast, settings.cache_bytes),
        body_cache=BoundedCache(settings.answer_cache_bytes, lambda answer: answer.size),
        initial_conditions=InitialConditions(folder, catalog),
        metrics=metrics,
        scores=ScoreBoard(folder),
        response_cache=kept,
    )


ROUTERS: Final[tuple[APIRouter, ...]] = tuple(
    module.router
    for module in (
        system,
        models,
        initial_conditions,
        forecasts,
        fields,
        maps,
        downloads,
        open_meteo,
        evaluations,
        schedules,
        routes,
        login,
    )
)
