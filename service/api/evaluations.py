"""Evaluations and their scores: submit, list, follow and cancel evaluations; read scores."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, cast

import xarray as xr
from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from typing_extensions import TypedDict

from pear.derived import parse_quantity
from pear.errors import InputError
from pear.metrics.dataset import scores_to_frame, to_records
from pear.times import to_iso
from pipelines.catalog import NotFoundError, Status
from pipelines.forecasting.options import ForecastOptions
from pipelines.settings import LeadHours, Name, StoreName, StrictModel
from service.api.schemas import EvaluationOut, UtcTime, to_model_time
from service.dependencies import Services, ServicesDep, find_listed_model
from service.http.errors import ProblemError
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute
from service.readers import score_parts
from service.readers.scores import Scores, scorecard, select

router = APIRouter(prefix="/v1", route_class=GuardedRoute)
Metric = Literal["acc", "rmse", "mae", "bias"]
Baseline = Literal["persistence", "climatology"]
EvaluationId = Annotated[
    str | None, Query(max_length=128, description="Evaluation id (default: newest).")
]
ModelId = Annotated[str | None, Query(max_length=128, description="Model id.")]


class EvaluationRequest(StrictModel):
    """Request of an evaluation."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"lead_hours": 240}]})

    model: Name | None = Field(default=None, description="Model id or name (default: newest).")
    analysis: StoreName | None = Field(
        default=None, description="Analysis store with initial states and verification."
    )
    climatology: StoreName | None = Field(default=None, description="Name of a climatology.")
    init_times: Annotated[list[UtcTime], Field(min_length=1, max_length=1000)] | None = Field(
        default=None,
        description="Init times, UTC (default: all that can be verified).",
    )
    lead_hours: LeadHours = Field(default=240, description="Longest lead time, hours.")
    correction: StrictBool = Field(
        default=True,
        description="Apply the correction stored with the model after each step; false scores the "
        "network alone.",
    )
    allow_other_climate: StrictBool = Field(
        default=False,
        description="Evaluate on an analysis of another climate than that of the model's training "
        "data; the scores say so.",
    )


class EvaluationList(BaseModel):
    """One page of evaluations, newest first."""

    items: list[EvaluationOut]
    next: str | None = Field(description="Cursor of the next page; null at the end.")


class ScoredField(BaseModel):
    """A field that was evaluated."""

    variable: str = Field(description="Canonical name.")
    level: int | None = Field(description="Pressure level, hPa; null at the surface.")


