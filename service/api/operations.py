"""What an operator looks after: access, sources, workers, storage, keys and health."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from pipelines.schedules import describe_cron, parse_cron, upcoming
from pipelines.settings import StrictModel
from service.api.schemas import format_utc
from service.api.system import run_checks
from service.dependencies import Services, ServicesDep
from service.http.errors import ProblemError
from service.http.keys import KeyFile, NoKeyError
from service.http.paths import hide_paths
from service.http.permissions import ROLES, ROUTE_POLICIES, Scope, permits
from service.http.problems import problem_responses
from service.http.request_state import RequestState
from service.http.routing import GuardedRoute
from service.http.security import AccessControl
from service.readers.health import Check, check_health
from service.readers.sources import SourceState, describe_sources

router = APIRouter(prefix="/v1", tags=["operations"], route_class=GuardedRoute)
_FIRES: Final = 5


class AccessOut(BaseModel):
    """What the sender of this request may do."""

    key: str | None = Field(description="Name of the API key; null where none is needed.")
    scope: str = Field(description="read, submit or admin; each includes those before it.")
    role: str = Field(description="reader, forecaster or operator.")
    operations: list[str] = Field(description="Method and path of every permitted operation.")


class CronOut(BaseModel):
    """A cron line in words and times."""

    cron: str = Field(description="The line, five fields, UTC.")
    words: str = Field(description="The line in words, English.")
    next_runs: list[str] = Field(description="The next five times at which it is due, UTC.")


class SourceOut(BaseModel):
    """Freshness of one analysis."""

    analysis: str = Field(description="Name of the analysis.")
    simulated: bool = Field(description="True if it is not of the observed atmosphere.")
    times: int = Field(description="Number of valid times.")
    newest: str | None = Field(description="Newest valid time, UTC.")
    age_seconds: float | None = Field(
        description="Age of the newest valid time; null if simulated or without times."
    )
    updated_at: str | None = Field(description="When the store was written last, UTC.")
    feeds: list[str] = Field(description="Schedules that fetch or ingest it.")
    state: SourceState = Field(
        description="`fresh`; `late`: its schedule was due twice since it was written; `failing`: "
        "the last run of its schedule failed; `paused`; `by hand`: no schedule feeds it."
    )
    reason: str | None = Field(description="Why it is failing or late.")


class SourceList(BaseModel):
    """Every analysis, by name, with what feeds it."""

    items: list[SourceOut]


class WorkJob(BaseModel):
    """A job that is running or queued."""

    id: str
    kind: str = Field(description="run, evaluation or schedule.")
    status: str
    attempts: int = Field(description="Times that a worker has claimed it.")
    fraction: float = Field(description="Completed fraction, 0 to 1.")
    started_at: str | None = Field(description="Start of the last attempt, UTC.")


class WorkersOut(BaseModel):
    """Worker processes and their jobs."""

    alive: bool = Field(description="True if a worker takes jobs.")
    workers: int = Field(description="Worker processes that are connected.")
    wanted: int = Field(description="Worker processes that this service starts.")
    device: str = Field(description="Device of the model, `auto` unless it was set.")
    queue_limit: int = Field(description="Largest number of queued jobs.")
    schedules: bool = Field(description="True if this process runs schedules.")
    jobs: list[WorkJob] = Field(description="Running jobs, then queued ones in their order.")


class KindOut(BaseModel):
    """Disk space of one kind of entry."""

    kind: str = Field(description="analyses, climatology, models, forecasts, …")
    entries: int = Field(description="Number of entries.")
    nbytes: int = Field(description="Size of their files, bytes.")


class RetentionOut(BaseModel):
    """A schedule that removes old runs."""

    schedule: str
    cron: str
    paused: bool
    keep_days: float
    keep_latest: int
    grace_hours: float


class StorageOut(BaseModel):
    """Disk space of the data folder."""

    total_bytes: int = Field(description="Size of the disk.")
    free_bytes: int = Field(description="Free space of the disk.")
    kinds: list[KindOut] = Field(description="By kind; counted at most once a minute.")
    retention: list[RetentionOut] = Field(description="Empty: runs are kept until removed by hand.")


class CheckOut(BaseModel):
    """One check of the service."""

    name: str
    state: str = Field(description="ok, warning or error.")
    reason: str = Field(description="What was found.")
    remedy: str | None = Field(description="What to do; null if nothing is to be done.")

    @classmethod
    def from_check(cls, check: Check) -> CheckOut:
        """Describe a check, without paths of the data folder."""
        remedy = check.remedy and hide_paths(check.remedy)
        return cls(
            name=check.name, state=check.state, reason=hide_paths(check.reason), remedy=remedy
        )


class HealthOut(BaseModel):
    """Every check of the service; unlike `/readyz` it has what does not stop it from answering."""

    state: str = Field(description="The worst state of the checks: ok, warning or error.")
    checks: list[CheckOut]


class KeyIn(StrictModel):
    """An API key to create."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "dashboard", "scope": "read"}]}
    )

    name: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="Name of the key's owner: letters, digits, '-', '_', '.'."
    )
    scope: Scope = Field(description="read (reader), submit (forecaster) or admin (operator).")


