"""The shapes of answers that are written directly, for the description of the API."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field

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
