"""Models: what they forecast, on which grid, from where."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from pear.variables import BY_NAME, Layout
from pipelines.catalog import Model
from service.api.schemas import ModelList, ModelOut, SkillOut
from service.dependencies import ServicesDep
from service.http.problems import documented

router = APIRouter(prefix="/v1/models", tags=["models"])
_HEADLINE = ("geopotential", 500)


@router.get("", summary="Every model", responses=documented(503))
def list_models(services: ServicesDep) -> ModelList:
    """Models of the data folder, newest first."""
    return ModelList(items=[_out(model, services) for model in services.catalog.models.all()])


@router.get("/{model_id}", summary="One model", responses=documented(404, 422, 503))
def get_model(model_id: str, services: ServicesDep) -> ModelOut:
    """One model by its identity or name."""
    return _out(services.catalog.models.get(model_id), services)


def _out(model: Model, services: ServicesDep) -> ModelOut:
    return ModelOut.of(
        model, services.settings.max_lead_hours, _variables(model), _skill(model, services)
    )


def _skill(model: Model, services: ServicesDep) -> SkillOut | None:
    """Skill by lead for the field that models are compared by, or the first there is."""
    scores = next(
        (each for each in services.scores.all() if each.about.get("model") == model.id), None
    )
    rows = [row for row in scores.records if row["forecaster"] == "pear"] if scores else []
    if scores is None or not rows:
        return None
    chosen = next((row for row in rows if (row["variable"], row["level"]) == _HEADLINE), rows[0])
    region = chosen.get("region") or "global"
    keys = ("variable", "level", "region")
    same = [row for row in rows if all(row.get(key) == chosen.get(key) for key in keys)]
    same.sort(key=lambda row: float(row["lead_days"]))
    return SkillOut(
        evaluation=scores.id,
        variable=chosen["variable"],
        level=chosen["level"],
        region=region,
        lead_days=[row["lead_days"] for row in same],
        acc=[row.get("acc") for row in same],
        rmse=[row.get("rmse") for row in same],
    )


def _variables(model: Model) -> list[dict[str, Any]]:
    """Variables from the checkpoint's layout, the published one if it names none."""
    layout = dict(model.attributes.get("layout") or {})
    surface = layout.get("surface", Layout.default().surface)
    upper, levels = (
        layout.get("upper", Layout.default().upper),
        layout.get("levels", Layout.default().levels),
    )
    rows = [(name, None) for name in surface] + [(name, list(levels)) for name in upper]
    return [
        {
            "name": name,
            "short_name": BY_NAME[name].short_name,
            "units": BY_NAME[name].units,
            "long_name": BY_NAME[name].long_name,
            "levels": at,
        }
        for name, at in rows
        if name in BY_NAME
    ]
