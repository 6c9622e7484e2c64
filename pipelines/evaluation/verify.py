"""The one pass over the data: roll out from every init time, sum what every score needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pear.calendar import Times, iso, utc
from pear.errors import InputError
from pear.metrics import ScoreSums
from pear.rollout import Forecaster, channels_of, state_of
from pear.state import State
from pear.variables import Layout
from pipelines.climatology import Climatology
from pipelines.evaluation.truth import Analysis, Held, climatology_reader

Fields = npt.NDArray[np.float32]


class Tick(Protocol):
    """Called after each unit of work."""

    def __call__(self, advance: float = 1, note: str = "") -> None: ...


def verify(
    forecasters: Sequence[Forecaster],
    analysis: Analysis,
    climatology: Climatology,
    inits: Times,
    steps: int,
    *,
    weights: npt.ArrayLike | None = None,
    regions: tuple[str, ...] = ("global",),
    batch: int = 4,
    tick: Tick | None = None,
) -> dict[str, ScoreSums]:
    """Forecast from every init time and sum the statistics of every lead.

    Init times go through in order, ``batch`` side by side, so each analysis time is read once
    and only those of one batch's leads are held.

    Parameters
    ----------
    forecasters
        All of one layout, grid and step; their names are the keys of the answer.
    analysis
        Truth and source of the initial states.
    climatology
        Reference of the anomalies, at the valid time; same layout and grid.
    inits
        Init times, strictly increasing.
    steps
        Leads are step, 2·step, …, steps·step.
    weights, regions
        (region, cell) and their names; the globe if not given.
    batch
        Forecasts that run side by side.
    tick
        Called once per init time.

    Raises
    ------
    InputError
        If a time is missing in the analysis, or a forecast leaves the atmosphere.
    """
    first, times = forecasters[0], utc(inits)
    _check(forecasters, analysis, climatology, times, steps)
    leads = first.step * np.arange(1, steps + 1)
    w = np.ones((1, 12 * first.nside**2)) if weights is None else np.asarray(weights)
    sums = {f.name: ScoreSums(times, leads, first.layout.channels, regions) for f in forecasters}
    truth, usual = Held(analysis.read), Held(climatology_reader(climatology))
    for start in range(0, len(times), batch):
        group = times[start : start + batch]
        truth.forget_before(group[0])
        usual.forget_before(group[0])
        initial = _initial(truth, group, first.layout)
        streams = [(sums[f.name], f.forecast(initial, steps)) for f in forecasters]
        for lead in leads:
            verifying = [(truth(t + lead), usual(t + lead)) for t in group]
            for table, stream in streams:
                fields = channels_of(next(stream))
                for init, forecast, (o, c) in zip(group, fields, verifying, strict=True):
                    table.add(init, lead, forecast, o, c, w)
        if tick is not None:
            tick(len(group), f"init {iso(group[-1])[:10]}")
    return sums


def _initial(truth: Held, group: Times, layout: Layout) -> State:
    fields = np.stack([truth(t) for t in group])
    split = len(layout.surface)
    shape = (len(group), len(layout.upper), len(layout.levels), fields.shape[-1])
    return state_of(fields[:, :split], fields[:, split:].reshape(shape), group, layout)


def _check(
    forecasters: Sequence[Forecaster],
    analysis: Analysis,
    climatology: Climatology,
    inits: Times,
    steps: int,
) -> None:
    first = forecasters[0]
    others: list[Forecaster | Analysis | Climatology] = [*forecasters[1:], analysis, climatology]
    for other in others:
        if other.layout != first.layout or other.nside != first.nside:
            raise InputError(
                f"{other.name} and {first.name} differ in channels or grid", field="forecaster"
            )
    if any(f.step != first.step for f in forecasters):
        raise InputError("forecasters with different steps share no leads", field="forecaster")
    if inits.size == 0 or np.any(np.diff(inits) <= np.timedelta64(0, "s")):
        raise InputError("init times must be strictly increasing, at least one", field="--inits")
    known = set(analysis.times.tolist())
    for init in inits:
        for k in range(steps + 1):
            if (init + k * first.step).item() not in known:
                what = "init time" if k == 0 else f"valid time of init {iso(init)}, step {k},"
                raise InputError(
                    f"{what} {iso(init + k * first.step)} is not in analysis {analysis.name}, "
                    f"which holds {iso(analysis.times[0])} to {iso(analysis.times[-1])}",
                    field="--inits", hint="choose fewer init times or a shorter lead",
                )  # fmt: skip
