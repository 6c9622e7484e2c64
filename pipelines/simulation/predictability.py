"""Predictability of the simulated atmosphere from identical-twin experiments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pear.progress import ProgressCallback, no_progress
from pear.times import DAY
from pear.typing import Float64, Int64
from pear.variables import LEVELS, STANDARD_GRAVITY
from pipelines.simulation.climate import Climate
from pipelines.simulation.run import day_of_year, read_restart

ANALYSIS_ERROR: Final = 0.2
"""Kelvin of noise in every layer and point: the difference of two analyses of one state."""
USEFUL: Final = 0.6
"""Anomaly correlation below which a forecast is considered useless."""


def run_identical_twins(
    restarts: Sequence[Path],
    climate: Climate,
    days: int = 40,
    seed: int = 1,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Run pairs of simulations that differ by an analysis error, from several states.

    Parameters
    ----------
    restarts
        Restart states; each gives one pair.
    climate
        Monthly means of the 500 hPa height, from which anomalies are taken.
    days
        Length of a run.
    seed
        Random seed of the analysis error.
    progress
        Called after each pair.

    Returns
    -------
    dict
        By day: distance of the 500 hPa height (m, root mean square over the globe and the pairs)
        and anomaly correlation of the twins; doubling times of errors; the last day on which the
        correlation is useful, a limit for any forecast from such analyses.
    """
    from pipelines.simulation import diagnostics, dynamics

    dynamics.use_cache()
    model = dynamics.Atmosphere()
    fields = diagnostics.PressureLevelDiagnostics(model, 180.0 / (climate.lat.size - 1))
    weight = np.cos(np.radians(fields.lat))[:, None] * np.ones(fields.lon.size)
    weight /= weight.sum()
    sums = np.zeros((4, days + 1))
    for restart in restarts:
        date, arrays = read_restart(restart)
        noise = np.random.default_rng(seed).standard_normal((model.sigma.size, *model.lat.shape))
        modal = model.grid.clip_wavenumbers(model.grid.to_modal(ANALYSIS_ERROR * noise))
        moved = arrays["temperature"] + np.asarray(modal, dtype=np.float32)
        twins = [dynamics.unpack(arrays), dynamics.unpack({**arrays, "temperature": moved})]
        for day in range(days + 1):
            one, two = (
                np.asarray(fields.fields(twin)[1][0, LEVELS.index(500)], dtype=np.float64)
                / STANDARD_GRAVITY
                for twin in twins
            )
            mean = climatological_height(climate, date)
            a, b = one - mean, two - mean
            for row, product in enumerate(((one - two) ** 2, a * b, a * a, b * b)):
                sums[row, day] += (product * weight).sum()
            twins = [model.run_day(twin, day_of_year(date)) for twin in twins]
            date += DAY
        progress(1, restart.name)
    return summarise(sums, len(restarts))


def climatological_height(climate: Climate, date: np.datetime64) -> Float64:
    """Return the mean 500 hPa height at a date, linear between the middles of months.

    Parameters
    ----------
    climate
        Monthly means.
    date
        Day.

    Returns
    -------
    numpy.ndarray
        (lat, lon) m, from south to north.
    """
    month = int(date.astype("datetime64[M]").astype(int) % 12)
    first = date.astype("datetime64[M]").astype("datetime64[D]")
    middle = float((date - first) / DAY) / 30.0 - 0.5
    other = (month + (1 if middle >= 0 else -1)) % 12
    parts = [climate.mean("z500", [m + 1]) for m in (month, other) if climate.days[m]]
    if not parts:
        parts = [climate.mean("z500", [m + 1 for m in range(12) if climate.days[m]])]
    share = abs(middle) if len(parts) == 2 else 0.0
    mixed = (1.0 - share) * parts[0] + share * parts[-1]
    return np.asarray(mixed if climate.lat[0] < climate.lat[-1] else mixed[::-1])


def summarise(sums: Float64, pairs: int) -> dict[str, Any]:
    """Compute distance, correlation and doubling times.

    Parameters
    ----------
    sums
        (4, day), global means summed over pairs: squared distance, product of the anomalies and
        their squares.
    pairs
        Number of pairs.

    Returns
    -------
    dict
        As :func:`run_identical_twins`.
    """
    distance = np.sqrt(sums[0] / pairs)
    correlation = sums[1] / np.sqrt(sums[2] * sums[3])
    # The noise adapts to the flow in the first day; after that small errors grow by themselves.
    early = np.arange(1, min(9, distance.size))
    middle = np.flatnonzero((distance > 5.0) & (distance < 50.0))
    useless = np.flatnonzero(correlation < USEFUL)
    return {
        "pairs": pairs,
        "z500_distance_m": [round(float(v), 2) for v in distance],
        "z500_acc": [round(float(v), 4) for v in correlation],
        "doubling_days_of_small_errors": _doubling(early, distance[early]),
        "doubling_days_5_to_50_m": _doubling(middle, distance[middle]),
        "useful_days": int(useless[0] - 1) if useless.size else None,
        "days": int(distance.size - 1),
    }


def _doubling(days: Int64, distance: Float64) -> float | None:
    """Return the days in which the distance doubles, by a straight line through its logarithm."""
    if days.size < 3:
        return None
    slope = float(np.polyfit(days, np.log2(distance), 1)[0])
    return round(1.0 / slope, 2) if slope > 0 else None
