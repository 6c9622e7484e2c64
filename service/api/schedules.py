"""Schedules: actions that run repeatedly."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pear.addresses import is_address
from pear.errors import InputError
from pipelines.catalog import Event, NotFoundError, Schedule, ScheduleRun, Status
from pipelines.publishing.destinations import resolve_destination
from pipelines.schedules import (
    EvaluateAction,
    FetchAction,
    ForecastAction,
    PublishAction,
    RetentionAction,
    describe_cron,
    upcoming,
    validate_action,
)
from pipelines.settings import StoreName, StrictModel
from service.api.forecasts import describe_run
from service.api.schemas import ProgressOut, RunOut, format_utc
from service.dependencies import Services, ServicesDep
from service.http.errors import ProblemError
from service.http.paths import hide_paths
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute

router = APIRouter(prefix="/v1/schedules", tags=["schedules"], route_class=GuardedRoute)
ScheduleName = Annotated[
    str, Path(max_length=128, description="Name of the schedule.", examples=["daily"])
]
JobId = Annotated[
    str, Path(max_length=64, description="Id of the job.", examples=["schedule-0123456789ab"])
]
_FIRES: Final = 5
_EXAMPLE: Final[dict[str, Any]] = {
    "name": "daily",
    "cron": "30 6 * * *",
    "action": {"forecast": {"lead_hours": 240}},
}


class ScheduleAction(StrictModel):
    """The parts of an action that may be set over HTTP, run in this order."""

    fetch: FetchAction | None = None
    forecast: ForecastAction | None = None
    evaluate: EvaluateAction | None = None
    publish: PublishAction | None = None
    expire: RetentionAction | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_sources(cls, given: object) -> object:
        if isinstance(given, dict) and "ingest" in given:
            # Only the operator may name files and addresses to read from.
            raise InputError(
                "data sources cannot be set over HTTP",
                field="ingest",
                hint="use `pear schedule add --ingest`",
            )
        return given

    @field_validator("publish")
    @classmethod
    def _refuse_addresses(cls, given: PublishAction | None) -> PublishAction | None:
        """Accept names alone, which the operator has given to addresses."""
        if given is not None:
            if is_address(given.to):
                raise ValueError("addresses cannot be set over HTTP: name a destination")
            resolve_destination(given.to)
        return given


class ScheduleIn(StrictModel):
    """A schedule to add or replace."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: StoreName = Field(
        min_length=1, max_length=128, description="Letters, digits, '-', '_', '.'."
    )
    cron: str = Field(
        min_length=1,
        max_length=100,
        description="Cron line of five fields, UTC, or a name such as `@daily`.",
    )
    action: ScheduleAction = Field(description="Parts with their settings, at least one.")


