"""The page of scores, and what other pages say about evaluations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from pear.metrics.ensemble import RANK
from pear.variables import SIMULATED, variable
from service.dashboard import assets
from service.dependencies import Services, ServicesDep
from service.http.html import format_units, render
from service.http.paths import hide_paths
from service.http.routing import GuardedRoute
from service.readers.nature import is_simulated
from service.readers.scores import BASELINES, METRICS, Scores

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)
_COLOURS: Final = ("viridis", "PuOr_r")


class ScoresView(BaseModel):
    """What the page of scores shows; read by its JavaScript."""

    evaluation: str | None = Field(default=None, max_length=128)
    field: str | None = Field(default=None, max_length=64)
    region: str | None = Field(default=None, max_length=64)
    metric: str | None = Field(default=None, max_length=64)
    baseline: str | None = Field(default=None, max_length=128)
    hour: str | None = Field(default=None, max_length=2)


@router.get("/scores")
def scores_page(
    request: Request, services: ServicesDep, view: Annotated[ScoresView, Query()]
) -> Response:
    """Show scores by lead time beside those of the baselines, and the scorecard."""
    models = {model.id: model.name for model in services.catalog.models.all()}
    choices: dict[str, int] = {}  # most evaluations share theirs
    if view.evaluation:
        services.scores.get(view.evaluation)  # 404 or 503 as a page, no other evaluation
    known = services.scores.all()
    evaluations = [
        {
            "id": scores.id,
            "label": evaluation_label(scores, models, simulated=is_of_simulation(services, scores)),
            "simulated": is_of_simulation(services, scores),
            "files": list(services.scores.plots(scores.id)),
            "choices": choices.setdefault(_choices(scores), len(choices)),
            "against": _comparable(services, scores, known),
            **_parts(scores),
        }
        for scores in known
    ]
    names = {
        name: {
            "long_name": variable(name).long_name,
            "units": format_units(variable(name).units),
        }
        for name in dict.fromkeys(name for scores in known for name, _ in scores.fields)
    }
    shared = [json.loads(each) for each in choices]
    maps = assets.colours()
    colours = {name: maps[name] for name in _COLOURS}
    page = {"evaluations": evaluations, "choices": shared, "names": names, "colours": colours}
    damaged = {name: hide_paths(text) for name, text in services.scores.damaged().items()}
    ignored = _ignored(services, view)
    values = {"page": page, "damaged": damaged, "ignored": ignored}
    return render(request, "scores.html", "/scores", values)


def _ignored(services: Services, view: ScoresView) -> list[tuple[str, str]]:
    """Return the parts of an address that the page of scores cannot show, with their values."""
    known = services.scores.all()
    chosen = next((each for each in known if view.evaluation in (None, "", each.id)), None)
    if chosen is None:
        return []
    allowed = {
        "field": field_keys(chosen),
        "region": chosen.regions,
        "metric": METRICS,
        "baseline": (*BASELINES, *_comparable(services, chosen, known)),
        "hour": [str(hour) for hour in _parts(chosen)["hours"]],
    }
    return [
        (name, value)
        for name, values in allowed.items()
        if (value := getattr(view, name)) is not None and value not in values
    ]


def _comparable(services: Services, scores: Scores, known: list[Scores]) -> list[str]:
    """Return the evaluations of the same analysis and grid that share init times with one."""
    if not services.scores.keeps_sums(scores):
        return []
    inits = set(scores.about.get("inits", ()))
    return [
        other.id
        for other in known
        if other.id != scores.id
        and services.scores.keeps_sums(other)
        and other.about.get("analysis") == scores.about.get("analysis")
        and other.about.get("nside") == scores.about.get("nside")
        and inits & set(other.about.get("inits", ()))
    ]


def _parts(scores: Scores) -> dict[str, Any]:
    """Return the fields with spectra and maps, their days, whether ranks are kept, and hours."""
    data = scores.data
    keys = dict(zip(_labels(scores, "channel"), field_keys(scores), strict=False))
    days = data["plotted_lead"].values if "plotted_lead" in data.coords else ()
    hours = {text[11:13] for text in scores.about.get("inits", ())}
    return {
        "plotted": [keys[label] for label in _labels(scores, "plotted_channel")],
        "days": [float(day / np.timedelta64(1, "D")) for day in days],
        "members": any(name.startswith(RANK) for name in _labels(scores, "statistic")),
        "hours": sorted(int(hour) for hour in hours) if len(hours) > 1 else [],
    }


def _labels(scores: Scores, dim: str) -> list[str]:
    if dim not in scores.data.coords:
        return []
    return [str(name) for name in np.atleast_1d(scores.data[dim].values)]


def is_of_simulation(services: Services, scores: Scores) -> bool:
    """Return whether an evaluation is of a simulated atmosphere."""
    analysis = scores.about.get("analysis")
    known = analysis is not None and is_simulated(services.folder, str(analysis))
    return known or SIMULATED in scores.about


def _choices(scores: Scores) -> str:
    """Return the fields and regions that an evaluation has scores of, as JSON."""
    return json.dumps({"fields": field_keys(scores), "regions": scores.regions})


def field_keys(scores: Scores) -> list[str]:
    """Return the fields that an evaluation has scores of, as the scripts name them."""
    return [name if level is None else f"{name}:{level}" for name, level in scores.fields]


def evaluation_label(scores: Scores, models: Mapping[str, str], *, simulated: bool) -> str:
    """Return model, options, analysis and number of init times, or the id if that is unknown."""
    about = scores.about
    model = str(about.get("model", ""))
    inits = about.get("inits")
    count = f"{len(inits)} init times" if isinstance(inits, list) else scores.id
    analysis = about.get("analysis")
    if simulated:
        analysis = f"{analysis} (simulated atmosphere)"
    members = about.get("members")
    options = json.loads(about.get("options") or "{}")
    parts = (
        models.get(model) or model,
        f"{members} members" if members else None,
        None if options.get("correction", True) else "without correction",
        analysis,
        count,
    )
    return ", ".join(str(part) for part in parts if part)
