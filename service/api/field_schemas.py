"""Response models of values: fields, points and open-meteo's format; every one names its unit."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field

from service.api.schemas import ATMOSPHERE

_STATISTIC: Final = (
    "Statistic of an ensemble that the values are: `standard deviation of 4 members`; absent for "
    "a single forecast."
)
_LONG_NAME: Final = "What the values are, in words, with the statistic."
_VALUES: Final = "Values in `units`; null where missing."


class GridOut(BaseModel):
    """Grid of the values."""

    name: str = Field(description="HEALPix.")
    nside: int = Field(description="Resolution: 12 nside² cells of equal area.")
    order: str = Field(description="nested.")


class AboutRun(BaseModel):
    """Entries about the run that every response has."""

    run: str = Field(description="Run id.")
    model: str = Field(description="Model id.")
    init_time: str = Field(description="Init time, UTC.")
    created_at: str = Field(description="Time of the request, UTC.")
    grid: GridOut
    atmosphere: str | None = Field(default=None, description=ATMOSPHERE)
    statistic: str | None = Field(default=None, description=_STATISTIC)
    note: str = Field(description="Disclaimer.")


class SeriesOut(BaseModel):
    """Time series of one variable at one level."""

    variable: str = Field(description="Canonical name.")
    long_name: str = Field(description=_LONG_NAME)
    level: int | None = Field(description="Pressure level, hPa; null at the surface.")
    units: str = Field(description="Unit of the values.")
    values: list[float | None] = Field(description=_VALUES)


class PointOut(BaseModel):
    """One point and its time series."""

    latitude: float = Field(description="Requested latitude, degrees north.")
    longitude: float = Field(description="Requested longitude, degrees east.")
    cell: int = Field(description="Nested index of the cell that contains the point.")
    cell_latitude: float = Field(description="Centre of that cell, degrees north.")
    cell_longitude: float = Field(description="Centre of that cell, degrees east.")
    series: list[SeriesOut]


class PointForecast(AboutRun):
    """A forecast at points."""

    interpolation: str = Field(description="nearest or bilinear.")
    lead_hours: list[int] = Field(description="Lead times, hours.")
    valid_times: list[str] = Field(description="Valid times, UTC.")
    points: list[PointOut]


class FieldForecast(AboutRun):
    """One field on the HEALPix grid."""

    variable: str = Field(description="Canonical name.")
    long_name: str = Field(description=_LONG_NAME)
    level: int | None = Field(description="Pressure level, hPa; null at the surface.")
    units: str = Field(description="Unit of the values.")
    lead_hours: int = Field(description="Lead time, hours.")
    valid_time: str = Field(description="Valid time, UTC.")
    values: list[float | None] = Field(description="One value per cell. " + _VALUES)


class OpenMeteoForecast(BaseModel):
    """A forecast in open-meteo's format; it has further entries."""

    latitude: float = Field(description="Centre of the cell, degrees north.")
    longitude: float = Field(description="Centre of the cell, degrees east.")
    utc_offset_seconds: int = Field(description="Seconds from UTC to the times of the answer.")
    timezone: str = Field(description="Time zone of the times.")
    timezone_abbreviation: str = Field(description="Its abbreviation.")
    run: str = Field(description="Run id; with several models, that of the first.")
    model: str = Field(description="Model id.")
    init_time: str = Field(description="Init time, UTC.")
    atmosphere: str | None = Field(default=None, description=ATMOSPHERE)
    statistics: dict[str, str] = Field(
        default={},
        description="Statistic of an ensemble that each column is of, such as `mean of 4 members`; "
        "absent for a single forecast.",
    )
    lead_hours: list[int] = Field(description="Lead times, hours.")
    accumulation_hours: dict[str, int] = Field(
        default={}, description="Hours before its time that each column of sums covers."
    )
    time_interpolation: dict[str, Any] | None = Field(
        default=None,
        description="Where and how values between the model's steps are interpolated; absent if "
        "none are: `note`, `model_lead_hours`, `is_interpolated` by time, `method` by column.",
    )
    models: list[dict[str, Any]] = Field(
        default=[], description="Run, init time and lead times of each of several models."
    )
    current_units: dict[str, str] = Field(default={}, description="Unit of each value.")
    current: dict[str, Any] = Field(default={}, description="Values of the present hour.")
    hourly_units: dict[str, str] = Field(default={}, description="Unit of each column.")
    hourly: dict[str, list[Any]] = Field(
        default={}, description="Columns: time, and one per variable."
    )
    daily_units: dict[str, str] = Field(default={}, description="Unit of each column.")
    daily: dict[str, list[Any]] = Field(
        default={}, description="Columns: date, and one per variable and statistic of the day."
    )