class ScheduleChange(StrictModel):
    """A change of a schedule."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"paused": True}]})

    paused: bool = Field(strict=True, description="True to pause, false to resume.")


class ScheduleOut(BaseModel):
    """One schedule, with the outcome of its last run."""

    name: str
    cron: str = Field(description="Cron line of five fields, UTC.")
    action: dict[str, Any]
    paused: bool
    words: str | None = Field(
        default=None, description="The cron line in words, English; null if it is not valid."
    )
    next_run_at: str | None = Field(description="When it is due next, UTC; null while paused.")
    next_runs: list[str] = Field(
        default=[], description="The next five times, UTC; empty while paused."
    )
    last_run_at: str | None = Field(description="When it was last due, UTC.")
    last_status: str | None
    last_reason: str | None
    created_at: str

    @classmethod
    def from_schedule(cls, schedule: Schedule) -> ScheduleOut:
        """Describe a schedule of the catalog."""
        words, times = None, []
        with suppress(InputError):  # a line of an earlier version
            words = describe_cron(schedule.cron)
            times = [] if schedule.paused else upcoming(schedule.cron, datetime.now(UTC), _FIRES)
        return cls(
            name=schedule.name,
            cron=schedule.cron,
            action=dict(schedule.action),
            paused=schedule.paused,
            words=words,
            next_run_at=format_utc(times[0]) if times else None,
            next_runs=[str(format_utc(time)) for time in times],
            last_run_at=format_utc(schedule.last_run_at),
            last_status=schedule.last_status,
            last_reason=schedule.last_reason and hide_paths(schedule.last_reason),
            created_at=str(format_utc(schedule.created_at)),
        )


class ScheduleList(BaseModel):
    """All schedules, by name."""

    items: list[ScheduleOut]


class ScheduleResultOut(BaseModel):
    """What one run of a schedule has done."""

    summary: str
    ingested: int = Field(description="Number of times added to the analysis store.")
    runs: list[str] = Field(description="Ids of the forecasts that were queued.")
    evaluations: list[str] = Field(description="Ids of the evaluations that were queued.")
    published: list[str] = Field(description="Stores of which something was sent.")
    expired: list[str]
    follow_up: str | None = Field(
        default=None,
        description="Id of the job that publishes the queued jobs when they have ended.",
    )


class ScheduleJobOut(BaseModel):
    """One run of a schedule's action by a worker."""

    id: str
    schedule: str
    status: Status
    progress: ProgressOut
    waits_for: list[str] = Field(description="Ids of the jobs whose end it waits for.")
    reason: str | None = Field(description="Why it failed or was cancelled.")
    result: ScheduleResultOut | None = Field(description="What was done; null before its end.")
    created_at: str
    started_at: str | None
    finished_at: str | None
    links: dict[str, str]

    @classmethod
    def from_job(cls, job: ScheduleRun) -> ScheduleJobOut:
        """Describe a job of the catalog."""
        path = f"/v1/schedules/{job.schedule}/jobs/{job.id}"
        return cls(
            id=job.id,
            schedule=job.schedule,
            status=job.status,
            progress=ProgressOut.from_job(job),
            waits_for=list(job.after),
            reason=job.reason and hide_paths(job.reason),
            result=ScheduleResultOut.model_validate(job.result) if job.result else None,
            created_at=str(format_utc(job.created_at)),
            started_at=format_utc(job.started_at),
            finished_at=format_utc(job.finished_at),
            links={"self": path, "cancel": f"{path}/cancel"},
        )


class ScheduleEndOut(BaseModel):
    """How one run of a schedule ended."""

    at: str = Field(description="When it ended, UTC.")
    status: str = Field(description="succeeded, failed or cancelled.")
    summary: str | None = Field(description="What was done, or why it failed.")

    @classmethod
    def from_event(cls, event: Event) -> ScheduleEndOut:
        """Describe a line of the history."""
        reason = event.details.get("reason")
        return cls(
            at=str(format_utc(event.at)),
            status=str(event.details["status"]),
            summary=reason and hide_paths(str(reason)),
        )


@router.get("", summary="All schedules", responses=problem_responses(503))
def list_schedules(services: ServicesDep) -> ScheduleList:
    """Return all schedules by name, with their last and next run."""
    schedules = services.catalog.schedules.all()
    return ScheduleList(items=[ScheduleOut.from_schedule(each) for each in schedules])


@router.post(
    "",
    summary="Add a schedule",
    status_code=201,
    responses=problem_responses(400, 404, 413, 422, 503, 507),
)
def add_schedule(body: ScheduleIn, services: ServicesDep, response: Response) -> ScheduleOut:
    """Add a schedule, or replace the one of this name."""
    for part in ("forecast", "evaluate"):
        wanted = getattr(body.action, part)
        if wanted is not None:
            services.check_lead_hours(wanted.lead_hours, f"action.{part}.lead_hours")
    action = body.action.model_dump(mode="json", exclude_none=True)
    schedule = services.engine.add_schedule(body.name, body.cron, action)
    response.headers["Location"] = f"/v1/schedules/{schedule.name}"
    return ScheduleOut.from_schedule(schedule)


@router.get("/{name}", summary="One schedule", responses=problem_responses(404, 422, 503))
def get_schedule(name: ScheduleName, services: ServicesDep) -> ScheduleOut:
    """Return one schedule, with its last and next run."""
    return ScheduleOut.from_schedule(services.catalog.schedules.get(name))


@router.patch(
    "/{name}",
    summary="Pause or resume a schedule",
    responses=problem_responses(400, 404, 413, 422, 503, 507),
)
def change_schedule(name: ScheduleName, body: ScheduleChange, services: ServicesDep) -> ScheduleOut:
    """Pause a schedule, or resume it."""
    schedule = services.catalog.schedules.set_paused(name, paused=body.paused)
    return ScheduleOut.from_schedule(schedule)


