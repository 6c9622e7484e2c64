"""Scores: the forecast's skill beside persistence and climatology."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from pear.errors import InputError
from pear.variables import parse_field
from service.dependencies import ServicesDep
from service.http.problems import documented
from service.readers.scores import scorecard, select, to_csv

router = APIRouter(prefix="/v1", tags=["scores"])


class ScoreList(BaseModel):
    """Scores of one evaluation."""

    evaluation: str = Field(description="Identity of the evaluation.")
    about: dict[str, Any] = Field(
        description="Model, climatology, init times and other things that the scores depend on."
    )
    records: list[dict[str, Any]] = Field(
        description="forecaster, variable, level (hPa), lead_days, region; acc is a ratio, rmse, "
        "mae and bias are in the variable's unit."
    )


@router.get(
    "/scores",
    summary="Scores by lead time",
    response_model=ScoreList,
    responses={200: {"content": {"text/csv": {}}}, **documented(404, 422, 503)},
)
def get_scores(
    found: ServicesDep,
    metric: Annotated[
        Literal["acc", "rmse", "mae", "bias"] | None, Query(description="One score, or all.")
    ] = None,
    variable: Annotated[
        str | None, Query(max_length=64, description="Name or alias: msl, z500.")
    ] = None,
    level: Annotated[int | None, Query(ge=1, le=1100, description="Pressure level, hPa.")] = None,
    region: Annotated[str | None, Query(max_length=64, description="Region's name.")] = None,
    model: Annotated[str | None, Query(max_length=128, description="Identity of a model.")] = None,
    baseline: Annotated[
        Literal["persistence", "climatology"] | None,
        Query(description="Only this baseline beside the model."),
    ] = None,
    evaluation: Annotated[
        str | None, Query(max_length=128, description="Identity; the newest by default.")
    ] = None,
    format: Annotated[Literal["json", "csv"], Query()] = "json",  # noqa: A002
) -> Any:
    """Scores of the newest evaluation, or of the one asked for."""
    scores = found.scores.get(evaluation, model)
    name = None
    if variable is not None:
        chosen, named = parse_field(variable)
        if named is not None and level is not None and named != level:
            raise InputError(f"{variable!r} names level {named}", field="level")
        name, level = chosen.name, named if named is not None else level
    records = select(scores.records, metric, variable=name, level=level, region=region)
    if baseline is not None:
        drop = {"persistence", "climatology"} - {baseline}
        records = [record for record in records if record["forecaster"] not in drop]
    if format == "csv":
        return Response(to_csv(records), media_type="text/csv; charset=utf-8")
    return ScoreList(evaluation=scores.id, about=scores.about, records=records)


class Scorecard(BaseModel):
    """The model against one baseline."""

    evaluation: str = Field(description="Identity of the evaluation.")
    metric: str
    baseline: str
    region: str
    cells: list[dict[str, Any]] = Field(
        description="variable, level (hPa), lead_days, model, baseline and gain: positive where "
        "the model is better; a difference for acc and bias, a share of the error otherwise."
    )


@router.get("/scorecard", summary="Model against baseline", responses=documented(404, 422, 503))
def get_scorecard(
    found: ServicesDep,
    metric: Annotated[Literal["acc", "rmse", "mae", "bias"], Query()] = "rmse",
    baseline: Annotated[Literal["persistence", "climatology"], Query()] = "climatology",
    region: Annotated[str, Query(max_length=64, description="Region's name.")] = "global",
    model: Annotated[str | None, Query(max_length=128, description="Identity of a model.")] = None,
    evaluation: Annotated[
        str | None, Query(max_length=128, description="Identity; the newest by default.")
    ] = None,
) -> Scorecard:
    """Every field and lead of an evaluation against one baseline."""
    scores = found.scores.get(evaluation, model)
    return Scorecard(
        evaluation=scores.id,
        metric=metric,
        baseline=baseline,
        region=region,
        cells=scorecard(scores.records, metric, baseline, region),
    )
