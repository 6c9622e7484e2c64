"""Request and response models of the API; every field names its unit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pear.times import parse_time, to_iso
from pipelines.catalog import RESUBMITTABLE, Evaluation, Event, Job, Model, Run, Status
from pipelines.forecasting.options import ForecastOptions
from pipelines.settings import LeadHours, Name
from service.http.disclaimer import DISCLAIMER
from service.http.paths import hide_paths, hide_paths_in
from service.readers.counterfactuals import Pair
from service.readers.nature import Nature
from service.readers.remedies import remedy_of
from service.readers.store_files import StoreKind

_MAX_TIME: Final = 64
ATMOSPHERE: Final = "`simulated atmosphere, not observed`; absent or null for the observed one."


def _read_time(value: object) -> datetime:
    """Read text as the command line reads it; numbers could be seconds or milliseconds."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or len(value) > _MAX_TIME:
        raise ValueError("expected ISO 8601 in UTC, e.g. 2001-03-01T00:00:00Z")
    return datetime.fromisoformat(to_iso(parse_time(value)))


UtcTime = Annotated[
    datetime,
    BeforeValidator(_read_time),
    Field(
        description="ISO 8601, UTC.",
        examples=["2001-03-01T00:00:00Z"],
        json_schema_extra={"maxLength": _MAX_TIME},
    ),
]


def to_model_time(time: datetime) -> np.datetime64:
    """Return an aware time as the models use it: ``datetime64[s]``, UTC."""
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "s")