@router.delete(
    "/{name}",
    summary="Remove a schedule",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "Removed; its runs are kept."},
        **problem_responses(404, 422, 503, 507),
    },
)
def remove_schedule(name: ScheduleName, services: ServicesDep) -> Response:
    """Remove a schedule; its runs are kept."""
    services.catalog.schedules.remove(name)
    return Response(status_code=204)


@router.post(
    "/{name}/run",
    summary="Run a schedule now",
    status_code=202,
    responses={
        202: {
            "description": "Accepted: follow `Location`.",
            "headers": {
                "Location": {"description": "The job.", "schema": {"type": "string"}},
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
            },
        },
        **problem_responses(404, 409, 422, 429, 503, 507),
    },
)
def run_schedule(name: ScheduleName, services: ServicesDep, response: Response) -> ScheduleJobOut:
    """Have a worker run the action now, due or not; a job that has not ended is returned."""
    if not services.accepting:
        raise ProblemError(503, "PEAR is stopping", headers={"Retry-After": "10"})
    job = ScheduleJobOut.from_job(services.engine.run_schedule(name))
    response.headers["Location"] = job.links["self"]
    response.headers["Retry-After"] = "2"
    return job


@router.get(
    "/{name}/jobs", summary="Jobs of a schedule", responses=problem_responses(404, 422, 503)
)
def list_schedule_jobs(
    name: ScheduleName,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=500, description="Largest number of jobs.")] = 50,
) -> list[ScheduleJobOut]:
    """Return the newest runs of the action that were asked for, and what waits for their jobs."""
    services.catalog.schedules.get(name)
    jobs = services.catalog.schedule_runs.of(name, limit)
    return [ScheduleJobOut.from_job(job) for job in jobs]


@router.get(
    "/{name}/jobs/{job_id}",
    summary="One job of a schedule",
    responses=problem_responses(404, 422, 503),
)
def get_schedule_job(
    name: ScheduleName, job_id: JobId, services: ServicesDep, response: Response
) -> ScheduleJobOut:
    """Return status, progress and result of one run of the action."""
    response.headers["Cache-Control"] = "no-cache"
    return ScheduleJobOut.from_job(_find_job(services, name, job_id))


@router.post(
    "/{name}/jobs/{job_id}/cancel",
    summary="Cancel a job of a schedule",
    responses=problem_responses(404, 409, 422, 503, 507),
)
def cancel_schedule_job(name: ScheduleName, job_id: JobId, services: ServicesDep) -> ScheduleJobOut:
    """Cancel a queued job at once, a running one at its next step; what it has done stays."""
    services.engine.cancel(_find_job(services, name, job_id).id)
    return ScheduleJobOut.from_job(services.catalog.schedule_runs.get(job_id))


def _find_job(services: Services, name: str, job_id: str) -> ScheduleRun:
    job = services.catalog.schedule_runs.get(job_id)
    if job.schedule != name:
        raise NotFoundError(f"schedule {name!r} has no job {job_id!r}", field="job_id")
    return job


@router.get(
    "/{name}/runs", summary="Runs of a schedule", responses=problem_responses(404, 409, 422, 503)
)
def list_schedule_runs(
    name: ScheduleName,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=500, description="Largest number of runs.")] = 50,
) -> list[RunOut]:
    """Return the newest runs with the model and length of the schedule's forecasts."""
    try:
        wanted = validate_action(services.catalog.schedules.get(name).action).forecast
    except NotFoundError:
        raise
    except InputError as error:  # stored by an earlier version
        raise ProblemError(
            409,
            f"the stored settings of schedule {name} are not valid: {error}",
            field=error.field,
            hint="add the schedule again with valid ones",
        ) from error
    if wanted is None:
        return []
    model = None if wanted.model is None else services.catalog.models.get(wanted.model).id
    runs = services.catalog.runs.page(model=model, limit=500).items
    same = [run for run in runs if run.lead_hours == wanted.lead_hours]
    return [describe_run(services, run) for run in same[:limit]]


@router.get(
    "/{name}/history", summary="History of a schedule", responses=problem_responses(404, 422, 503)
)
def list_schedule_history(
    name: ScheduleName,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=500, description="Largest number of runs.")] = 50,
) -> list[ScheduleEndOut]:
    """Return how its runs ended, newest first: those that were due and those asked for."""
    services.catalog.schedules.get(name)
    return [
        ScheduleEndOut.from_event(each) for each in services.catalog.schedules.history(name, limit)
    ]
