"""The dashboard's pages and their static files."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from pear.times import to_iso
from pear.variables import BY_NAME
from pipelines.catalog import Model, Run
from service.dashboard import assets
from service.dependencies import Services, ServicesDep
from service.http.caching import matches_etag
from service.http.html import render, units_text, utc_text
from service.http.problems import ProblemError
from service.readers.forecasts import DISPLAY_NSIDE

router = APIRouter(include_in_schema=False)
_RUNS_SHOWN = 12
_EVERYWHERE = {"401", "403", "408", "414", "421", "429", "503"}
"""Answers that any operation may give; the page about the API says them once."""


@router.get("/")
def forecast_page(request: Request, found: ServicesDep, run: str | None = None) -> Response:
    """Show the newest forecast, or the one asked for."""
    runs = found.catalog.runs(limit=_RUNS_SHOWN).items
    chosen = found.catalog.run(run) if run else found.catalog.latest_run()
    listed = [_row(each) for each in runs]
    if chosen is None or chosen.status != "succeeded":
        return render(
            request,
            "empty.html",
            "/",
            {
                "why": _why(chosen),
                "runs": listed,
                "base": str(request.base_url).rstrip("/"),
                "example": _example(found),
            },
        )
    return render(
        request,
        "forecast.html",
        "/",
        {
            "page": _page_data(found, chosen),
            "runs": listed,
            "init": utc_text(chosen.init_time),
            "model_name": _model(found, chosen.model).name,
        },
    )


@router.get("/docs")
def docs_page(request: Request) -> Response:
    """Describe the API in one table, from its OpenAPI document."""
    spec = request.app.openapi()
    topics: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, verbs in spec["paths"].items():
        for verb, operation in verbs.items():
            topic = (operation.get("tags") or ["other"])[0]
            topics.setdefault(topic, []).append((verb.upper(), path, operation))
    return render(
        request,
        "docs.html",
        "/docs",
        {
            "version": spec["openapi"],
            "topics": topics,
            "everywhere": _EVERYWHERE,
        },
    )


@router.get("/static/{name:path}")
def static_file(name: str, request: Request) -> Response:
    """One file of the dashboard, compressed where the client takes it."""
    if name not in assets.names():
        raise ProblemError(404, f"nothing at {request.url.path}")
    asset = assets.asset(name)
    headers = {
        "ETag": asset.etag,
        "Cache-Control": asset.cache_control,
        "Vary": "Accept-Encoding",
    }
    if matches_etag(request, asset.etag):
        return Response(status_code=304, headers=headers)
    body = asset.body
    if asset.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = asset.packed, "gzip"
    return Response(body, media_type=asset.media_type, headers=headers)


def _page_data(found: Services, run: Run) -> dict[str, Any]:
    """What the page's JavaScript needs to know about the run."""
    store = found.reader.store(run.id)
    return {
        "run": run.id,
        "model": run.model,
        "init": to_iso(store.init_time),
        "leads": list(store.lead_hours),
        "nside": store.nside,
        "display_nside": DISPLAY_NSIDE,
        "levels": sorted(store.levels, reverse=True),
        "variables": [
            {
                "name": name,
                "long_name": BY_NAME[name].long_name,
                "units": units_text(BY_NAME[name].units),
                "levels": BY_NAME[name].kind == "upper",
            }
            for name in store.names
        ],
        "styles": {name: assets.styles()[name] for name in store.names},
        "colours": assets.colours(),
        "style_guard": assets.style_guard(),
    }


def _model(found: Services, model_id: str) -> Model:
    return found.catalog.model(model_id)


def _row(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "status": run.status,
        "lead": run.lead_hours,
        "init": utc_text(run.init_time),
    }


def _why(run: Run | None) -> str:
    if run is None:
        return "No forecast has finished in this data folder."
    return f"Run {run.id} is {run.status}" + (f": {run.reason}" if run.reason else ".")


def _example(found: Services) -> str:
    for each in found.initial.all():
        if not each.missing:
            return to_iso(each.time)
    return "2001-03-01T00:00:00Z"
