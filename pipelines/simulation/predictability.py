"""How far ahead the simulated weather can be foretold: twins that part from one state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pear.progress import ProgressCallback
from pear.variables import STANDARD_GRAVITY
from pipelines.simulation import run
from pipelines.simulation.parameters import Floats

if TYPE_CHECKING:
    from pipelines.simulation.climate import Climate

ROUNDING: Final = 0.2
"""Kelvin of noise in every layer and point: what separates two analyses of one state."""
USEFUL: Final = 0.6
"""Anomaly correlation below which a forecast is held to be of no use."""


def run_twins(
    restarts: Sequence[Path],
    climate: Climate,
    days: int = 40,
    seed: int = 1,
    tick: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Run pairs that differ by the rounding of an analysis, from several states.

    Parameters
    ----------
    restarts
        States; each gives one pair.
    climate
        Gives the monthly means of the 500 hPa height that anomalies are taken from.
    days
        Length of a run.
    seed
        Of the noise.
    tick
        Called after each pair.

    Returns
    -------
    dict
        By day: distance of the 500 hPa height (m, root mean square over the globe and the pairs)
        and anomaly correlation of the twins; doubling times of small errors; the last day on
        which the correlation is still useful: no forecast from such analyses can do better.
    """
    from pipelines.simulation import diagnostics, dynamics
    from pipelines.simulation import dynamics as compiled

    compiled.use_cache()
    engine = dynamics.Engine()
    diagnosis = diagnostics.PressureLevelDiagnostics(engine, 180.0 / (climate.lat.size - 1))
    weight = np.cos(np.radians(diagnosis.lat))[:, None] * np.ones(diagnosis.lon.size)
    weight /= weight.sum()
    sums = np.zeros((4, days + 1))
    for restart in restarts:
        date, arrays = run.read_restart(restart)
        noise = np.random.default_rng(seed).standard_normal((engine.sigma.size, *engine.lat.shape))
        modal = engine.grid.clip_wavenumbers(engine.grid.to_modal(ROUNDING * noise))
        moved = arrays["temperature"] + np.asarray(modal, dtype=np.float32)
        twins = [dynamics.unpack(arrays), dynamics.unpack({**arrays, "temperature": moved})]
        for day in range(days + 1):
            one, two = (
                np.asarray(diagnosis.fields(twin)[1][0, 5], dtype=np.float64) / STANDARD_GRAVITY
                for twin in twins
            )
            usual = usual_height(climate, date)
            a, b = one - usual, two - usual
            for row, product in enumerate(((one - two) ** 2, a * b, a * a, b * b)):
                sums[row, day] += (product * weight).sum()
            twins = [engine.day(twin, run.day_of_year(date)) for twin in twins]
            date += run.DAY
        if tick is not None:
            tick(1, restart.name)
    return summary(sums, len(restarts))


def usual_height(climate: Climate, date: np.datetime64) -> Floats:
    """Mean 500 hPa height at a date, (lat, lon) m from south to north: linear between months."""
    month = int(date.astype("datetime64[M]").astype(int) % 12)
    first = date.astype("datetime64[M]").astype("datetime64[D]")
    middle = float((date - first) / run.DAY) / 30.0 - 0.5
    other = (month + (1 if middle >= 0 else -1)) % 12
    known = [climate.mean("z500", [m + 1]) if climate.days[m] else None for m in (month, other)]
    parts = [part for part in known if part is not None]
    if not parts:
        months = [m + 1 for m in range(12) if climate.days[m]]
        parts = [climate.mean("z500", months)]
    share = abs(middle) if len(parts) == 2 else 0.0
    mixed = (1.0 - share) * parts[0] + share * parts[-1]
    return np.asarray(mixed if climate.lat[0] < climate.lat[-1] else mixed[::-1])


def summary(sums: Floats, pairs: int) -> dict[str, Any]:
    """Distance, correlation and doubling times from the sums over pairs, (4, day)."""
    distance = np.sqrt(sums[0] / pairs)
    correlation = sums[1] / np.sqrt(sums[2] * sums[3])
    # The noise adapts to the flow in the first day; after that small errors grow by themselves.
    early = np.arange(1, min(9, distance.size))
    middle = np.flatnonzero((distance > 5.0) & (distance < 50.0))
    useful = np.flatnonzero(correlation < USEFUL)
    return {
        "pairs": pairs,
        "z500_distance_m": [round(float(v), 2) for v in distance],
        "z500_acc": [round(float(v), 4) for v in correlation],
        "doubling_days_of_small_errors": _doubling(early, distance[early]),
        "doubling_days_5_to_50_m": _doubling(middle, distance[middle]),
        "useful_days": int(useful[0] - 1) if useful.size else None,
        "days": int(distance.size - 1),
    }


def _doubling(days: Any, distance: Floats) -> float | None:
    """Days in which the distance doubles, by a straight line through its logarithm."""
    if len(days) < 3:
        return None
    slope = float(np.polyfit(days, np.log2(distance), 1)[0])
    return round(1.0 / slope, 2) if slope > 0 else None
