"""The shapes of requests and answers; every field says its unit."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from pear.times import to_iso
from pipelines.catalog import Evaluation, Job, Model, Run, Status
from service.http.html import DISCLAIMER


def _to_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _iso_only(value: Any) -> Any:
    """Numbers are no times here: seconds and milliseconds are too easily confused."""
    if not isinstance(value, str) or not re.match(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("write ISO 8601, UTC: 2001-03-01T00:00:00Z")
    return value


UtcTime = Annotated[
    datetime,
    BeforeValidator(_iso_only),
    AfterValidator(_to_utc),
    Field(description="ISO 8601, UTC.", examples=["2001-03-01T00:00:00Z"]),
]


def model_time(time: datetime) -> np.datetime64:
    """Return an aware time on the model's axis: ``datetime64[s]``, UTC."""
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "s")


def wall_clock(time: datetime | None) -> str | None:
    """Write a moment as ISO 8601 with ``Z``, or None."""
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _number_only(value: Any) -> Any:
    """Text and truth values are no numbers, though pydantic would read them as such."""
    if isinstance(value, str | bool):
        raise ValueError("write a number")
    return value


Whole = Annotated[int, BeforeValidator(_number_only)]


Number = Annotated[float, BeforeValidator(_number_only)]


Amplitude = Annotated[Number, Field(gt=0, le=10, allow_inf_nan=False)]


Name = Annotated[str, Field(min_length=1, max_length=128)]


class ForecastRequest(BaseModel):
    """What to forecast."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"init_time": "2001-03-01T00:00:00Z", "lead_hours": 240}],
        },
    )

    init_time: UtcTime = Field(description="Time of the initial state, UTC.")
    lead_hours: Whole = Field(
        default=240,
        ge=1,
        le=24 * 366,
        description="Length of the forecast, hours; a multiple of the step.",
    )
    model: Name | None = Field(default=None, description="Identity or name; the newest by default.")
    analysis: Name | None = Field(
        default=None, description="Analysis store; by default the first that holds the init time."
    )
    variables: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Variables to keep, names or aliases; all by default.",
    )
    levels: list[Whole] | None = Field(
        default=None, min_length=1, max_length=64, description="Levels to keep, hPa."
    )
    leads: list[Whole] | None = Field(
        default=None, min_length=1, max_length=400, description="Lead times to keep, hours."
    )
    members: Whole = Field(
        default=1, ge=1, le=100, description="Ensemble members; 1 is a single forecast."
    )
    source: Literal["noise", "orbit"] | None = Field(
        default=None, description="Where members come from: noise, or the grid's symmetries."
    )
    seed: Whole | None = Field(default=None, ge=0, lt=2**31, description="Of the noise.")
    amplitude: Amplitude | Annotated[dict[str, Amplitude], Field(max_length=16)] | None = Field(
        default=None,
        description="Noise, in units of each channel's change over a step: one number, or one for "
        "each variable that is to be perturbed.",
    )
    perturb_steps: bool | None = Field(
        default=None, strict=True, description="Add noise anew before every step."
    )
    quantiles: list[Whole] | None = Field(
        default=None, min_length=1, max_length=9, description="Quantiles to keep, per cent."
    )
    exceedance: list[Annotated[str, Field(max_length=64)]] | None = Field(
        default=None,
        min_length=1,
        max_length=20,
        description="Thresholds, `t2m>303.15`: how likely each is exceeded is kept as `p00` …",
    )
    keep_members: bool | None = Field(
        default=None, strict=True, description="Keep every member's forecast."
    )
    symmetrise: bool | None = Field(
        default=None, strict=True, description="Average each step over the grid's eight symmetries."
    )
    precision: Literal["float32", "bfloat16"] | None = Field(
        default=None, description="Of the network's products."
    )

    def options(self) -> dict[str, Any]:
        """What is asked for beyond model, time and length, without what is left out."""
        given = self.model_dump(exclude={"init_time", "lead_hours", "model", "analysis"})
        chosen = {name: value for name, value in given.items() if value is not None}
        if chosen["members"] == 1:
            del chosen["members"]
        return chosen


class ProgressOut(BaseModel):
    """How far a job is."""

    step: int = Field(description="Steps done.")
    total: int = Field(description="Steps in all.")
    fraction: float = Field(description="Part done, 0 to 1.")
    eta_seconds: float | None = Field(description="Seconds left at the present pace.")

    @classmethod
    def of(cls, job: Job) -> ProgressOut:
        """Build it from a job of the catalog."""
        progress = job.progress
        return cls(
            step=progress.step,
            total=progress.total,
            fraction=progress.fraction,
            eta_seconds=progress.eta_seconds,
        )


class RunOut(BaseModel):
    """One forecast run."""

    id: str = Field(description="Identity: the same request is the same run.")
    status: Status = Field(description="Where the run is in its life.")
    progress: ProgressOut
    queue_position: int | None = Field(description="Runs that go before it; null if not queued.")
    init_time: str = Field(description="Time of the initial state, UTC.")
    lead_hours: int = Field(description="Length, hours.")
    valid_until: str = Field(description="Last valid time, UTC.")
    model: str = Field(description="Identity of the model.")
    options: dict[str, Any] = Field(description="What else was asked for.")
    created_at: str = Field(description="When the run was asked for, UTC.")
    started_at: str | None = Field(description="When its last attempt began, UTC.")
    finished_at: str | None = Field(description="When it ended, UTC.")
    reason: str | None = Field(description="Why it failed or was cancelled.")
    note: str = Field(default=DISCLAIMER, description="What this forecast is not.")
    links: dict[str, str] = Field(description="Where to go from here.")

    @classmethod
    def of(cls, run: Run, position: int | None = None) -> RunOut:
        """Build it from a run of the catalog."""
        base = f"/v1/forecasts/{run.id}"
        links = {"self": base, "events": f"{base}/events", "log": f"{base}/log"}
        if run.status.is_active:
            links["cancel"] = f"{base}/cancel"
        if run.status == "succeeded":
            links |= {
                "point": f"{base}/point{{?latitude,longitude,variables,levels,format}}",
                "fields": f"{base}/fields/{{variable}}{{?lead_time,level,format,nside}}",
                "maps": f"{base}/maps/{{variable}}.png{{?lead_time,level,projection,width}}",
                "page": f"/?run={run.id}",
            }
        return cls(
            id=run.id,
            status=run.status,
            progress=ProgressOut.of(run),
            queue_position=position,
            init_time=to_iso(run.init_time),
            lead_hours=run.lead_hours,
            valid_until=to_iso(run.init_time + np.timedelta64(run.lead_hours, "h")),
            model=run.model,
            options=dict(run.options),
            created_at=str(wall_clock(run.created_at)),
            started_at=wall_clock(run.started_at),
            finished_at=wall_clock(run.finished_at),
            reason=run.reason,
            note=DISCLAIMER,
            links=links,
        )


class RunList(BaseModel):
    """One page of runs, newest first."""

    items: list[RunOut]
    next: str | None = Field(description="Cursor of the next page; null at the end.")


class EventOut(BaseModel):
    """One line of a job's log."""

    at: str = Field(description="When, UTC.")
    level: str
    message: str
    details: dict[str, Any]


