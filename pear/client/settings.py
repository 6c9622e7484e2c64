"""What a request to a service may say, and how its end is waited for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypedDict

from pear.client.records import Run
from pear.errors import InputError
from pear.progress import ProgressCallback

RunLike: TypeAlias = Run | str
"""A run, its id, or ``"latest"``."""
Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]


class ForecastSettings(TypedDict, total=False):
    """Further settings of a forecast, as ``POST /v1/forecasts`` documents them."""

    model: str | None
    analysis: str | None
    variables: Sequence[str] | None
    levels: Sequence[int] | None
    leads: Sequence[int] | None
    precision: str
    allow_other_climate: bool
    symmetrise: bool
    correction: bool
    ensemble: str
    models: Sequence[str]
    seed: int
    perturbation_scale: float | Mapping[str, float] | None
    length_km: float
    perturb_steps: bool | None
    quantiles: Sequence[int]
    thresholds: Sequence[str]
    keep_members: bool
    counterfactual: str | None
    chart: str | None


class EvaluationSettings(TypedDict, total=False):
    """Further settings of an evaluation, as ``POST /v1/evaluations`` documents them."""

    model: str | None
    analysis: str | None
    climatology: str | None
    correction: bool
    allow_other_climate: bool


class ScoreSelection(TypedDict, total=False):
    """Which scores are wanted: those that agree with each value."""

    metric: str | None
    variable: str | None
    level: int | None
    region: str | None
    model: str | None
    baseline: str | None
    evaluation: str | None
    by_hour: bool


class PointSelection(TypedDict, total=False):
    """What is wanted at points.

    ``levels`` in hPa are those of variables that name none; ``method`` is ``nearest`` or
    ``bilinear``; ``statistic`` that of an ensemble.
    """

    levels: Sequence[int] | None
    method: Literal["nearest", "bilinear"]
    statistic: str | None


class MapOptions(TypedDict, total=False):
    """How a map is drawn, as ``GET /v1/forecasts/ID/maps`` documents it."""

    level: int | None
    statistic: str | None
    projection: str
    longitude: float
    latitude: float
    region: str | None
    bbox: str | None
    title: str | None
    cmap: str | None
    vmin: float | None
    vmax: float | None
    width: int
    difference: str | None
    isolines: bool
    wind: bool


@dataclass(frozen=True)
class StoreAt:
    """A Zarr store at a service: its kind, its path, and the parameters of each request."""

    kind: Literal["analysis", "forecast"]
    path: str
    params: Mapping[str, str]


@dataclass(frozen=True)
class Waiting:
    """How the end of a run is waited for.

    Attributes
    ----------
    until
        True until it ends, False not at all; a number of seconds at most.
    progress
        Print the progress on standard error, or call a function.
    cancel
        Cancel the run if the waiting is interrupted.
    """

    until: bool | float = True
    progress: bool | ProgressCallback = False
    cancel: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.until, bool) and not 0 < self.until < math.inf:
            raise InputError(
                f"wait {self.until} is not a number of seconds above 0",
                field="wait",
                hint="True waits until the end, False does not wait",
            )