def format_utc(time: datetime | None) -> str | None:
    """Return an aware time as ISO 8601 with ``Z``, or None."""
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ForecastRequest(ForecastOptions):
    """Model, init time, length and options of a forecast."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"init_time": "2001-03-01T00:00:00Z", "lead_hours": 240}],
        },
    )

    init_time: UtcTime = Field(description="Init time, UTC.")
    lead_hours: LeadHours = Field(
        default=240,
        description="Forecast length, hours; a multiple of the model step.",
    )
    model: Name | None = Field(default=None, description="Model id or name (default: newest).")


class ProgressOut(BaseModel):
    """Progress of a job."""

    step: int = Field(description="Completed steps.")
    total: int = Field(description="Total steps.")
    fraction: float = Field(description="Completed fraction, 0 to 1.")
    eta_seconds: float | None = Field(description="Estimated seconds left.")

    @classmethod
    def from_job(cls, job: Job) -> ProgressOut:
        """Describe the progress of a job of the catalog."""
        progress = job.progress
        return cls(
            step=progress.step,
            total=progress.total,
            fraction=progress.fraction,
            eta_seconds=progress.eta_seconds,
        )


class SpreadSkillOut(BaseModel):
    """Spread of an ensemble over the error of its mean, as it was measured; 1 is reliable."""

    options: dict[str, Any] = Field(description="What makes the members differ.")
    analysis: str = Field(description="Analysis that it was measured on.")
    first: str = Field(description="First init time, UTC.")
    last: str = Field(description="Last init time, UTC.")
    inits: int = Field(description="Number of init times.")
    region: str = Field(description="Region.")
    members: int = Field(description="Members of the measurement.")
    lead_hours: list[int] = Field(description="Lead times, hours.")
    ratios: dict[str, list[float]] = Field(description="By channel, one for each lead time.")


class EnsembleOut(BaseModel):
    """Members of a run."""

    members: int | None = Field(description="Number of different members; null before it is known.")
    note: str = Field(description="Measured ratio of spread and error, in words.")
    spread_skill: SpreadSkillOut | None = Field(
        description="`lead_hours`, and the spread over the error of the mean at each by channel "
        "(`ratios`), with what it was measured on; 1 is reliable. Null if it was not measured."
    )


class RunOut(BaseModel):
    """One forecast run."""

    id: str = Field(description="Run id; equal requests have the same run.")
    status: Status = Field(description="Status of the run.")
    progress: ProgressOut
    queue_position: int | None = Field(
        description="Queued runs before this one; null if not queued."
    )
    init_time: str = Field(description="Init time, UTC.")
    lead_hours: int = Field(description="Forecast length, hours.")
    valid_until: str = Field(description="Last valid time, UTC.")
    model: str = Field(description="Model id.")
    options: dict[str, Any] = Field(description="Other options of the request.")
    created_at: str = Field(description="Time of the request, UTC.")
    started_at: str | None = Field(description="Start of the last attempt, UTC.")
    finished_at: str | None = Field(description="End, UTC.")
    reason: str | None = Field(description="Why it failed or was cancelled.")
    remedy: str | None = Field(default=None, description="What to do about a failed run.")
    atmosphere: str | None = Field(default=None, description=ATMOSPHERE)
    statistic: str | None = Field(
        default=None, description="What the run shows of its ensemble: `mean of 4 members`."
    )
    notes: list[str] = Field(
        default=[],
        description="What has to be known of the initial state: another climate than that of the "
        "model's training data, an hour of day without any, or that it is itself a forecast.",
    )
    ensemble: EnsembleOut | None = Field(default=None, description="Null for a single forecast.")
    kind: str = Field(default="forecast", description="forecast or counterfactual.")
    factual: str | None = Field(
        default=None, description="Of a counterfactual: the run from the unchanged initial state."
    )
    counterfactuals: list[str] = Field(
        default=[], description="Counterfactuals of this forecast, newest first; not in lists."
    )
    counterfactual: dict[str, Any] | None = Field(
        default=None,
        description="Figures of a finished counterfactual: `event`, `threshold`, values of both "
        "forecasts, `length` |z| and `probability` under the climate, `size` over that of an "
        "anomaly, `near`: share within 4000 km, `largest` channels, `chart`, `notes`. It is a "
        "model's sensitivity, not a cause.",
    )
    note: str = Field(default=DISCLAIMER, description="Disclaimer.")
    links: dict[str, str] = Field(description="Related resources.")

    @classmethod
    def from_run(
        cls,
        run: Run,
        position: int | None = None,
        notes: Sequence[str] = (),
        ensemble: EnsembleOut | None = None,
        pair: Pair | None = None,
        nature: Nature = Nature(),  # noqa: B008 - frozen
    ) -> RunOut:
        """Describe a run of the catalog."""
        base = f"/v1/forecasts/{run.id}"
        links = {"self": base, "events": f"{base}/events", "log": f"{base}/log"}
        pair = pair or Pair()
        if pair.factual is not None:
            links["factual"] = f"/v1/forecasts/{pair.factual}"
        if run.status.is_active:
            links["cancel"] = f"{base}/cancel"
        if run.status in RESUBMITTABLE:
            links["retry"] = f"{base}/retry"
        if run.status == "succeeded":
            links |= {
                "point": f"{base}/point{{?latitude,longitude,variables,levels,format}}",
                "fields": f"{base}/fields/{{variable}}{{?lead_time,level,format,nside}}",
                "maps": f"{base}/maps/{{variable}}.png{{?lead_time,level,projection,width}}",
                "tiles": f"{base}/tiles/{{variable}}/{{z}}/{{x}}/{{y}}.png"
                "{?lead_time,level,encoding}",
                "zarr": f"{base}/zarr",
                "store": f"/v1/stores/forecast/{run.id}.zarr",
                "stac": f"/v1/stac/collections/forecasts-{run.model}/items/{run.id}",
                "download": f"{base}/download"
                "{?format,grid,variables,lead_times,bbox,statistic,time_axis}",
                "page": f"/?run={run.id}",
            }
        return cls(
            id=run.id,
            status=run.status,
            progress=ProgressOut.from_job(run),
            queue_position=position,
            init_time=to_iso(run.init_time),
            lead_hours=run.lead_hours,
            valid_until=to_iso(run.init_time + np.timedelta64(run.lead_hours, "h")),
            model=run.model,
            options=dict(run.options),
            created_at=str(format_utc(run.created_at)),
            started_at=format_utc(run.started_at),
            finished_at=format_utc(run.finished_at),
            reason=run.reason and hide_paths(run.reason),
            remedy=remedy_of(run),
            atmosphere=nature.kind or None,
            statistic=nature.name_statistic(None) or None,
            notes=list(notes),
            ensemble=ensemble,
            kind="counterfactual" if "counterfactual" in run.options else "forecast",
            factual=pair.factual,
            counterfactuals=list(pair.counterfactuals),
            counterfactual=pair.figures,
            note=DISCLAIMER,
            links=links,
        )


class RunList(BaseModel):
    """One page of runs, newest first."""

    items: list[RunOut]
    next: str | None = Field(description="Cursor of the next page; null at the end.")


class EventOut(BaseModel):
    """One line of a job's log."""

    at: str = Field(description="Time, UTC.")
    level: str
    message: str
    details: dict[str, Any]

    @classmethod
    def from_event(cls, event: Event) -> EventOut:
        """Describe an event, without the traceback that the operator finds in the catalog."""
        return cls(
            at=str(format_utc(event.at)),
            level=event.level,
            message=hide_paths(event.message),
            details={
                name: hide_paths_in(value)
                for name, value in event.details.items()
                if name != "traceback"
            },
        )