class KeyOut(BaseModel):
    """An API key, without its secret."""

    name: str
    scope: str
    role: str
    created_at: str
    own: bool = Field(description="True for the key of this request.")


class KeyList(BaseModel):
    """Every API key, in the order of creation."""

    required: bool = Field(description="False if this service answers without a key.")
    items: list[KeyOut]


class NewKey(BaseModel):
    """A new API key; the secret is not shown again."""

    name: str
    scope: str
    key: str = Field(description="Send it as X-API-Key.")


@router.get("/access", summary="What this client may do")
def get_access(request: Request, response: Response) -> AccessOut:
    """Return key, scope and role of the sender, and the operations that these permit."""
    state = RequestState.from_scope(request.scope)
    scope: Scope = state.scope or "read"
    response.headers["Cache-Control"] = "no-store"
    return AccessOut(
        key=state.key,
        scope=scope,
        role=ROLES[scope],
        operations=[
            f"{method} {path}" for method, path in ROUTE_POLICIES if permits(scope, method, path)
        ],
    )


@router.get("/cron", summary="A cron line in words and times", responses=problem_responses(422))
def explain_cron(
    line: Annotated[
        str,
        Query(
            min_length=1,
            max_length=100,
            description="Cron line of five fields, UTC, or a name such as `@daily`.",
            examples=["30 6 * * *"],
        ),
    ],
) -> CronOut:
    """Say when a cron line is due: in words, and the next five times."""
    times = upcoming(line, datetime.now(UTC), _FIRES)
    return CronOut(
        cron=parse_cron(line),
        words=describe_cron(line),
        next_runs=[str(format_utc(time)) for time in times],
    )


@router.get("/sources", summary="Freshness of the analyses", responses=problem_responses(503))
def list_sources(services: ServicesDep) -> SourceList:
    """Return every analysis with its newest time, its age, and the schedules that feed it."""
    now = datetime.now(UTC)
    found = describe_sources(services.folder, services.catalog, now)
    return SourceList(
        items=[
            SourceOut(
                analysis=each.name,
                simulated=each.simulated,
                times=each.times,
                newest=format_utc(each.newest),
                age_seconds=each.age_seconds(now),
                updated_at=format_utc(each.updated_at),
                feeds=list(each.feeds),
                state=each.state,
                reason=each.reason and hide_paths(each.reason),
            )
            for each in found
        ]
    )


@router.get("/workers", summary="Workers and their jobs", responses=problem_responses(503))
def get_workers(services: ServicesDep) -> WorkersOut:
    """Return the worker processes, and the jobs that they run or that wait for them."""
    status: dict[str, Any] = dict(services.engine.status())
    settings, jobs = services.settings, services.catalog.active_jobs()
    # Running jobs first; the sort keeps the order of the queue.
    return WorkersOut(
        alive=bool(status.get("alive")),
        workers=int(status.get("workers", 0)),
        wanted=settings.workers,
        device=settings.device or "auto",
        queue_limit=settings.queue_limit,
        schedules=settings.schedules,
        jobs=[
            WorkJob(
                id=job.id,
                kind={"Run": "run", "Evaluation": "evaluation"}.get(type(job).__name__, "schedule"),
                status=str(job.status),
                attempts=job.attempts,
                fraction=job.progress.fraction,
                started_at=format_utc(job.started_at),
            )
            for job in sorted(jobs, key=lambda job: job.status != "running")
        ],
    )


