"""Pages about runs, scores and models."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from pear.times import to_iso
from pear.variables import BY_NAME
from pipelines.catalog import Model, Run
from service.api.models import get_model
from service.api.schedules import list_schedules
from service.api.schemas import SkillOut
from service.dashboard import assets
from service.dashboard.assets import style_guard
from service.dependencies import RunDep, Services, ServicesDep
from service.http.caching import matches_etag
from service.http.html import moment_text, render, units_text, utc_text
from service.http.problems import ProblemError
from service.readers.forecasts import DISPLAY_NSIDE
from service.readers.scores import Scores

router = APIRouter(include_in_schema=False)
_RUNS_SHOWN = 50
_RUNS_LISTED = 12
_INITIAL_SHOWN = 200
_PLOTS = ("spectra", "error_maps")


@router.get("/forecasts")
def runs_page(
    request: Request,
    services: ServicesDep,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
) -> Response:
    """Every run with status, progress and age; a form that asks for one."""
    page = services.catalog.runs.page(limit=_RUNS_SHOWN, cursor=cursor)
    ready = [each for each in services.initial_conditions.all() if not each.missing][
        :_INITIAL_SHOWN
    ]
    longest = services.settings.max_lead_hours // 24
    return render(
        request,
        "runs.html",
        "/forecasts",
        {
            "runs": [describe(services, run) for run in page.items],
            "next": page.next,
            "initial": [
                {"time": to_iso(each.time), "shown": utc_text(each.time), "analysis": each.analysis}
                for each in ready
            ],
            "models": services.catalog.models.all(),
            "days": [day for day in (1, 2, 3, 5, 7, 10, 15) if day <= longest],
        },
    )


@router.get("/forecasts/{run_id}")
def run_page(request: Request, services: ServicesDep, run: RunDep) -> Response:
    """One run: what it is, how far it is, what happened to it, how to read it."""
    log = [
        {
            "at": moment_text(event.at),
            "message": event.message,
            "details": dict(event.details or {}),
        }
        for event in services.catalog.runs.events(run.id)
    ]
    last = run.init_time + np.timedelta64(run.lead_hours, "h")
    return render(
        request,
        "run.html",
        "/forecasts",
        {
            "run": describe(services, run),
            "log": log,
            "options": dict(run.options),
            "valid_until": utc_text(last),
            "base": str(request.base_url).rstrip("/"),
            "finished": moment_text(run.finished_at),
        },
    )


@router.get("/scores")
def scores_page(request: Request, services: ServicesDep) -> Response:
    """Scores by lead time beside the baselines, and the scorecard."""
    models = {model.id: model.name for model in services.catalog.models.all()}
    evaluations = [
        {
            "id": scores.id,
            "label": _evaluation_label(scores, models),
            "plots": [name for name in _PLOTS if name in services.scores.plots(scores.id)],
        }
        for scores in services.scores.all()
    ]
    names = {
        name: {"long_name": row.long_name, "units": units_text(row.units)}
        for name, row in BY_NAME.items()
    }
    page = {"evaluations": evaluations, "names": names, "style_guard": style_guard()}
    return render(request, "scores.html", "/scores", {"page": page})


@router.get("/schedules")
def schedules_page(request: Request, services: ServicesDep) -> Response:
    """Every schedule with its last and next fire; pause, resume, fire now."""
    rows = list_schedules(services).items
    return render(
        request,
        "schedules.html",
        "/schedules",
        {
            "schedules": [(row, _action(row.action)) for row in rows],
            "moment": lambda text: text and text[:16].replace("T", " ") + " UTC",
            "fires": services.settings.schedules,
        },
    )


@router.get("/models/{model_id}")
def model_page(request: Request, services: ServicesDep, model_id: str) -> Response:
    """One model: grid, variables, provenance, equivariance error."""
    model = get_model(model_id, services)
    given = {**model.attributes.get("provenance", {}), **model.attributes}
    skip = {"provenance", "layout"}
    rows = [
        (name.replace("_", " "), _pairs(value))
        for name, value in given.items()
        if name not in skip and value is not None
    ]
    return render(
        request,
        "model.html",
        "",
        {
            "model": model,
            "provenance": rows,
            "units": units_text,
            "entered": model.created_at[:16].replace("T", " ") + " UTC",
            "skill_name": _field_name(model.skill) if model.skill else "",
            "skill_units": _field_units(model.skill) if model.skill else "",
        },
    )


def _field_name(skill: SkillOut) -> str:
    name = BY_NAME[skill.variable].long_name if skill.variable in BY_NAME else skill.variable
    return name if skill.level is None else f"{name} at {skill.level} hPa"


def _field_units(skill: SkillOut) -> str:
    return units_text(BY_NAME[skill.variable].units) if skill.variable in BY_NAME else ""


def _evaluation_label(scores: Scores, models: dict[str, str]) -> str:
    """Which model, against which analysis, how many init times; its identity if it says none."""
    about = scores.about
    model = str(about.get("model", ""))
    inits = about.get("inits")
    said = [models.get(model) or model, about.get("analysis")]
    said += [f"{len(inits)} init times"] if isinstance(inits, list) else [scores.id]
    return ", ".join(str(part) for part in said if part)


def describe(services: Services, run: Run) -> dict[str, Any]:
    """Return what the pages show of a run."""
    names = {model.id: model.name for model in services.catalog.models.all()}
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "s")
    return {
        "id": run.id,
        "status": run.status,
        "active": run.status.is_active,
        "reason": run.reason,
        "init": utc_text(run.init_time),
        "lead": run.lead_hours,
        "model": run.model,
        "model_name": names.get(run.model, run.model),
        "step": run.progress.step,
        "total": run.progress.total,
        "fraction": round(run.progress.fraction, 4),
        "created": moment_text(run.created_at),
        "age": span_text(now - run.init_time),
    }


def span_text(span: np.timedelta64) -> str:
    """Write a span of time with one unit: ``5 h``, ``12 days``, ``25 years``."""
    hours = float(span / np.timedelta64(1, "h"))
    if hours < 48:
        return f"{hours:.0f} h"
    days = hours / 24
    return f"{days:.0f} days" if days < 730 else f"{days / 365.25:.0f} years"


def _action(action: dict[str, Any]) -> list[tuple[str, str]]:
    """What a schedule does, with what was chosen for it."""
    return [
        pair
        for kind, parts in action.items()
        for pair in [(kind, ""), *(each for each in _pairs(parts) if each[1] not in ("{}", "[]"))]
    ]


def _pairs(value: Any) -> list[tuple[str, str]]:
    """What a table of provenance shows of one entry: the parts of a mapping by name."""
    if not isinstance(value, dict):
        return [("", _short(value))]
    return [
        (str(name).replace("_", " "), _short(part))
        for name, part in value.items()
        if part is not None and name != "layout"
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 300 else text[:300] + "…"


_EVERYWHERE = {"401", "403", "408", "414", "421", "429", "503"}
"""Answers that any operation may give; the page about the API says them once."""


@router.get("/")
def forecast_page(request: Request, services: ServicesDep, run: str | None = None) -> Response:
    """Show the newest forecast, or the one asked for."""
    runs = services.catalog.runs.page(limit=_RUNS_LISTED).items
    chosen = services.catalog.runs.get(run) if run else services.catalog.runs.latest()
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
                "example": _example(services),
            },
        )
    return render(
        request,
        "forecast.html",
        "/",
        {
            "page": _page_data(services, chosen),
            "runs": listed,
            "init": utc_text(chosen.init_time),
            "model_name": _model(services, chosen.model).name,
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


def _page_data(services: Services, run: Run) -> dict[str, Any]:
    """What the page's JavaScript needs to know about the run."""
    store = services.forecasts.store(run.id)
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


def _model(services: Services, model_id: str) -> Model:
    return services.catalog.models.get(model_id)


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


def _example(services: Services) -> str:
    for each in services.initial_conditions.all():
        if not each.missing:
            return to_iso(each.time)
    return "2001-03-01T00:00:00Z"