class SkillOut(BaseModel):
    """Skill of a model in its newest evaluation."""

    evaluation: str = Field(description="Evaluation id.")
    variable: str = Field(description="Variable; /v1/scores has all of them.")
    level: int | None = Field(description="Pressure level, hPa.")
    region: str
    lead_days: list[float] = Field(description="Lead times, days.")
    acc: list[float | None] = Field(
        description="Anomaly correlation coefficient at each lead time."
    )
    rmse: list[float | None] = Field(
        description="Root mean square error in the unit of the variable."
    )


class ModelVariable(BaseModel):
    """A variable that a model forecasts."""

    name: str = Field(description="Canonical name.")
    short_name: str = Field(description="Short name.")
    units: str = Field(description="Unit.")
    long_name: str = Field(description="Name in words.")
    levels: list[int] | None = Field(description="Pressure levels, hPa; null at the surface.")


class ModelOut(BaseModel):
    """One model: variables, grid, skill and provenance."""

    id: str = Field(description="First 12 hex digits of the SHA-256.")
    name: str
    sha256: str = Field(description="SHA-256 of the checkpoint.")
    nside: int = Field(description="HEALPix resolution: 12 nside² cells.")
    cells: int
    step_hours: int = Field(description="Length of one step, hours.")
    longest_lead_hours: int = Field(description="Longest lead time that can be requested, hours.")
    variables: list[ModelVariable] = Field(
        description="Name, unit and levels (hPa) of each variable."
    )
    skill: SkillOut | None = Field(description="Null before the first evaluation.")
    equivariance_error: dict[str, float] | None = Field(
        description="Relative error under R (90° rotation about the poles), M (reflection at the "
        "equator) and RM; null if not measured."
    )
    attributes: dict[str, Any] = Field(description="Provenance, parameters, layout.")
    created_at: str

    @classmethod
    def from_model(
        cls, model: Model, longest: int, variables: list[ModelVariable], skill: SkillOut | None
    ) -> ModelOut:
        """Describe a model of the catalog."""
        attributes = dict(model.attributes)
        return cls(
            id=model.id,
            name=model.name,
            sha256=model.sha256,
            nside=model.nside,
            cells=12 * model.nside**2,
            step_hours=model.step_hours,
            longest_lead_hours=longest - longest % model.step_hours,
            variables=variables,
            skill=skill,
            equivariance_error=attributes.pop("equivariance", None),
            attributes=hide_paths_in(attributes),
            created_at=str(format_utc(model.created_at)),
        )


class ModelList(BaseModel):
    """Every model, newest first."""

    items: list[ModelOut]


class InitialConditionOut(BaseModel):
    """A state that a forecast can start from."""

    init_time: str = Field(description="Valid time of the analysis, UTC.")
    analysis: str = Field(description="Name of the analysis store.")
    complete: bool = Field(description="True if it has every variable of the newest model.")
    missing: list[str] = Field(description="Missing variables.")


