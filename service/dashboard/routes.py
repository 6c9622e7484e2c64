"""Pages about runs, scores and models."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from pear.times import to_iso
from pear.variables import BY_NAME
from pipelines.catalog import Run
from service.api.models import get_model
from service.api.schedules import list_schedules
from service.api.schemas import SkillOut
from service.dashboard.assets import style_guard
from service.dependencies import RunDep, Services, ServicesDep
from service.http.html import moment_text, render, units_text, utc_text
from service.readers.scores import Scores

router = APIRouter(include_in_schema=False)
_RUNS_SHOWN = 50
_INITIAL_SHOWN = 200
_PLOTS = ("spectra", "error_maps")


@router.get("/forecasts")
def runs_page(
    request: Request,
    found: ServicesDep,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
) -> Response:
    """Every run with status, progress and age; a form that asks for one."""
    page = found.catalog.runs(limit=_RUNS_SHOWN, cursor=cursor)
    ready = [each for each in found.initial.all() if not each.missing][:_INITIAL_SHOWN]
    longest = found.settings.max_lead_hours // 24
    return render(
        request,
        "runs.html",
        "/forecasts",
        {
            "runs": [describe(found, run) for run in page.items],
            "next": page.next,
            "initial": [
                {"time": to_iso(each.time), "shown": utc_text(each.time), "analysis": each.analysis}
                for each in ready
            ],
            "models": found.catalog.models(),
            "days": [day for day in (1, 2, 3, 5, 7, 10, 15) if day <= longest],
        },
    )


@router.get("/forecasts/{run_id}")
def run_page(request: Request, found: ServicesDep, run: RunDep) -> Response:
    """One run: what it is, how far it is, what happened to it, how to read it."""
    log = [
        {
            "at": moment_text(event.at),
            "message": event.message,
            "details": dict(event.details or {}),
        }
        for event in found.catalog.log(run.id)
    ]
    last = run.init_time + np.timedelta64(run.lead_hours, "h")
    return render(
        request,
        "run.html",
        "/forecasts",
        {
            "run": describe(found, run),
            "log": log,
            "options": dict(run.options),
            "valid_until": utc_text(last),
            "base": str(request.base_url).rstrip("/"),
            "finished": moment_text(run.finished_at),
        },
    )


@router.get("/scores")
def scores_page(request: Request, found: ServicesDep) -> Response:
    """Scores by lead time beside the baselines, and the scorecard."""
    models = {model.id: model.name for model in found.catalog.models()}
    evaluations = [
        {
            "id": scores.id,
            "label": _evaluation_label(scores, models),
            "plots": [name for name in _PLOTS if name in found.scores.plots(scores.id)],
        }
        for scores in found.scores.all()
    ]
    names = {
        name: {"long_name": row.long_name, "units": units_text(row.units)}
        for name, row in BY_NAME.items()
    }
    page = {"evaluations": evaluations, "names": names, "style_guard": style_guard()}
    return render(request, "scores.html", "/scores", {"page": page})


@router.get("/schedules")
def schedules_page(request: Request, found: ServicesDep) -> Response:
    """Every schedule with its last and next fire; pause, resume, fire now."""
    rows = list_schedules(found).items
    return render(
        request,
        "schedules.html",
        "/schedules",
        {
            "schedules": [(row, _action(row.action)) for row in rows],
            "moment": lambda text: text and text[:16].replace("T", " ") + " UTC",
            "fires": found.settings.schedules,
        },
    )


@router.get("/models/{model_id}")
def model_page(request: Request, found: ServicesDep, model_id: str) -> Response:
    """One model: grid, variables, provenance, equivariance error."""
    model = get_model(model_id, found)
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


def describe(found: Services, run: Run) -> dict[str, Any]:
    """Return what the pages show of a run."""
    names = {model.id: model.name for model in found.catalog.models()}
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "s")
    return {
        "id": run.id,
        "status": run.status,
        "active": run.active,
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