class ScoreRecord(TypedDict, total=False):
    """Scores of one forecaster, field, lead time and region; it has further ones."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    forecaster: Annotated[str, Field(description="pear, persistence, climatology …")]
    variable: Annotated[str, Field(description="Canonical name.")]
    level: Annotated[int | None, Field(description="Pressure level, hPa.")]
    lead_days: Annotated[float, Field(description="Lead time, days.")]
    region: Annotated[str, Field(description="Name of the region.")]
    init_hour: Annotated[int, Field(description="With `by_hour`: hour of the init times, UTC.")]
    valid_hour: Annotated[int, Field(description="With `by_hour`: hour of the valid times, UTC.")]
    acc: Annotated[float | None, Field(description="Anomaly correlation coefficient.")]
    rmse: Annotated[float | None, Field(description="In the unit of the variable.")]
    mae: Annotated[float | None, Field(description="In the unit of the variable.")]
    bias: Annotated[float | None, Field(description="In the unit of the variable.")]


class ScoreCell(BaseModel):
    """The model beside a baseline or another model, for one field and lead time."""

    variable: str = Field(description="Canonical name.")
    level: int | None = Field(description="Pressure level, hPa; null at the surface.")
    lead_days: float = Field(description="Lead time, days.")
    model: float | None = Field(description="Score of the model.")
    baseline: float | None = Field(description="Score of the baseline, or of the other model.")
    gain: float | None = Field(description="Positive where the model is better.")
    low: float | None = Field(
        description="Lower bound of the gain: 95 %, by a block bootstrap over the init times in "
        "which both are drawn alike; null for fewer than 8 init times."
    )
    high: float | None = Field(description="Upper bound of the gain.")
    significant: bool | None = Field(
        description="Whether the interval of the gain lies on one side of zero."
    )


class ScoreList(BaseModel):
    """Scores of one evaluation."""

    evaluation: str = Field(description="Evaluation id.")
    about: dict[str, Any] = Field(
        description="Model, climatology, init times and other settings of the evaluation."
    )
    fields: list[ScoredField] = Field(
        description="Every field of the evaluation, whatever was selected."
    )
    regions: list[str] = Field(description="Every region of the evaluation.")
    records: list[ScoreRecord] = Field(
        description="forecaster, variable, level (hPa), lead_days, region; acc is a ratio; rmse, "
        "mae and bias are in the unit of the variable."
    )


class Scorecard(BaseModel):
    """Comparison of the model with one baseline, or with the model of another evaluation."""

    evaluation: str = Field(description="Evaluation id.")
    metric: str
    baseline: str | None = Field(description="Null where two evaluations are compared.")
    against: str | None = Field(description="Id of the other evaluation.")
    init_times: int = Field(description="Number of init times; of two evaluations, in common.")
    region: str
    cells: list[ScoreCell] = Field(
        description="variable, level (hPa), lead_days, model, baseline and gain. The gain is "
        "positive where the model is better: a difference for acc and bias, the fraction of the "
        "baseline's error removed for rmse and mae."
    )


@router.post(
    "/evaluations",
    tags=["evaluations"],
    summary="Submit an evaluation",
    status_code=202,
    responses={
        200: {"model": EvaluationOut, "description": "The evaluation has ended."},
        202: {"model": EvaluationOut, "description": "Accepted."},
        **problem_responses(400, 404, 413, 422, 429, 503, 507),
    },
)
def submit_evaluation(body: EvaluationRequest, services: ServicesDep) -> Response:
    """Queue an evaluation, or return that of an equal earlier request."""
    if not services.accepting:
        raise ProblemError(503, "PEAR is stopping", headers={"Retry-After": "10"})
    services.check_lead_hours(body.lead_hours)
    names = {"analysis": body.analysis, "climatology": body.climatology}
    request: dict[str, Any] = {name: value for name, value in names.items() if value}
    request["lead_hours"] = body.lead_hours
    if body.init_times:
        request["init_times"] = sorted({to_iso(to_model_time(time)) for time in body.init_times})
    asked = {"allow_other_climate": body.allow_other_climate, "correction": body.correction}
    if options := ForecastOptions.from_dict(asked).to_dict():
        request["options"] = options
    total = len(request.get("init_times", [])) or 1
    job, _ = services.engine.submit_evaluation(body.model, request, total=total)
    headers, status = {"Location": f"/v1/evaluations/{job.id}"}, 200
    if job.status.is_active:
        headers["Retry-After"], status = "10", 202
    return JSONResponse(EvaluationOut.from_job(job).model_dump(), status, headers=headers)


@router.get(
    "/evaluations",
    tags=["evaluations"],
    summary="List evaluations",
    responses=problem_responses(422, 503),
)
def list_evaluations(
    services: ServicesDep,
    status: Annotated[
        Status | None, Query(description="Only those with this status.", examples=["succeeded"])
    ] = None,
    model: ModelId = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Evaluations per page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=256, description="`next` of the previous page.")
    ] = None,
) -> EvaluationList:
    """Return one page of evaluations, newest first."""
    jobs = services.catalog.evaluations
    known = find_listed_model(services, model, jobs)
    page = jobs.page(status=status, model=known, limit=limit, cursor=cursor)
    items = [EvaluationOut.from_job(job) for job in page.items]
    return EvaluationList(items=items, next=page.next)


@router.get(
    "/evaluations/{evaluation_id}",
    tags=["evaluations"],
    summary="One evaluation",
    responses=problem_responses(404, 422, 503),
)
def get_evaluation(evaluation_id: str, services: ServicesDep) -> EvaluationOut:
    """Return status, progress and request of an evaluation; /v1/scores has its scores."""
    return EvaluationOut.from_job(services.catalog.evaluations.get(evaluation_id))


@router.post(
    "/evaluations/{evaluation_id}/cancel",
    tags=["evaluations"],
    summary="Cancel an evaluation",
    responses=problem_responses(404, 409, 422, 503, 507),
)
def cancel_evaluation(evaluation_id: str, services: ServicesDep) -> EvaluationOut:
    """Cancel a queued evaluation at once, a running one soon; 409 if it has ended."""
    services.engine.cancel(services.catalog.evaluations.get(evaluation_id).id)
    return get_evaluation(evaluation_id, services)


@router.get(
    "/evaluations/{evaluation_id}/plots/{name}.png",
    tags=["evaluations"],
    summary="A plot of an evaluation",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        **problem_responses(404, 422, 503),
    },
)
def get_plot(
    evaluation_id: Annotated[str, Path(max_length=128)],
    name: Annotated[str, Path(max_length=64, examples=["spectra"])],
    services: ServicesDep,
) -> Response:
    """Return a plot that the evaluation made: spectra, error_maps, acc, rmse, scorecard."""
    plots = services.scores.plots(evaluation_id)
    if name not in plots:
        raise ProblemError(
            404,
            f"evaluation {evaluation_id!r} does not have a plot {name!r}",
            field="name",
            hint="plots: " + (", ".join(plots) or "none"),
        )
    return Response(plots[name].read_bytes(), media_type="image/png")


@router.get(
    "/scores",
    tags=["scores"],
    summary="Scores by lead time",
    response_model=ScoreList,
    responses={
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
        **problem_responses(404, 422, 503),
    },
)
async def get_scores(
    services: ServicesDep,
    metric: Annotated[Metric | None, Query(description="One score (default: all).")] = None,
    variable: Annotated[
        str | None, Query(max_length=64, description="Name or alias: msl, z500.")
    ] = None,
    level: Annotated[int | None, Query(ge=1, le=1100, description="Pressure level, hPa.")] = None,
    region: Annotated[str | None, Query(max_length=64, description="Name of a region.")] = None,
    model: ModelId = None,
    baseline: Annotated[
        Baseline | None, Query(description="Only this baseline beside the model.")
    ] = None,
    evaluation: EvaluationId = None,
    *,
    by_hour: Annotated[
        bool,
        Query(
            description="Scores of the forecasts from each hour of the day by themselves, of one "
            "variable."
        ),
    ] = False,
    format: Annotated[Literal["json", "csv"], Query()] = "json",  # noqa: A002
) -> Response:
    """Return the scores of one evaluation, the model's beside those of the baselines."""
    name = None
    if variable is not None:
        name, level = split_field(variable, level)
    elif by_hour:
        raise InputError(
            "scores by hour are of one variable", field="by_hour", hint="set variable as well"
        )

    def make() -> Response:
        scores = find_scores(services, evaluation, model)
        wanted: dict[str, Any] = {"variable": name, "level": level, "region": region}
        wanted |= {"metric": metric, "baseline": baseline}
        if by_hour:
            frame = services.scores.by_hour(scores, **wanted)
        else:
            frame = scores_to_frame(select(scores.data, **wanted))
        if format == "csv":
            table = frame.to_csv(index=False)
            return Response(table, media_type="text/csv; charset=utf-8")
        records = to_records(frame)
        answer = ScoreList(
            evaluation=scores.id,
            about=scores.about,
            fields=[ScoredField(variable=name, level=at) for name, at in scores.fields],
            regions=scores.regions,
            records=cast("list[ScoreRecord]", records),
        )
        return Response(answer.model_dump_json(), media_type="application/json")

    return await services.heavy.run(make)


