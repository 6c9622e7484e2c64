"""Models: variables, grid, skill and provenance."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from pear.variables import BY_NAME, Layout
from pear.variables.own import adopt_definitions
from pipelines.catalog import Model
from service.api.schemas import ModelList, ModelOut, ModelVariable, SkillOut
from service.dependencies import Services, ServicesDep
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=GuardedRoute)
_HEADLINE: Final = ("geopotential", 500)


@router.get("", summary="All models", responses=problem_responses(503))
def list_models(services: ServicesDep) -> ModelList:
    """Return the models of the data folder, newest first."""
    return ModelList(items=[_describe(model, services) for model in services.catalog.models.all()])


@router.get("/{model_id}", summary="One model", responses=problem_responses(404, 422, 503))
def get_model(model_id: str, services: ServicesDep) -> ModelOut:
    """Return one model by id or name."""
    return _describe(services.catalog.models.get(model_id), services)


def _describe(model: Model, services: Services) -> ModelOut:
    longest, skill = services.settings.max_lead_hours, _skill(model, services)
    return ModelOut.from_model(model, longest, describe_variables(model), skill)


def _skill(model: Model, services: Services) -> SkillOut | None:
    """Return skill by lead time of the headline variable, or of the first one evaluated."""
    scores = next(
        (each for each in services.scores.all() if each.about.get("model") == model.id), None
    )
    own = model.attributes.get("forecaster", "pear")
    rows = [row for row in scores.records if row["forecaster"] == own] if scores else []
    if scores is None or not rows:
        return None
    chosen = next((row for row in rows if (row["variable"], row["level"]) == _HEADLINE), rows[0])
    keys = ("variable", "level", "region")
    same = [row for row in rows if all(row.get(key) == chosen.get(key) for key in keys)]
    same.sort(key=lambda row: float(row["lead_days"]))
    return SkillOut(
        evaluation=scores.id,
        variable=chosen["variable"],
        level=chosen["level"],
        region=chosen.get("region") or "global",
        lead_days=[row["lead_days"] for row in same],
        acc=[row.get("acc") for row in same],
        rmse=[row.get("rmse") for row in same],
    )


def describe_variables(model: Model) -> list[ModelVariable]:
    """Return the variables of the model's layout (default: the published one)."""
    adopt_definitions(model.attributes, f"model {model.id}")  # of variables of one's own
    default = Layout.default()
    layout = model.attributes.get("layout") or {}
    levels = list(layout.get("levels", default.levels))
    rows: list[tuple[str, list[int] | None]]
    rows = [(name, None) for name in layout.get("surface", default.surface)]
    rows += [(name, levels) for name in layout.get("upper", default.upper)]
    return [
        ModelVariable(
            name=name,
            short_name=BY_NAME[name].short_name,
            units=BY_NAME[name].units,
            long_name=BY_NAME[name].long_name,
            levels=at,
        )
        for name, at in rows
        if name in BY_NAME
    ]
