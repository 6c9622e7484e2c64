"""Actions of a schedule: fetch, ingest, forecast, evaluate, publish, and remove old runs.

Each part compares what is wanted with what exists and does the difference, so repeating it has no
effect, and doing it late makes up for everything that was missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from pear.addresses import without_secrets
from pear.errors import InputError
from pear.variables import BY_NAME, variable
from pipelines.catalog import Catalog
from pipelines.forecasting.options import ForecastOptions
from pipelines.forecasting.request import check_request
from pipelines.settings import (
    MAX_LEAD_HOURS,
    LeadHours,
    Name,
    Number,
    StoreName,
    StrictModel,
    Whole,
    validate,
)

_RENAMED: Final = {"unread_hours": "grace_hours"}
"""Former names of settings, which stored schedules may still hold."""
_MAX_NEWEST: Final = 1000
_MAX_SOURCES: Final = 1000
_MAX_FETCHED: Final = 40  # cycles of ten days
_MAX_VARIABLES: Final = 100
_MAX_DAYS: Final = 36_525.0


def _as_options(given: object) -> object:
    """Read options by their former names too; anything but a mapping is left to pydantic."""
    return ForecastOptions.rename(given) if isinstance(given, Mapping) else given


def _power_of_two(nside: int) -> int:
    if nside & (nside - 1):
        raise ValueError("not a power of two")
    return nside


def _without_credentials(text: str) -> str:
    """Refuse what would be kept in the catalog and shown by the API."""
    if without_secrets(text) != text:
        raise ValueError(
            "holds credentials: set them in the environment or in ~/.config/fsspec/conf.json"
        )
    return text


def _stored_variable(name: str) -> str:
    """Return the canonical name of a variable that stores can hold."""
    row = variable(name)
    if row.name not in BY_NAME:
        raise InputError(
            f"{row.name} is derived from others, not fetched",
            field="also",
            hint="name variables of the table, such as d2m",
        )
    return row.name


Options = Annotated[
    ForecastOptions,
    BeforeValidator(_as_options),
    PlainSerializer(ForecastOptions.to_dict, return_type=dict),
]
ModelName = Annotated[
    Name | None, Field(default=None, description="Id or name (default: newest model).")
]
AnalysisName = Annotated[
    StoreName | None, Field(default=None, description="Analysis (default: first that fits).")
]


class IngestAction(StrictModel):
    """Ingest what the sources hold and the store lacks."""

    sources: Annotated[
        tuple[
            Annotated[
                str, Field(min_length=1, max_length=4096), AfterValidator(_without_credentials)
            ],
            ...,
        ],
        Field(min_length=1, max_length=_MAX_SOURCES),
    ] = Field(description="Files, folders of files, or addresses.")
    store: StoreName = Field(description="Name of the analysis.")
    nside: Annotated[Whole, AfterValidator(_power_of_two)] | None = Field(
        default=None, ge=1, le=8192, description="Resolution of a new store."
    )


class FetchAction(StrictModel):
    """Fetch the newest published analyses that the store lacks."""

    source: Literal["ifs", "aifs", "gfs", "era5", "arco", "wb2"] = Field(
        description="Server: ECMWF's or NOAA's, or an archive of ERA5."
    )
    store: StoreName | None = Field(
        default=None, description="Name of the analysis (default: that of the source)."
    )
    newest: Whole = Field(
        default=1, ge=1, le=_MAX_FETCHED, description="Number of newest cycles wanted."
    )
    every_hours: Literal[6, 12, 24] = Field(
        default=24, description="Only cycles at multiples of this from 00 UTC."
    )
    nside: Annotated[Whole, AfterValidator(_power_of_two)] | None = Field(
        default=None, ge=1, le=8192, description="Resolution of a new store."
    )
    also: tuple[
        Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_stored_variable)], ...
    ] = Field(
        default=(),
        max_length=_MAX_VARIABLES,
        description="Variables to fetch beside the nine of PEAR, such as d2m.",
    )

    @property
    def store_name(self) -> str:
        """Name of the analysis."""
        return self.store or self.source


class ForecastAction(StrictModel):
    """Forecast from the newest states, and from all that came after the last forecast."""

    lead_hours: LeadHours = Field(default=240, description="Forecast length, hours.")
    model: ModelName
    analysis: AnalysisName
    newest: Whole = Field(
        default=1,
        ge=1,
        le=_MAX_NEWEST,
        description="Newest init times wanted even without an earlier forecast.",
    )
    every_hours: Whole = Field(
        default=24,
        ge=1,
        le=MAX_LEAD_HOURS,
        description="Only init times at multiples of this from 00 UTC; above 24, from "
        "1970-01-01T00:00:00Z.",
    )
    options: Options | None = Field(default=None, description="Options of the forecasts.")


class EvaluateAction(StrictModel):
    """Evaluate all init times of runs that can be verified over their whole length."""

    lead_hours: LeadHours = Field(default=240, description="Longest lead time, hours.")
    model: ModelName
    analysis: AnalysisName
    climatology: StoreName | None = Field(
        default=None, description="Climatology (default: its own)."
    )
    options: Options | None = Field(default=None, description="Options of the forecasts.")


class PublishAction(StrictModel):
    """Publish the newest finished runs and what else is named; what is there is not sent again."""

    to: Annotated[
        str, Field(min_length=1, max_length=1024), AfterValidator(_without_credentials)
    ] = Field(description="Address such as s3://bucket/prefix, or a name of PEAR_DESTINATIONS.")
    newest: Whole = Field(
        default=1, ge=0, le=_MAX_NEWEST, description="Number of newest runs, by init time."
    )
    evaluations: Whole = Field(
        default=0, ge=0, le=_MAX_NEWEST, description="Number of newest evaluations."
    )
    analyses: tuple[StoreName, ...] = Field(
        default=(), max_length=_MAX_SOURCES, description="Names of analyses."
    )


class RetentionAction(StrictModel):
    """Remove old runs, but neither the newest ones nor those read recently."""

    keep_days: Number = Field(
        default=30.0, ge=0, le=_MAX_DAYS, description="Days since its end a run is kept."
    )
    keep_latest: Whole = Field(
        default=10,
        ge=0,
        le=1_000_000,
        description="Newest runs by init time, kept whatever their age.",
    )
    grace_hours: Number = Field(
        default=1.0,
        ge=0.25,
        le=24 * _MAX_DAYS,
        description="Hours since it was last read that a run is kept; the service records reads "
        "every ten minutes.",
    )

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        return {_RENAMED.get(name, name): value for name, value in given.items()}


class Action(StrictModel):
    """The parts of a schedule's action, run in this order."""

    fetch: FetchAction | None = None
    ingest: IngestAction | None = None
    forecast: ForecastAction | None = None
    evaluate: EvaluateAction | None = None
    publish: PublishAction | None = None
    expire: RetentionAction | None = None

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if not self.model_dump(exclude_none=True):
            parts = ", ".join(type(self).model_fields)
            raise InputError("the action has no parts", field="action", hint=f"parts: {parts}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the action as JSON can hold it."""
        return self.model_dump(mode="json", exclude_none=True)


def validate_action(given: Mapping[str, Any]) -> Action:
    """Read an action as the catalog, the command line and HTTP hold it.

    Parameters
    ----------
    given
        Settings by part.

    Returns
    -------
    Action
        With the defaults filled in; InputError names the part or setting that is unknown or
        invalid.
    """
    return validate(Action, given)


def check_action(catalog: Catalog, action: Action) -> None:
    """Check that the models of an action exist and can do what it asks for.

    Analyses and climatologies may come later, and so may the first model.

    Parameters
    ----------
    catalog
        The catalog.
    action
        The action.

    Raises
    ------
    InputError
        Naming the setting that does not fit.
    """
    for name in ("forecast", "evaluate"):
        part: ForecastAction | EvaluateAction | None = getattr(action, name)
        if part is None or (part.model is None and not catalog.models.all()):
            continue
        try:
            check_request(catalog, part.model, part.lead_hours, part.options or ForecastOptions())
        except InputError as error:
            within = "" if error.field in type(part).model_fields else "options."
            field = f"{name}.{within}{error.field}"
            raise InputError(error.message, field=field, hint=error.hint) from error
