"""Schedules: what is wanted again and again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from pear.errors import InputError
from pipelines.catalog import Schedule
from pipelines.engine.engine import following
from service.api.forecasts import run_out
from service.api.schemas import RunOut, wall_clock
from service.dependencies import ServicesDep
from service.http.problems import documented

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])
ScheduleName = Annotated[
    str, Path(max_length=128, description="Name of the schedule.", examples=["daily"])
]
_EXAMPLE: dict[str, Any] = {
    "name": "daily",
    "cron": "30 6 * * *",
    "action": {"forecast": {"lead_hours": 240}},
}


class ScheduleIn(BaseModel):
    """A schedule to enter, or to change."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    name: str = Field(min_length=1, max_length=128, description="Letters, digits, '-', '_', '.'.")
    cron: str = Field(min_length=9, max_length=100, description="Five fields, UTC.")
    action: dict[str, Any] = Field(
        min_length=1,
        max_length=4,
        description="Parts `forecast`, `evaluate`, `expire` with their settings.",
    )


class ScheduleChange(BaseModel):
    """What may be changed of a schedule."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"paused": True}]})

    paused: bool = Field(strict=True, description="Whether it stays silent.")


class ScheduleOut(BaseModel):
    """One schedule, with what its last fire came to."""

    name: str
    cron: str = Field(description="Five fields, UTC.")
    action: dict[str, Any]
    paused: bool
    next_fire: str | None = Field(description="When it is due next, UTC; null while paused.")
    last_fire: str | None = Field(description="When it was last due, UTC.")
    last_status: str | None
    last_reason: str | None
    created_at: str

    @classmethod
    def of(cls, schedule: Schedule) -> ScheduleOut:
        """Build it from a schedule of the catalog."""
        due = None if schedule.paused else following(schedule.cron, datetime.now(UTC))
        return cls(
            name=schedule.name,
            cron=schedule.cron,
            action=dict(schedule.action),
            paused=schedule.paused,
            next_fire=wall_clock(due),
            last_fire=wall_clock(schedule.last_run_at),
            last_status=schedule.last_status,
            last_reason=schedule.last_reason,
            created_at=str(wall_clock(schedule.created_at)),
        )


class ScheduleList(BaseModel):
    """Every schedule, by name."""

    items: list[ScheduleOut]


class FireOut(BaseModel):
    """What firing a schedule came to."""

    summary: str
    ingested: int = Field(description="Times that are new in the store.")
    runs: list[str]
    evaluations: list[str]
    expired: list[str]


@router.get("", summary="Every schedule", responses=documented(503))
def list_schedules(services: ServicesDep) -> ScheduleList:
    """Schedules by name, with their last and next fire."""
    return ScheduleList(items=[ScheduleOut.of(each) for each in services.catalog.schedules.all()])


@router.post(
    "", summary="Enter a schedule", status_code=201, responses=documented(400, 404, 413, 422, 503)
)
def add_schedule(body: ScheduleIn, services: ServicesDep, response: Response) -> ScheduleOut:
    """Enter a schedule, or change the one of this name."""
    if "ingest" in body.action:
        # Files and addresses to read from are the operator's to name, never a request's.
        raise InputError(
            "sources of data are not set over HTTP",
            field="action",
            hint="use `pear schedule add --ingest`",
        )
    schedule = services.engine.add_schedule(body.name, body.cron, body.action)
    response.headers["Location"] = f"/v1/schedules/{schedule.name}"
    return ScheduleOut.of(schedule)


@router.get("/{name}", summary="One schedule", responses=documented(404, 422, 503))
def get_schedule(name: ScheduleName, services: ServicesDep) -> ScheduleOut:
    """One schedule, with its last and next fire."""
    return ScheduleOut.of(services.catalog.schedules.get(name))


@router.patch(
    "/{name}", summary="Pause or resume a schedule", responses=documented(400, 404, 413, 422, 503)
)
def change_schedule(name: ScheduleName, body: ScheduleChange, services: ServicesDep) -> ScheduleOut:
    """Stop a schedule from firing, or let it fire again."""
    return ScheduleOut.of(services.catalog.schedules.set_paused(name, paused=body.paused))


@router.delete(
    "/{name}",
    summary="Forget a schedule",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "Forgotten; what it has made stays."},
        **documented(404, 422, 503),
    },
)
def remove_schedule(name: ScheduleName, services: ServicesDep) -> Response:
    """Forget a schedule; its runs stay."""
    services.catalog.schedules.remove(name)
    return Response(status_code=204)


@router.post(
    "/{name}/run", summary="Fire a schedule now", responses=documented(404, 409, 422, 429, 503)
)
def run_schedule(name: ScheduleName, services: ServicesDep) -> FireOut:
    """Do what the schedule wants now, due or not; what is there already is not done again."""
    services.catalog.schedules.get(name)
    done = services.engine.run_schedule(name)
    return FireOut(
        summary=done.summary,
        ingested=done.ingested,
        runs=done.runs,
        evaluations=done.evaluations,
        expired=done.expired,
    )


@router.get("/{name}/runs", summary="Runs like a schedule's", responses=documented(404, 422, 503))
def list_schedule_runs(
    name: ScheduleName,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=500, description="Runs at most.")] = 50,
) -> list[RunOut]:
    """List the newest runs that this schedule's forecasts are among: same model and length."""
    wanted = services.catalog.schedules.get(name).action.get("forecast")
    if not wanted:
        return []
    model = services.catalog.models.get(wanted["model"]).id if wanted.get("model") else None
    runs = services.catalog.runs.page(model=model, limit=500).items
    same = [run for run in runs if run.lead_hours == wanted.get("lead_hours")]
    return [run_out(services, run) for run in same[:limit]]
