"""Pages of the dashboard, and its static files."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, Field

from pear.times import to_iso
from pear.variables import BY_NAME, variable, wind_pair, wind_pairs
from pipelines.catalog import RESUBMITTABLE, Run, Status
from service.api.models import get_model
from service.api.schemas import EventOut, format_utc
from service.dashboard import assets
from service.dashboard.counterfactual import show_counterfactual
from service.dashboard.ensemble import describe_ensemble
from service.dashboard.scores import evaluation_label, field_keys, is_of_simulation
from service.dashboard.values import list_items
from service.dependencies import RunDep, Services, ServicesDep, find_listed_model
from service.http.caching import IMMUTABLE, not_modified
from service.http.errors import ProblemError
from service.http.html import format_datetime, format_time, format_units, render
from service.http.paths import hide_paths
from service.http.routing import GuardedRoute
from service.readers.counterfactuals import pair_of
from service.readers.forecasts import ForecastStore
from service.readers.nature import describe_members, nature_of, notes_of
from service.readers.normals import scalars_with_normals
from service.readers.open_meteo import DEFAULT, SURFACE_NAMES
from service.readers.remedies import remedy_of
from service.readers.resample import DISPLAY_NSIDE

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)
_RECENT_RUNS: Final = 12
_MAX_OTHERS: Final = 24
_MOST_LOOKED_AT: Final = 100
"""Runs whose times are compared with those of the one that is shown."""
_RUNS_PER_PAGE: Final = 50
_MAX_INIT_TIMES: Final = 200
_FORECAST_DAYS: Final = (1, 2, 3, 5, 7, 10, 15)
_OLDEST_DAYS: Final = 60
"""Age up to which a forecast is of the weather to come, so that its age matters."""
_UPPER_EXAMPLES: Final = (
    "temperature_850hPa",
    "geopotential_height_500hPa",
    "wind_speed_250hPa",
)
_OVERLAY_LEVELS: Final = (1000, 850, 700, 500, 300, 200)
_BLANK: Final = BeforeValidator(lambda given: None if given == "" else given)


class ForecastView(BaseModel):
    """What the forecast page shows; all but the run is read by its JavaScript."""

    run: str | None = Field(default=None, max_length=128)
    variable: str | None = Field(default=None, max_length=64)
    level: str | None = Field(default=None, max_length=64)
    lead: str | None = Field(default=None, max_length=64)
    view: str | None = Field(default=None, max_length=64)
    cells: str | None = Field(default=None, max_length=64)
    lon: str | None = Field(default=None, max_length=64)
    lat: str | None = Field(default=None, max_length=64)
    plon: str | None = Field(default=None, max_length=64)
    plat: str | None = Field(default=None, max_length=64)
    zoom: str | None = Field(default=None, max_length=64)
    isolines: str | None = Field(default=None, max_length=64)
    wind: str | None = Field(default=None, max_length=64)
    colours: str | None = Field(default=None, max_length=64)
    speed: str | None = Field(default=None, max_length=64)
    units: str | None = Field(default=None, max_length=64)
    statistic: str | None = Field(default=None, max_length=64)
    value: str | None = Field(default=None, max_length=64)
    compare: str | None = Field(default=None, max_length=160)
    show: str | None = Field(default=None, max_length=64)
    painter: str | None = Field(default=None, max_length=64)


@router.get("/")
def forecast_page(
    request: Request, services: ServicesDep, view: Annotated[ForecastView, Query()]
) -> Response:
    """Show the newest forecast, or the one with this id."""
    runs = services.catalog.runs
    chosen = runs.get(view.run) if view.run else runs.latest()
    recent = [
        {
            "id": each.id,
            "status": each.status,
            "active": each.status.is_active,
            "lead": each.lead_hours,
            "init": to_iso(each.init_time),
            "nature": nature_of(services.folder, each).words,
        }
        for each in runs.page(by_init=True, limit=_RECENT_RUNS).items
    ]
    if chosen is None or chosen.status is not Status.SUCCEEDED:
        values: dict[str, Any] = {
            "why": _explain_missing(chosen),
            "runs": recent,
            "base": str(request.base_url).rstrip("/"),
            "example": _example_init_time(services),
        }
        return render(request, "empty.html", "/", values)
    values = {
        "page": {
            **_map_data(services, chosen),
            "ignored": [("run", "")] if view.run == "" else [],
        },
        "runs": recent,
        "model_name": services.catalog.models.get(chosen.model).name,
        "nature": nature_of(services.folder, chosen).words,
    }
    return render(request, "forecast.html", "/", values)


class RunsView(BaseModel):
    """Which runs the page of runs shows; a form sends empty text for what is not chosen."""

    status: Annotated[Status | None, _BLANK] = None
    model: Annotated[str | None, Field(max_length=128), _BLANK] = None
    init_from: Annotated[date | None, _BLANK] = None
    init_until: Annotated[date | None, _BLANK] = None
    cursor: Annotated[str | None, Field(max_length=256), _BLANK] = None

    @property
    def init_range(self) -> tuple[np.datetime64 | None, np.datetime64 | None]:
        """First and last init time, UTC: whole days."""
        last = None if self.init_until is None else np.datetime64(self.init_until, "s")
        return (
            None if self.init_from is None else np.datetime64(self.init_from, "s"),
            None if last is None else last + np.timedelta64(86_399, "s"),
        )

    def query(self, **changes: str | None) -> str:
        """Return the query string of this view, with changes."""
        values = {**self.model_dump(mode="json"), **changes}
        return urlencode({name: value for name, value in values.items() if value is not None})


@router.get("/forecasts")
def runs_page(
    request: Request, services: ServicesDep, view: Annotated[RunsView, Query()]
) -> Response:
    """Show runs with options, status, progress and age, and a form that submits one."""
    page = services.catalog.runs.page(
        status=view.status,
        model=find_listed_model(services, view.model, services.catalog.runs),
        init_range=view.init_range,
        by_init=True,
        limit=_RUNS_PER_PAGE,
        cursor=view.cursor,
    )
    counts = services.catalog.runs.counts()
    active = {str(status): counts[status] for status in Status if status.is_active}
    complete = [each for each in services.initial_conditions.all() if not each.missing]
    longest = services.settings.max_lead_hours // 24
    values = {
        "runs": [_describe_run(services, run) for run in page.items],
        "next": page.next and view.query(cursor=page.next),
        "view": view.model_dump(mode="json"),
        "filtered": bool(view.query(cursor=None)),
        "statuses": list(Status),
        "queue": active if any(active.values()) else None,
        "initial": [
            {"time": to_iso(each.time), "shown": format_time(each.time), "analysis": each.analysis}
            for each in complete[:_MAX_INIT_TIMES]
        ],
        "models": services.catalog.models.all(),
        "days": [day for day in _FORECAST_DAYS if day <= longest],
    }
    return render(request, "runs.html", "/forecasts", values)


@router.get("/forecasts/{run_id}")
def run_page(request: Request, services: ServicesDep, run: RunDep) -> Response:
    """Show one run: options, progress, log, and ways to read it."""
    pair = pair_of(services.folder, services.catalog, run)
    log = [
        {
            "at": format_datetime(event.at),
            "level": event.level,
            "message": hide_paths(event.message),
            "details": EventOut.from_event(event).details,
        }
        for event in services.catalog.runs.events(run.id)
    ]
    values = {
        "run": _describe_run(services, run),
        "log": log,
        "notes": notes_of(services.folder, run),
        "pair": pair,
        "counterfactual": None if pair.figures is None else show_counterfactual(run, pair),
        "members": describe_members(services.folder, run),
        "valid_until": to_iso(run.init_time + np.timedelta64(run.lead_hours, "h")),
        "base": str(request.base_url).rstrip("/"),
        "finished": format_datetime(run.finished_at),
    }
    return render(request, "run.html", "/forecasts", values)


@router.get("/models/{model_id}")
def model_page(request: Request, services: ServicesDep, model_id: str) -> Response:
    """Show one model: grid, variables, skill, provenance and equivariance error."""
    model = get_model(model_id, services)
    facts = {**model.attributes.get("provenance", {}), **model.attributes}
    skill_row = BY_NAME.get(model.skill.variable) if model.skill else None
    skill_name = ""
    if model.skill:
        skill_name = skill_row.long_name if skill_row else model.skill.variable
        skill_name += "" if model.skill.level is None else f" at {model.skill.level} hPa"
    values = {
        "model": model,
        "provenance": [
            (name.replace("_", " "), list_items(value))
            for name, value in facts.items()
            if name not in ("provenance", "layout") and value is not None
        ],
        "units": format_units,
        "created": _shorten_time(model.created_at),
        "skill_name": skill_name,
        "skill_units": format_units(skill_row.units) if skill_row else "",
    }
    return render(request, "model.html", "", values)


@router.get("/docs")
def docs_page(request: Request) -> Response:
    """List the operations of the API; the page reads the rest from the OpenAPI document."""
    document = request.app.openapi()
    topics: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            topic = (operation.get("tags") or ["other"])[0]
            topics.setdefault(topic, []).append((verb.upper(), path, operation))
    values = {
        "version": document["openapi"],
        "topics": topics,
        "variables": (*SURFACE_NAMES, *_UPPER_EXAMPLES),
        "chosen": DEFAULT.split(","),
    }
    return render(request, "docs.html", "/docs", values)


@router.get("/static/{name:path}")
def static_file(name: str, request: Request) -> Response:
    """Return one static file, compressed if the client accepts gzip."""
    # Below the digest of this version it never changes; one of another version is not found, since
    # it could not be mixed with files of this one.
    version, slash, rest = name.partition("/")
    pinned = bool(slash) and version == assets.version()
    name = rest if pinned else name
    if name not in assets.names():
        hint = "load the page again: the service has been upgraded" if slash else None
        raise ProblemError(404, f"nothing at {request.url.path}", hint=hint)
    asset = assets.asset(name)
    headers = {
        "ETag": asset.etag,
        "Cache-Control": IMMUTABLE if pinned else "no-cache",
        "Vary": "Accept-Encoding",
    }
    unchanged = not_modified(request, headers)
    if unchanged is not None:
        return unchanged
    body = asset.body
    if asset.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = asset.compressed, "gzip"
    return Response(body, media_type=asset.media_type, headers=headers)


def _map_data(services: Services, run: Run) -> dict[str, Any]:
    """Return what the JavaScript of the forecast page needs to know about the run."""
    store, nature = services.forecasts.store(run.id), nature_of(services.folder, run)
    scores = next(
        (each for each in services.scores.all() if each.about.get("model") == run.model), None
    )
    ensemble = describe_ensemble(services, run)
    shares = [] if ensemble is None else ensemble["probabilities"]
    names = tuple(dict.fromkeys((*store.names, *(each["variable"] for each in shares))))
    return {
        "run": run.id,
        "evaluation": scores
        and {
            "id": scores.id,
            "label": evaluation_label(
                scores,
                {model.id: model.name for model in services.catalog.models.all()},
                simulated=is_of_simulation(services, scores),
            ),
            "fields": field_keys(scores),
        },
        "model": run.model,
        "init": to_iso(store.init_time),
        "leads": list(store.lead_hours),
        "nside": store.nside,
        "display_nside": DISPLAY_NSIDE,
        "levels": sorted(store.levels, reverse=True),
        "variables": [
            {
                "name": name,
                "long_name": variable(name).long_name,
                "units": format_units(variable(name).units),
                "levels": variable(name).kind == "upper",
                "vector": store.has_vectors and wind_pair(name) is not None,
                "derived": name not in store.names,
            }
            for name in names
        ],
        "winds": {kind: _wind_of(store, kind) for kind in ("surface", "upper")},
        "isolines": _isolines_of(store),
        "others": [*_others_of(services, run), *_analyses_of(services, store)],
        "colour_choice": assets.COLOUR_CHOICE,
        "ensemble": ensemble,
        "normals": scalars_with_normals(services.folder, run),
        "nature": [word for word in nature.words if word != nature.mean],
        "styles": assets.styles(names),
        "colours": assets.colours(),
    }


def _others_of(services: Services, run: Run) -> list[dict[str, Any]]:
    """Return the runs on the same grid with valid times of this run, and what sets them apart."""
    models = {model.id: model for model in services.catalog.models.all()}
    own = nature_of(services.folder, run).words
    longest = np.timedelta64(services.settings.max_lead_hours, "h")
    last = run.init_time + np.timedelta64(run.lead_hours, "h")
    found = services.catalog.runs.page(
        status=Status.SUCCEEDED,
        init_range=(run.init_time - longest, last),
        by_init=True,
        limit=_MOST_LOOKED_AT,
    )
    others = [each for each in found.items if _shares_times(services, run, each)]
    return [
        {
            "id": each.id,
            "init": to_iso(each.init_time),
            "shown": format_time(each.init_time),
            "lead": each.lead_hours,
            "model": models[each.model].name,
            "sameModel": each.model == run.model,
            "nature": [w for w in nature_of(services.folder, each).words if w not in own],
        }
        for each in others
        if each.id != run.id
        and each.model in models
        and models[each.model].nside == models[run.model].nside
    ][:_MAX_OTHERS]


def _analyses_of(services: Services, store: ForecastStore) -> list[dict[str, Any]]:
    """Return the analyses on the grid of a run with some of its valid times, as other runs."""
    found = []
    for served in services.series.all():
        if served.kind != "analysis":
            continue
        try:
            series = services.series.open("analysis", served.name)
        except ProblemError:  # damaged, or without times yet
            continue
        shared = np.isin(store.valid_times, series.valid_times)
        if series.nside != store.nside or not shared.any():
            continue
        found.append(
            {
                "id": f"analysis:{served.name}",
                "analysis": served.name,
                "init": to_iso(store.init_time),
                "shown": served.name,
                "lead": max(store.lead_hours),
                "leads": [store.lead_hours[i] for i in np.flatnonzero(shared)],
                "model": "Analysis",
                "sameModel": False,
                "nature": [],
            }
        )
    return found


def _shares_times(services: Services, run: Run, other: Run) -> bool:
    """Return whether two runs have a valid time in common, at which they can be compared."""
    own = services.forecasts.store(run.id).valid_times
    if other.init_time + np.timedelta64(other.lead_hours, "h") < own[0]:
        return False  # without opening its store
    try:
        times = services.forecasts.store(other.id).valid_times
    except ProblemError:  # damaged: its own page says why
        return False
    return bool(np.isin(own, times).any())


def _wind_of(store: ForecastStore, kind: str) -> tuple[str, str] | None:
    """Return the components of the wind at a level or near the ground, if the run has them."""
    pairs = (pair for pair in wind_pairs() if BY_NAME[pair[0]].kind == kind)
    return next((p for p in pairs if store.has_vectors and set(p) <= set(store.names)), None)


def _isolines_of(store: ForecastStore) -> list[dict[str, Any]]:
    """Return the fields whose isolines may lie over another field."""
    found: list[dict[str, Any]] = []
    for name in store.names:
        row = BY_NAME[name]
        if row.style.isolines is None:
            continue
        title = row.style.label or row.long_name
        if row.kind != "upper":
            found.append({"key": name, "variable": name, "level": None, "name": title})
            continue
        found += [
            {
                "key": f"{name}:{level}",
                "variable": name,
                "level": level,
                "name": f"{title} at {level} hPa",
            }
            for level in sorted(store.levels, reverse=True)
            if level in _OVERLAY_LEVELS
        ]
    return found


def _explain_missing(run: Run | None) -> str:
    if run is None:
        return "No forecast has finished in this data folder."
    return f"Run {run.id} is {run.status}" + (f": {hide_paths(run.reason)}" if run.reason else ".")


def _example_init_time(services: Services) -> str:
    complete = (each.time for each in services.initial_conditions.all() if not each.missing)
    time = next(complete, None)
    return "2001-03-01T00:00:00Z" if time is None else to_iso(time)


def _describe_run(services: Services, run: Run) -> dict[str, Any]:
    """Return what the pages show of a run."""
    names = {model.id: model.name for model in services.catalog.models.all()}
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "s")
    nature = nature_of(services.folder, run)
    queued = run.status is Status.QUEUED
    return {
        "id": run.id,
        "status": run.status,
        "retryable": run.status in RESUBMITTABLE,
        "position": services.catalog.queue_position(run.id) if queued else None,
        "reason": run.reason and hide_paths(run.reason),
        "remedy": remedy_of(run),
        "options": list_items(dict(run.options)),
        "init": format_time(run.init_time),
        "init_iso": to_iso(run.init_time),
        "lead": run.lead_hours,
        "model": run.model,
        "model_name": names.get(run.model, run.model),
        "step": run.progress.step,
        "total": run.progress.total,
        "fraction": round(run.progress.fraction, 4),
        "created": format_datetime(run.created_at),
        "created_iso": format_utc(run.created_at),
        "nature": nature.words,
        "age": None if nature.simulated else _format_age(now - run.init_time),
    }


def _format_age(age: np.timedelta64) -> str | None:
    """Return an age as ``5 h`` or ``12 days``; None for the distant past and the future."""
    hours = float(age / np.timedelta64(1, "h"))
    if not 0 <= hours <= 24 * _OLDEST_DAYS:
        return None
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _shorten_time(text: str | None) -> str | None:
    """Return ``2001-03-01T00:00:00Z`` as ``2001-03-01 00:00 UTC``."""
    return text and text[:16].replace("T", " ") + " UTC"
