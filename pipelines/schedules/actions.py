"""What a schedule does: bring in what is new, forecast it, verify it, clear away what is old.

Every part compares what is wanted with what there is and does the difference, so that doing it
twice is doing it once, and doing it late is doing it all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pear.errors import InputError, did_you_mean

PARTS: Final = ("ingest", "forecast", "evaluate", "expire")


@dataclass(frozen=True)
class IngestAction:
    """Ingest what a folder or source has and the store has not.

    Attributes
    ----------
    sources
        Files, folders of files, or addresses.
    store
        Name of the analysis.
    nside
        Resolution of a store that is to be made.
    """

    sources: tuple[str, ...]
    store: str
    nside: int | None = None


@dataclass(frozen=True)
class ForecastAction:
    """Forecast from the newest states, and from all that have come since the last forecast.

    Attributes
    ----------
    lead_hours
        Length of the forecasts.
    model, analysis
        Names; the newest model and the first analysis that fits by default.
    newest
        How many of the newest init times are wanted even if nothing was forecast before.
    every_hours
        Only init times at whole multiples of this from 00 UTC.
    options
        As in :class:`pipelines.forecasting.options.ForecastOptions`.
    """

    lead_hours: int = 240
    model: str | None = None
    analysis: str | None = None
    newest: int = 1
    every_hours: int = 24
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class EvaluateAction:
    """Evaluate all init times of runs whose whole length can be verified by now.

    Attributes
    ----------
    lead_hours, model, analysis, climatology
        As for ``pear evaluate``.
    """

    lead_hours: int = 240
    model: str | None = None
    analysis: str | None = None
    climatology: str | None = None


@dataclass(frozen=True)
class RetentionAction:
    """Remove runs that are old; never the newest ones, never what was read a while ago.

    Attributes
    ----------
    keep_days
        Age in days, since the run ended, up to which runs are kept.
    keep_latest
        How many of the newest runs, by init time, are kept whatever their age.
    unread_hours
        How long nobody may have read a run that is removed.
    """

    keep_days: float = 30.0
    keep_latest: int = 10
    unread_hours: float = 1.0


@dataclass(frozen=True)
class Action:
    """The parts of a schedule's action, done in this order."""

    ingest: IngestAction | None = None
    forecast: ForecastAction | None = None
    evaluate: EvaluateAction | None = None
    expire: RetentionAction | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Action:
        """Read an action as the catalog holds it.

        Raises
        ------
        InputError
            If there is no part, a part or entry is unknown, or a value makes no sense.
        """
        kinds = {
            "ingest": IngestAction,
            "forecast": ForecastAction,
            "evaluate": EvaluateAction,
            "expire": RetentionAction,
        }
        if not given:
            raise InputError(
                "the schedule does nothing", field="action", hint="parts: " + ", ".join(PARTS)
            )
        parts = {}
        for name, values in given.items():
            if name not in kinds:
                raise InputError(
                    f"unknown action {name!r}", field="action", hint=did_you_mean(name, PARTS)
                )
            parts[name] = _read(kinds[name], name, values)
        return cls(**parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the action as JSON can hold it."""
        return {
            item.name: dataclasses.asdict(part)
            for item in dataclasses.fields(self)
            if (part := getattr(self, item.name)) is not None
        }


def _read(kind: type[Any], name: str, values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise InputError(f"{name} must be an object with settings", field=name)
    known = {item.name for item in dataclasses.fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise InputError(
                f"{name} has no setting {key!r}", field=key, hint=did_you_mean(key, known)
            )
        if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
            raise InputError(f"{name}: {key} {value} is negative", field=key)
    chosen = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return kind(**chosen)
    except TypeError as error:
        raise InputError(f"{name}: {error}", field=name) from error
