"""Liveness, readiness, metrics and general information."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pear import __version__
from pipelines.catalog import describe_error
from service.api.schemas import Info, Readiness
from service.dependencies import Services, ServicesDep, get_services
from service.http.disclaimer import DISCLAIMER
from service.http.errors import ProblemError
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute
from service.http.security import AccessControl
from service.readers.health import READ_ONLY

router = APIRouter(tags=["system"], route_class=GuardedRoute)
_RETRY: Final = {"Retry-After": "5"}


@router.get("/healthz", summary="Liveness")
async def healthz() -> dict[str, str]:
    """Answer while the event loop runs, whatever the state of stores and workers."""
    return {"status": "alive"}


@router.get(
    "/readyz", summary="Readiness", response_model=Readiness, responses=problem_responses(503)
)
async def readyz(request: Request) -> Response:
    """Check catalog, data folder and engine; a 503 problem names those that fail."""
    services = get_services(request)
    if not services.accepting:
        raise ProblemError(503, "PEAR is stopping", headers=_RETRY)
    checks = await to_thread.run_sync(run_checks, services, limiter=services.probe_threads)
    access: AccessControl = request.app.state.access
    readable, state = access.keys.check()
    states = ("ok", READ_ONLY)
    failing = [f"{name}: {state}" for name, state in checks.items() if state not in states]
    if access.keys_required:
        checks["keys"] = state
        failing += [] if readable else [f"keys: {state}"]
    if failing:
        raise ProblemError(503, ", ".join(failing), headers=_RETRY)
    return JSONResponse({"status": "ready", "checks": checks})


def run_checks(services: Services) -> dict[str, str]:
    """Return the state of each part that readiness needs; `ok` if it is right."""

    def run(check: Callable[[], bool]) -> str:
        try:
            return "ok" if check() else "not available"
        except Exception as error:  # readiness reports any failure
            return describe_error(error)

    return {
        "catalog": run(lambda: bool(services.catalog.runs.counts())),
        "data": run(services.folder.root.is_dir),
        "engine": READ_ONLY if services.engine.read_only else run(services.engine.ready),
    }


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(services: ServicesDep) -> Response:
    """Return number and duration of requests, and runs and evaluations by status."""
    return Response(services.metrics.exposition(), media_type="text/plain; version=0.0.4")


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> JSONResponse:
    """Return the OpenAPI document."""
    return JSONResponse(request.app.openapi())


@router.get("/v1/info", summary="Version and limits")
def info(services: ServicesDep) -> Info:
    """Return name, version and limits of this service."""
    settings = services.settings
    return Info(
        name="PEAR",
        version=__version__,
        note=DISCLAIMER,
        limits={
            name: getattr(settings, name)
            for name in ("max_lead_hours", "max_points", "max_values", "queue_limit")
        },
        links={"openapi": "/openapi.json", "docs": "/docs", "dashboard": "/"},
    )
