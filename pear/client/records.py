"""What a service lists, as objects with times of numpy: runs, models, analyses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from pear.errors import InputError
from pear.times import HOUR, parse_time
from pear.typing import Bool, StrPath, Times

_ACTIVE = ("queued", "running")


def _time(text: object) -> np.datetime64:
    return parse_time(str(text))


def _moment(text: object) -> datetime | None:
    return None if text is None else datetime.fromisoformat(str(text))


@dataclass(frozen=True)
class Progress:
    """Progress of a run or evaluation.

    Attributes
    ----------
    step, total
        Completed steps, and all of them.
    fraction
        Completed part, 0 to 1.
    eta_seconds
        Estimated seconds left; None if unknown.
    """

    step: int
    total: int
    fraction: float
    eta_seconds: float | None

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read the progress of a response."""
        eta = found["eta_seconds"]
        return cls(
            int(found["step"]),
            int(found["total"]),
            float(found["fraction"]),
            None if eta is None else float(eta),
        )


@dataclass(frozen=True)
class Job:
    """What a service computes: a run or an evaluation.

    Attributes
    ----------
    id
        Id; equal requests have the same.
    status
        ``queued``, ``running``, ``succeeded``, ``failed``, ``cancelled`` or ``expired``.
    model
        Id of the model.
    progress
        How far it is.
    reason
        Why it failed or was cancelled.
    created_at, finished_at
        Times of the request and of its end, UTC.
    """

    noun: ClassVar[str] = "job"
    collection: ClassVar[str] = ""

    id: str
    status: str
    model: str
    progress: Progress
    reason: str | None
    created_at: datetime | None
    finished_at: datetime | None

    @property
    def is_active(self) -> bool:
        """True while it is queued or running."""
        return self.status in _ACTIVE

    @property
    def has_succeeded(self) -> bool:
        """True if it has a result."""
        return self.status == "succeeded"


def _job_fields(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(found["id"]),
        "status": str(found["status"]),
        "model": str(found["model"]),
        "progress": Progress.from_json(found["progress"]),
        "reason": found["reason"],
        "created_at": _moment(found["created_at"]),
        "finished_at": _moment(found["finished_at"]),
    }


@dataclass(frozen=True)
class Run(Job):
    """A forecast run of a service.

    Attributes
    ----------
    init
        Init time, ``datetime64[s]``, UTC.
    lead
        Length, ``timedelta64[h]``.
    options
        What else was asked for.
    notes
        What has to be known of its initial state.
    kind
        ``forecast`` or ``counterfactual``.
    members
        Number of members of an ensemble; None of a single forecast.
    """

    noun: ClassVar[str] = "run"
    collection: ClassVar[str] = "/v1/forecasts"

    init: np.datetime64
    lead: np.timedelta64
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kind: str = "forecast"
    members: int | None = None

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read a run of a response; entries that this version does not know are left out."""
        ensemble = found.get("ensemble")
        return cls(
            **_job_fields(found),
            init=_time(found["init_time"]),
            lead=np.timedelta64(int(found["lead_hours"]), "h"),
            options=dict(found["options"]),
            notes=tuple(found.get("notes", ())),
            kind=str(found.get("kind", "forecast")),
            members=ensemble and ensemble["members"],
        )

    def __repr__(self) -> str:
        hours = int(self.lead / HOUR)
        return f"<Run {self.id}: {self.status}, from {self.init}, {hours} h, model {self.model}>"


@dataclass(frozen=True)
class Evaluation(Job):
    """An evaluation of a service.

    Attributes
    ----------
    request
        What was asked for.
    """

    noun: ClassVar[str] = "evaluation"
    collection: ClassVar[str] = "/v1/evaluations"

    request: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read an evaluation of a response."""
        return cls(**_job_fields(found), request=dict(found["request"]))


@dataclass(frozen=True)
class ServedModel:
    """A model of a service.

    Attributes
    ----------
    id, name, sha256
        Id, name, and digest of the checkpoint.
    nside, step, longest_lead
        HEALPix resolution; length of a step and of the longest forecast, ``timedelta64[h]``.
    variables
        Canonical name to levels in hPa, which are empty at the surface.
    """

    id: str
    name: str
    sha256: str
    nside: int
    step: np.timedelta64
    longest_lead: np.timedelta64
    variables: Mapping[str, tuple[int, ...]]

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read a model of a response."""
        return cls(
            str(found["id"]),
            str(found["name"]),
            str(found["sha256"]),
            int(found["nside"]),
            np.timedelta64(int(found["step_hours"]), "h"),
            np.timedelta64(int(found["longest_lead_hours"]), "h"),
            {row["name"]: tuple(row["levels"] or ()) for row in found["variables"]},
        )


@dataclass(frozen=True)
class ServedAnalysis:
    """An analysis of a service, whose states forecasts start from.

    Attributes
    ----------
    name
        Name of the store.
    times
        (time,) valid times, ascending, ``datetime64[s]``, UTC.
    complete
        (time,) whether a state has every variable of the newest model.
    """

    name: str
    times: Times
    complete: Bool

    @classmethod
    def from_states(cls, states: list[Mapping[str, Any]]) -> list[Self]:
        """Return the analyses of a list of states, by name."""
        by_name: dict[str, dict[np.datetime64, bool]] = {}
        for state in states:
            rows = by_name.setdefault(str(state["analysis"]), {})
            rows[_time(state["init_time"])] = bool(state["complete"])
        return [
            cls(
                name,
                np.array(sorted(rows), "datetime64[s]"),
                np.array([rows[time] for time in sorted(rows)], bool),
            )
            for name, rows in sorted(by_name.items())
        ]

    def __repr__(self) -> str:
        span = f"{self.times[0]} to {self.times[-1]}" if self.times.size else "none"
        return f"<ServedAnalysis {self.name}: {self.times.size} times, {span}>"


@dataclass(frozen=True)
class ServiceInfo:
    """What a service is.

    Attributes
    ----------
    version
        Version of PEAR.
    note
        That no output of it is an official warning.
    limits
        Largest requests, by name.
    """

    version: str
    note: str
    limits: Mapping[str, int]


class MapImage(bytes):
    """A map as PNG: the bytes of the file, which notebooks show as a picture."""

    def _repr_png_(self) -> bytes:
        return bytes(self)

    def __repr__(self) -> str:
        return f"<MapImage: PNG of {len(self)} bytes>"

    def save(self, path: StrPath) -> None:
        """Write the file.

        Parameters
        ----------
        path
            File to write.
        """
        Path(path).write_bytes(self)


def plain(value: object) -> object:
    """Return a value of a request as JSON can hold it.

    Returns
    -------
    object
        Numbers of numpy as those of Python, sequences as lists.

    Raises
    ------
    InputError
        If JSON cannot hold it.

    Examples
    --------
    >>> plain({"levels": (np.int64(500), 850)})
    {'levels': [500, 850]}
    """

    def other(each: object) -> object:
        if isinstance(each, np.generic | np.ndarray):
            return each.tolist()
        if isinstance(each, set | frozenset):
            return sorted(each)
        raise TypeError(f"{type(each).__name__} {each!r} cannot be sent")

    try:
        return json.loads(json.dumps(value, default=other, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"the request cannot be sent: {error}", field="options") from None