class SkillOut(BaseModel):
    """How well a model did in its newest evaluation."""

    evaluation: str = Field(description="Identity of the evaluation.")
    variable: str = Field(description="The field that is told here; /v1/scores has the others.")
    level: int | None = Field(description="Pressure level, hPa.")
    region: str
    lead_days: list[float] = Field(description="Lead times, days.")
    acc: list[float | None] = Field(description="Anomaly correlation at each lead, 1.")
    rmse: list[float | None] = Field(description="Root mean square error, the variable's unit.")


class ModelOut(BaseModel):
    """One model: what it forecasts, on which grid, and where it comes from."""

    id: str = Field(description="First 12 hex digits of the checkpoint's sha256.")
    name: str
    sha256: str = Field(description="sha256 of the checkpoint.")
    nside: int = Field(description="HEALPix resolution: 12 nside² cells.")
    cells: int
    step_hours: int = Field(description="Length of one step, hours.")
    longest_lead_hours: int = Field(description="Longest lead that may be asked for, hours.")
    variables: list[dict[str, Any]] = Field(description="Name, unit and levels in hPa of each.")
    skill: SkillOut | None = Field(description="Null before its first evaluation.")
    equivariance_error: dict[str, float] | None = Field(
        description="Relative error under R (a quarter turn about the pole), M (the mirror at the "
        "equator) and RM, 1; null where it was not measured."
    )
    attributes: dict[str, Any] = Field(description="Provenance, parameters, layout.")
    created_at: str

    @classmethod
    def of(
        cls, model: Model, longest: int, variables: list[dict[str, Any]], skill: SkillOut | None
    ) -> ModelOut:
        """Build it from a model of the catalog."""
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
            attributes=attributes,
            created_at=str(wall_clock(model.created_at)),
        )


class ModelList(BaseModel):
    """Every model, newest first."""

    items: list[ModelOut]


class InitialConditionOut(BaseModel):
    """A state that a forecast can start from."""

    init_time: str = Field(description="Valid time of the analysis, UTC.")
    analysis: str = Field(description="Name of the store.")
    complete: bool = Field(description="Whether every variable of the newest model is there.")
    missing: list[str] = Field(description="Variables that are not.")


