"""Evaluations: ask for one, list them, watch one, stop one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from pear.errors import InputError
from pear.times import to_iso
from pear.variables import parse_field
from pipelines.catalog import Status
from service.api.schemas import EvaluationOut, Name, UtcTime, Whole, model_time
from service.dependencies import ServicesDep
from service.http.problems import ProblemError, documented
from service.readers.scores import scorecard, select, to_csv

router = APIRouter(prefix="/v1")


class EvaluationRequest(BaseModel):
    """What to evaluate."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"lead_hours": 240}]})

    model: Name | None = Field(default=None, description="Identity or name; the newest by default.")
    analysis: Name | None = Field(
        default=None, description="Analysis to start from and to verify against."
    )
    climatology: Name | None = Field(default=None, description="Name of a climatology.")
    init_times: list[UtcTime] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Init times, UTC; every one that can be verified by default.",
    )
    lead_hours: Whole = Field(default=240, ge=1, le=24 * 366, description="Longest lead, hours.")


class EvaluationList(BaseModel):
    """One page of evaluations, newest first."""

    items: list[EvaluationOut]
    next: str | None = Field(description="Cursor of the next page; null at the end.")


@router.post(
    "/evaluations",
    tags=["evaluations"],
    summary="Ask for an evaluation",
    status_code=202,
    responses={
        200: {"model": EvaluationOut, "description": "The evaluation exists."},
        202: {"model": EvaluationOut, "description": "Accepted."},
        **documented(400, 404, 413, 422, 429, 503),
    },
)
def submit_evaluation(body: EvaluationRequest, services: ServicesDep) -> Response:
    """Queue an evaluation, or return the one that is there; the same request is the same one."""
    if not services.accepting:
        raise ProblemError(503, "PEAR is stopping", headers={"Retry-After": "10"})
    request: dict[str, Any] = {"lead_hours": body.lead_hours}
    if body.analysis:
        request["analysis"] = body.analysis
    if body.climatology:
        request["climatology"] = body.climatology
    if body.init_times:
        request["init_times"] = sorted({to_iso(model_time(time)) for time in body.init_times})
    total = len(request.get("init_times", [])) or 1
    job, _ = services.engine.request_evaluation(body.model, request, total=total)
    headers = {"Location": f"/v1/evaluations/{job.id}"}
    if job.status.is_active:
        headers["Retry-After"] = "10"
    return JSONResponse(
        EvaluationOut.of(job).model_dump(), 202 if job.status.is_active else 200, headers=headers
    )


@router.get(
    "/evaluations",
    tags=["evaluations"],
    summary="Evaluations, newest first",
    responses=documented(422, 503),
)
def list_evaluations(
    services: ServicesDep,
    status: Annotated[Status | None, Query(description="Only those in this state.")] = None,
    model: Annotated[str | None, Query(max_length=128)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
) -> EvaluationList:
    """One page of evaluations."""
    page = services.catalog.evaluations.page(status=status, model=model, limit=limit, cursor=cursor)
    return EvaluationList(items=[EvaluationOut.of(job) for job in page.items], next=page.next)


@router.get(
    "/evaluations/{evaluation_id}",
    tags=["evaluations"],
    summary="One evaluation",
    responses=documented(404, 422, 503),
)
def get_evaluation(evaluation_id: str, services: ServicesDep) -> EvaluationOut:
    """Status, progress and request of an evaluation; its scores are at /v1/scores."""
    return EvaluationOut.of(services.catalog.evaluations.get(evaluation_id))


@router.post(
    "/evaluations/{evaluation_id}/cancel",
    tags=["evaluations"],
    summary="Stop an evaluation",
    responses=documented(404, 409, 422, 503),
)
def cancel_evaluation(evaluation_id: str, services: ServicesDep) -> EvaluationOut:
    """Stop a queued evaluation at once, a running one soon; 409 if it has ended."""
    services.engine.cancel(services.catalog.evaluations.get(evaluation_id).id)
    return EvaluationOut.of(services.catalog.evaluations.get(evaluation_id))


@router.get(
    "/evaluations/{evaluation_id}/plots/{name}.png",
    tags=["evaluations"],
    summary="A plot of an evaluation",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        **documented(404, 422, 503),
    },
)
def get_plot(
    evaluation_id: Annotated[str, Path(max_length=128)],
    name: Annotated[str, Path(max_length=64, examples=["spectra"])],
    services: ServicesDep,
) -> Response:
    """Read a plot that the evaluation drew: spectra, error_maps, acc, rmse, scorecard."""
    plots = services.scores.plots(evaluation_id)
    if name not in plots:
        raise ProblemError(
            404,
            f"evaluation {evaluation_id} has no such plot",
            field="name",
            hint="it has " + ", ".join(plots) if plots else "it has none",
        )
    return Response(plots[name].read_bytes(), media_type="image/png")


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
    tags=["scores"],
    summary="Scores by lead time",
    response_model=ScoreList,
    responses={200: {"content": {"text/csv": {}}}, **documented(404, 422, 503)},
)
def get_scores(
    services: ServicesDep,
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
    scores = services.scores.get(evaluation, model)
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


@router.get(
    "/scorecard",
    tags=["scores"],
    summary="Model against baseline",
    responses=documented(404, 422, 503),
)
def get_scorecard(
    services: ServicesDep,
    metric: Annotated[Literal["acc", "rmse", "mae", "bias"], Query()] = "rmse",
    baseline: Annotated[Literal["persistence", "climatology"], Query()] = "climatology",
    region: Annotated[str, Query(max_length=64, description="Region's name.")] = "global",
    model: Annotated[str | None, Query(max_length=128, description="Identity of a model.")] = None,
    evaluation: Annotated[
        str | None, Query(max_length=128, description="Identity; the newest by default.")
    ] = None,
) -> Scorecard:
    """Every field and lead of an evaluation against one baseline."""
    scores = services.scores.get(evaluation, model)
    return Scorecard(
        evaluation=scores.id,
        metric=metric,
        baseline=baseline,
        region=region,
        cells=scorecard(scores.records, metric, baseline, region),
    )
