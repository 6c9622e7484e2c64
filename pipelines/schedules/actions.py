"""Actions of a schedule: ingest new data, forecast, evaluate, and remove old runs.

Each part compares what is wanted with what exists and does the difference, so repeating it has no
effect, and doing it late makes up for everything that was missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from pear.errors import InputError, did_you_mean
from pipelines.forecasting.options import ForecastOptions, validate

_RENAMED: Final = {"unread_hours": "grace_hours"}
"""Former names of settings, which stored schedules may still hold."""


def _as_options(given: Mapping[str, Any] | ForecastOptions) -> ForecastOptions:
    return given if isinstance(given, ForecastOptions) else ForecastOptions.from_dict(given)


Options = Annotated[
    ForecastOptions,
    BeforeValidator(_as_options),
    PlainSerializer(ForecastOptions.to_dict, return_type=dict),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IngestAction(_Part):
    """Ingest what the sources hold and the store lacks."""

    sources: tuple[str, ...] = Field(description="Files, folders of files, or addresses.")
    store: str = Field(description="Name of the analysis.")
    nside: int | None = Field(default=None, ge=1, description="Resolution of a new store.")


class ForecastAction(_Part):
    """Forecast from the newest states, and from all that came after the last forecast."""

    lead_hours: int = Field(default=240, ge=1, description="Forecast length, hours.")
    model: str | None = Field(default=None, description="Id or name (default: newest model).")
    analysis: str | None = Field(default=None, description="Analysis (default: first that fits).")
    newest: int = Field(
        default=1, ge=1, description="Newest init times wanted even without an earlier forecast."
    )
    every_hours: int = Field(
        default=24, ge=1, description="Only init times at multiples of this from 00 UTC."
    )
    options: Options | None = Field(default=None, description="Options of the forecasts.")


class EvaluateAction(_Part):
    """Evaluate all init times of runs that can be verified over their whole length."""

    lead_hours: int = Field(default=240, ge=1, description="Longest lead time, hours.")
    model: str | None = Field(default=None, description="Id or name (default: newest model).")
    analysis: str | None = Field(default=None, description="Analysis (default: first that fits).")
    climatology: str | None = Field(default=None, description="Climatology (default: its own).")
    options: Options | None = Field(default=None, description="Options of the forecasts.")


class RetentionAction(_Part):
    """Remove old runs, but neither the newest ones nor those read recently."""

    keep_days: float = Field(default=30.0, ge=0, description="Days since its end a run is kept.")
    keep_latest: int = Field(
        default=10, ge=0, description="Newest runs by init time, kept whatever their age."
    )
    grace_hours: float = Field(
        default=1.0,
        ge=0.25,
        description="Hours since it was last read that a run is kept; the service records reads "
        "every ten minutes.",
    )


_PARTS: Final[dict[str, type[_Part]]] = {
    "ingest": IngestAction,
    "forecast": ForecastAction,
    "evaluate": EvaluateAction,
    "expire": RetentionAction,
}


class Action(_Part):
    """The parts of a schedule's action, run in this order."""

    ingest: IngestAction | None = None
    forecast: ForecastAction | None = None
    evaluate: EvaluateAction | None = None
    expire: RetentionAction | None = None

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
        With the defaults filled in.

    Raises
    ------
    InputError
        If there is no part, a part or setting is unknown, or a value is invalid.
    """
    if not given:
        raise InputError(
            "the action has no parts", field="action", hint="parts: " + ", ".join(_PARTS)
        )
    parts = {}
    for name, values in given.items():
        if name not in _PARTS:
            raise InputError(
                f"unknown action {name!r}", field="action", hint=did_you_mean(name, _PARTS)
            )
        if not isinstance(values, Mapping):
            raise InputError(f"{name} must be an object with settings", field=name)
        present = {_RENAMED.get(key, str(key)): value for key, value in values.items()}
        parts[name] = validate(_PARTS[name], present, what=f"{name} setting")
    return Action.model_validate(parts)