def split_field(variable: str, level: int | None) -> tuple[str, int | None]:
    """Return name and level of a field, where the name may include the level: z500.

    Parameters
    ----------
    variable
        Name or alias.
    level
        Level in hPa, or None.

    Returns
    -------
    name : str
    level : int or None

    Raises
    ------
    InputError
        If the name includes another level.
    """
    row, named = parse_quantity(variable)
    if named is not None and level not in (None, named):
        raise InputError(f"{variable!r} names level {named}, not {level}", field="level")
    return row.name, named if named is not None else level


def find_scores(services: Services, evaluation: str | None, model: str | None) -> Scores:
    """Return an evaluation by id, or the newest, of a model given by id or name.

    Parameters
    ----------
    services
        Of this request.
    evaluation, model
        Ids; a model that was removed leaves its scores.

    Returns
    -------
    Scores
        None is an answer 404, a damaged one 503.
    """
    with suppress(NotFoundError):
        model = None if model is None else services.catalog.models.get(model).id
    return services.scores.get(evaluation, model)


@router.get(
    "/scorecard",
    tags=["scores"],
    summary="Model against baseline or another model",
    responses=problem_responses(404, 422, 503),
)
async def get_scorecard(
    services: ServicesDep,
    metric: Annotated[Metric, Query(description="Score.", examples=["rmse"])] = "rmse",
    baseline: Annotated[Baseline, Query(description="Not used with `against`.")] = "climatology",
    region: Annotated[str, Query(max_length=64, description="Name of a region.")] = "global",
    variable: Annotated[
        str | None, Query(max_length=64, description="Name or alias (default: all).")
    ] = None,
    level: Annotated[int | None, Query(ge=1, le=1100, description="Pressure level, hPa.")] = None,
    model: ModelId = None,
    evaluation: EvaluationId = None,
    against: Annotated[
        str | None,
        Query(
            max_length=128,
            description="Id of another evaluation: its model in place of the baseline, at the "
            "init times that both have.",
        ),
    ] = None,
) -> Scorecard:
    """Compare each variable and lead time of an evaluation with a baseline or another model."""
    name, level = (None, level) if variable is None else split_field(variable, level)

    def choose(data: xr.Dataset) -> xr.Dataset:
        return select(data[["sums"]], variable=name, level=level, region=region)

    def make() -> Scorecard:
        board = services.scores
        scores = find_scores(services, evaluation, model)
        if against is None:
            chosen = select(scores.data, variable=name, level=level)
            cells = scorecard(chosen, metric, baseline, region)
            bounds, sums = None, scores.data
            if board.keeps_sums(scores):
                sums = board.read(scores, choose)
                bounds = score_parts.compare_with_baseline(scores, sums, metric, baseline)
            cells = score_parts.with_intervals(cells, sums, bounds)
            count = int(scores.data["init_times"])
        else:
            other = board.get(against)
            score_parts.check_comparable(scores, other, metric)
            for each in (scores, other):
                if not board.keeps_sums(each):
                    raise InputError(
                        f"evaluation {each.id} was made by an earlier version, which did not keep "
                        "sums by init time",
                        field="against",
                        hint="evaluate again",
                    )
            pair = board.read(scores, choose), board.read(other, choose)
            cells, count = score_parts.compare_tables(scores, pair[0], other, pair[1], metric)
        return Scorecard(
            evaluation=scores.id,
            metric=metric,
            baseline=baseline if against is None else None,
            against=against,
            init_times=count,
            region=region,
            cells=[ScoreCell(**cell, significant=_is_significant(cell)) for cell in cells],
        )

    return await services.heavy.run(make)


def _is_significant(cell: Mapping[str, Any]) -> bool | None:
    """Return whether the interval of a gain lies on one side of zero; None without an interval."""
    if cell["low"] is None or cell["high"] is None:
        return None
    return bool(cell["low"] > 0 or cell["high"] < 0)
