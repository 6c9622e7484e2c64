"""Evaluations: ask for one, list them, watch one, stop one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from pear.times import to_iso
from pipelines.catalog import Status
from service.api.schemas import EvaluationOut, Name, UtcTime, Whole, model_time
from service.dependencies import ServicesDep
from service.http.problems import ProblemError, documented

router = APIRouter(prefix="/v1/evaluations", tags=["evaluations"])


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
    "",
    summary="Ask for an evaluation",
    status_code=202,
    responses={
        200: {"model": EvaluationOut, "description": "The evaluation exists."},
        202: {"model": EvaluationOut, "description": "Accepted."},
        **documented(400, 404, 413, 422, 429, 503),
    },
)
def submit_evaluation(body: EvaluationRequest, found: ServicesDep) -> Response:
    """Queue an evaluation, or return the one that is there; the same request is the same one."""
    if not found.accepting:
        raise ProblemError(503, "PEAR is stopping", headers={"Retry-After": "10"})
    request: dict[str, Any] = {"lead_hours": body.lead_hours}
    if body.analysis:
        request["analysis"] = body.analysis
    if body.climatology:
        request["climatology"] = body.climatology
    if body.init_times:
        request["init_times"] = sorted({to_iso(model_time(time)) for time in body.init_times})
    total = len(request.get("init_times", [])) or 1
    job, _ = found.engine.request_evaluation(body.model, request, total=total)
    headers = {"Location": f"/v1/evaluations/{job.id}"}
    if job.active:
        headers["Retry-After"] = "10"
    return JSONResponse(
        EvaluationOut.of(job).model_dump(), 202 if job.active else 200, headers=headers
    )


@router.get("", summary="Evaluations, newest first", responses=documented(422, 503))
def list_evaluations(
    found: ServicesDep,
    status: Annotated[Status | None, Query(description="Only those in this state.")] = None,
    model: Annotated[str | None, Query(max_length=128)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
) -> EvaluationList:
    """One page of evaluations."""
    page = found.catalog.evaluations(status=status, model=model, limit=limit, cursor=cursor)
    return EvaluationList(items=[EvaluationOut.of(job) for job in page.items], next=page.next)


@router.get("/{evaluation_id}", summary="One evaluation", responses=documented(404, 422, 503))
def get_evaluation(evaluation_id: str, found: ServicesDep) -> EvaluationOut:
    """Status, progress and request of an evaluation; its scores are at /v1/scores."""
    return EvaluationOut.of(found.catalog.evaluation(evaluation_id))


@router.post(
    "/{evaluation_id}/cancel",
    summary="Stop an evaluation",
    responses=documented(404, 409, 422, 503),
)
def cancel_evaluation(evaluation_id: str, found: ServicesDep) -> EvaluationOut:
    """Stop a queued evaluation at once, a running one soon; 409 if it has ended."""
    found.engine.cancel(found.catalog.evaluation(evaluation_id).id)
    return EvaluationOut.of(found.catalog.evaluation(evaluation_id))


@router.get(
    "/{evaluation_id}/plots/{name}.png",
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
    found: ServicesDep,
) -> Response:
    """Read a plot that the evaluation drew: spectra, error_maps, acc, rmse, scorecard."""
    plots = found.scores.plots(evaluation_id)
    if name not in plots:
        raise ProblemError(
            404,
            f"evaluation {evaluation_id} has no such plot",
            field="name",
            hint="it has " + ", ".join(plots) if plots else "it has none",
        )
    return Response(plots[name].read_bytes(), media_type="image/png")