class InitialConditionList(BaseModel):
    """Initial conditions, newest first."""

    items: list[InitialConditionOut]
    next: str | None = Field(description="Cursor of the next page; null at the end.")
    newest_age_seconds: float | None = Field(description="Age of the newest, against now.")


class EvaluationOut(BaseModel):
    """One evaluation."""

    id: str
    status: Status
    progress: ProgressOut
    model: str
    request: dict[str, Any]
    created_at: str
    finished_at: str | None
    reason: str | None
    links: dict[str, str]

    @classmethod
    def of(cls, job: Evaluation) -> EvaluationOut:
        """Build it from an evaluation of the catalog."""
        return cls(
            id=job.id,
            status=job.status,
            progress=ProgressOut.of(job),
            model=job.model,
            request=dict(job.request),
            created_at=str(wall_clock(job.created_at)),
            finished_at=wall_clock(job.finished_at),
            reason=job.reason,
            links={"self": f"/v1/evaluations/{job.id}", "scores": "/v1/scores"},
        )


class Info(BaseModel):
    """What answers here."""

    name: str
    version: str
    note: str
    limits: dict[str, int]
    links: dict[str, str]


_VALUE: Final = "In the unit given; null where a value is missing."


class GridShape(BaseModel):
    """The grid of the values."""

    name: str = Field(description="HEALPix.")
    nside: int = Field(description="Resolution: 12 nside² cells of equal area.")
    order: str = Field(description="nested.")


class AboutRun(BaseModel):
    """What every answer says about its run."""

    run: str = Field(description="Identity of the run.")
    model: str = Field(description="Identity of the model.")
    init_time: str = Field(description="Time of the initial state, UTC.")
    created_at: str = Field(description="When the run was asked for, UTC.")
    grid: GridShape
    note: str = Field(description="What this forecast is not.")


class SeriesShape(BaseModel):
    """One variable at one level through all leads."""

    variable: str = Field(description="Canonical name.")
    level: int | None = Field(description="Pressure level, hPa; null at the surface.")
    units: str = Field(description="Unit of the values.")
    values: list[float | None] = Field(description=_VALUE)


class PointShape(BaseModel):
    """One point and its series."""

    latitude: float = Field(description="As asked for, degrees north.")
    longitude: float = Field(description="As asked for, degrees east.")
    cell: int = Field(description="Nested index of the cell that holds the point.")
    cell_latitude: float = Field(description="Centre of that cell, degrees north.")
    cell_longitude: float = Field(description="Centre of that cell, degrees east.")
    series: list[SeriesShape]


class PointForecast(AboutRun):
    """A forecast at points."""

    interpolation: str = Field(description="nearest or bilinear.")
    lead_hours: list[int] = Field(description="Lead times, hours.")
    valid_times: list[str] = Field(description="Valid times, UTC.")
    points: list[PointShape]


class FieldForecast(AboutRun):
    """A whole field."""

    variable: str = Field(description="Canonical name.")
    level: int | None = Field(description="Pressure level, hPa; null at the surface.")
    units: str = Field(description="Unit of the values.")
    lead_hours: int = Field(description="Lead time, hours.")
    valid_time: str = Field(description="Valid time, UTC.")
    values: list[float | None] = Field(description="One value a cell. " + _VALUE)


class MeteoForecast(BaseModel):
    """A forecast in open-meteo's shape; more entries than named here."""

    latitude: float = Field(description="Centre of the cell, degrees north.")
    longitude: float = Field(description="Centre of the cell, degrees east.")
    utc_offset_seconds: int = Field(description="Always 0: times are UTC.")
    run: str = Field(description="Identity of the run.")
    model: str = Field(description="Identity of the model.")
    init_time: str = Field(description="Time of the initial state, UTC.")
    lead_hours: list[int] = Field(description="Lead times, hours.")
    hourly_units: dict[str, str] = Field(description="Unit of each column.")
    hourly: dict[str, list[Any]] = Field(description="Columns: time, and one a variable.")


EXAMPLES: Final[dict[str, Any]] = {
    "run_id": "latest",
    "model_id": "pear-simulated",
    "evaluation_id": "evaluation-0123456789ab",
    "name": "daily",
    "variable": "2m_temperature",
    "path": "zarr.json",
    "latitude": "59.3",
    "longitude": "18.1",
    "lead_time": 24,
}


"""Values to try, by name of the parameter."""


def inline(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model without references, for use at one place."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolved(definitions[str(node["$ref"]).rpartition("/")[2]])
            return {key: resolved(value) for key, value in node.items()}
        return [resolved(item) for item in node] if isinstance(node, list) else node

    return dict(resolved(schema))