class InitialConditionList(BaseModel):
    """Initial conditions, newest first."""

    items: list[InitialConditionOut]
    next: str | None = Field(description="Cursor of the next page; null at the end.")
    newest_age_seconds: float | None = Field(description="Age of the newest state.")


class EvaluationOut(BaseModel):
    """One evaluation."""

    id: str
    status: Status
    progress: ProgressOut
    model: str
    request: dict[str, Any]
    created_at: str
    finished_at: str | None
    reason: str | None = Field(description="Why it failed or was cancelled.")
    remedy: str | None = Field(default=None, description="What to do about a failed evaluation.")
    links: dict[str, str]

    @classmethod
    def from_job(cls, job: Evaluation) -> EvaluationOut:
        """Describe an evaluation of the catalog."""
        return cls(
            id=job.id,
            status=job.status,
            progress=ProgressOut.from_job(job),
            model=job.model,
            request=dict(job.request),
            created_at=str(format_utc(job.created_at)),
            finished_at=format_utc(job.finished_at),
            reason=job.reason and hide_paths(job.reason),
            remedy=remedy_of(job),
            links={
                "self": f"/v1/evaluations/{job.id}",
                "scores": f"/v1/scores?evaluation={job.id}",
            },
        )


class StoreOut(BaseModel):
    """One Zarr store that is served."""

    name: str = Field(description="Name; of a forecast the run id, and the statistic if any.")
    kind: StoreKind = Field(description="Kind of store.")
    statistic: str | None = Field(
        description="Of an ensemble: `mean`, `spread`, a quantile `q90`, a probability `p00` or a "
        "member `m03`; null for other stores."
    )
    url: str = Field(description="Address for `xarray.open_zarr(url)`.")
    title: str = Field(description="Title of the store.")
    nside: int = Field(description="HEALPix resolution: 12 nside² cells in nested order.")
    variables: list[str] = Field(description="Canonical names of its variables.")
    times: int | None = Field(
        description="Number of valid times of an analysis, of init times of a forecast; null for "
        "a climatology."
    )
    first_time: str | None = Field(
        description="First valid time of an analysis, init time of a forecast, begin of the years "
        "of a climatology, UTC."
    )
    last_time: str | None = Field(description="Last valid time, or end of the years, UTC.")
    lead_hours: int | None = Field(description="Length of a forecast, hours; otherwise null.")
    nbytes: int = Field(description="Size of its files, bytes.")
    updated_at: str = Field(description="When it was changed last, UTC.")
    links: dict[str, str] = Field(description="Related resources.")


class StoreList(BaseModel):
    """One page of stores: analyses, climatologies, then runs, newest first."""

    items: list[StoreOut]
    next: str | None = Field(description="Cursor of the next page; null at the end.")


class Readiness(BaseModel):
    """State of the service."""

    status: str = Field(description="ready.")
    checks: dict[str, str] = Field(description="State of catalog, data, engine and keys.")


class Info(BaseModel):
    """Name, version and limits of the service."""

    name: str
    version: str
    note: str
    limits: dict[str, int]
    links: dict[str, str]


EXAMPLES: Final[dict[str, Any]] = {
    "run_id": "latest",
    "limit": 10,
    "collection_id": "pear-simulated",
    "instance_id": "20061120T0000-240h-0123456789ab",
    "model_id": "pear-simulated",
    "kind": "analysis",
    "evaluation_id": "evaluation-0123456789ab",
    "name": "daily",
    "job_id": "schedule-0123456789ab",
    "variable": "2m_temperature",
    "path": "zarr.json",
    "latitude": "59.3",
    "longitude": "18.1",
    "lead_time": 24,
}


"""Example values of parameters, by name."""


def inline(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model with all references resolved."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(node: object) -> object:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[str(node["$ref"]).rpartition("/")[2]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    return {name: resolve(node) for name, node in schema.items()}