@router.get("/storage", summary="Disk space by kind", responses=problem_responses(503))
def get_storage(services: ServicesDep) -> StorageOut:
    """Return free space, the size of each kind of entry, and the schedules that remove runs."""
    disk = shutil.disk_usage(services.folder.root)
    retention = []
    for schedule in services.catalog.schedules.all():
        part = schedule.action.get("expire")
        if isinstance(part, dict):
            retention.append(
                RetentionOut(
                    schedule=schedule.name,
                    cron=schedule.cron,
                    paused=schedule.paused,
                    keep_days=part.get("keep_days", 30.0),
                    keep_latest=part.get("keep_latest", 10),
                    grace_hours=part.get("grace_hours", 1.0),
                )
            )
    return StorageOut(
        total_bytes=disk.total,
        free_bytes=disk.free,
        kinds=[
            KindOut(kind=each.kind, entries=each.entries, nbytes=each.nbytes)
            for each in services.storage.all()
        ],
        retention=retention,
    )


@router.get("/health", summary="Health with reasons", responses=problem_responses(503))
async def get_health(request: Request, services: ServicesDep) -> HealthOut:
    """Return what is checked, what was found, and what to do about it."""
    access: AccessControl = request.app.state.access
    checks = await to_thread.run_sync(find_checks, services, access)
    worst = max((check.state for check in checks), key=("ok", "warning", "error").index)
    return HealthOut(state=worst, checks=[CheckOut.from_check(check) for check in checks])


def find_checks(services: Services, access: AccessControl) -> list[Check]:
    """Return the checks of the service: those of readiness, then those of its operation."""
    ready = dict(run_checks(services))
    if access.keys_required:
        ready["keys"] = access.keys.check()[1]
    return check_health(services.folder, services.catalog, ready, services.settings.queue_limit)


@router.get("/keys", summary="API keys", responses=problem_responses(422, 503))
def list_keys(request: Request, response: Response) -> KeyList:
    """Return name, scope and time of creation of every key; secrets are not kept."""
    access: AccessControl = request.app.state.access
    own = RequestState.from_scope(request.scope).key
    response.headers["Cache-Control"] = "no-store"
    return KeyList(
        required=access.keys_required,
        items=[
            KeyOut(
                name=key.name,
                scope=key.scope,
                role=ROLES[key.scope],
                created_at=key.created_at,
                own=key.name == own,
            )
            for key in access.keys.all()
        ],
    )


@router.post(
    "/keys",
    summary="Create an API key",
    status_code=201,
    responses=problem_responses(400, 409, 413, 422, 503),
)
def add_key(request: Request, response: Response, services: ServicesDep, body: KeyIn) -> NewKey:
    """Create a key and return its secret, once; 409 where this service needs no keys."""
    # Whoever reached such a service would keep an access that outlasts it.
    keys = _keys(request, services)
    secret = keys.add(body.name, body.scope, str(format_utc(datetime.now(UTC))))
    response.headers["Cache-Control"] = "no-store"
    return NewKey(name=body.name, scope=body.scope, key=secret)


@router.delete(
    "/keys/{name}",
    summary="Revoke an API key",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "Removed; it stops working at once, and so do its signed links."},
        **problem_responses(404, 409, 422, 503),
    },
)
def remove_key(
    request: Request,
    services: ServicesDep,
    name: Annotated[
        str, Path(max_length=128, description="Name of the key.", examples=["dashboard"])
    ],
) -> Response:
    """Remove a key; 409 for the one that sends this request."""
    keys = _keys(request, services)
    if name == RequestState.from_scope(request.scope).key:
        raise ProblemError(
            409,
            f"{name!r} is the key of this request",
            field="name",
            hint="revoke it with another key, or by `pear keys remove`",
        )
    try:
        keys.remove(name)
    except NoKeyError as error:
        raise ProblemError(404, error.message, field="name", hint=error.hint) from error
    return Response(status_code=204)


def _keys(request: Request, services: Services) -> KeyFile:
    """Return the keys of a service that needs them, for a change."""
    access: AccessControl = request.app.state.access
    if not access.keys_required:
        raise ProblemError(
            409,
            "this service answers without keys, and so anyone could make one here",
            hint="use `pear keys`",
        )
    services.folder.require_writable()
    return access.keys
