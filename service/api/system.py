"""Is it alive, is it ready, what does it measure, what is it."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pear import __version__
from service.api.schemas import Info
from service.dependencies import Services, ServicesDep
from service.http.html import DISCLAIMER
from service.http.problems import documented, problem_response

router = APIRouter(tags=["system"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Answer as long as the event loop turns; says nothing about stores or workers."""
    return {"status": "alive"}


@router.get("/readyz", summary="Can requests be served?", responses=documented(503))
async def readyz(request: Request) -> Response:
    """Check the catalog, the data folder and the work engine; 503 names what is missing."""
    services: Services | None = getattr(request.app.state, "services", None)
    if services is None or not services.accepting:
        return problem_response(request, 503, "not accepting requests", headers=_LATER)
    checks = await to_thread.run_sync(_checks, services)
    failing = [name for name, state in checks.items() if state != "ok"]
    if failing:
        detail = ", ".join(f"{name}: {checks[name]}" for name in failing)
        return problem_response(request, 503, detail, headers=_LATER)
    return JSONResponse({"status": "ready", "checks": checks})


_LATER = {"Retry-After": "5"}


def _checks(services: Services) -> dict[str, str]:
    def state(check: Any) -> str:
        try:
            return "ok" if check() else "not there"
        except Exception as error:  # whatever is wrong, readiness says so instead of failing
            return f"{type(error).__name__}: {error}"

    return {
        "catalog": state(lambda: services.catalog.runs.counts() is not None),
        "data": state(services.folder.root.is_dir),
        "engine": state(services.engine.ready),
    }


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
def metrics(services: ServicesDep) -> Response:
    """Requests, their times, runs and evaluations by state."""
    return Response(services.metrics.text(), media_type="text/plain; version=0.0.4")


@router.get("/v1/info", summary="What answers here")
def info(services: ServicesDep) -> Info:
    """Name, version and limits of this service."""
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
