"""Time on the model's axis: UTC as ``datetime64[s]``, and the phase of the year."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

TROPICAL_YEAR_SECONDS = 365.2425 * 86_400.0
_EPOCH = np.datetime64("2000-01-01T00:00:00", "s")

Times = npt.NDArray[np.datetime64]


def as_utc(times: Any) -> Times:
    """Return times as a one-dimensional ``datetime64[s]`` array (UTC), whatever their unit."""
    return np.atleast_1d(np.asarray(times, dtype="datetime64[s]"))


def year_phase(times: Any) -> npt.NDArray[np.float64]:
    """Phase of the year in [0, 1), continuous in time and free of leap-day jumps.

    The fraction of the mean Gregorian year (365.2425 days) since 1 January 2000, 00 UTC.
    """
    seconds = (as_utc(times) - _EPOCH).astype("timedelta64[s]").astype(np.float64)
    return np.asarray(np.mod(seconds / TROPICAL_YEAR_SECONDS, 1.0))


def to_iso(time: Any) -> str:
    """Write one time as ISO 8601 with seconds and ``Z``."""
    return f"{np.datetime64(time, 's')}Z"
