"""Per-cell statistics of a forecast and an analysis, from which all scores are computed.

With error e = f − o and anomalies f′ = f − c, o′ = o − c from a climatology c at the valid time.
Only sums over cells are returned, so the results of any split of the work can be added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.typing import Array, Bool, Float64

Statistic = Callable[[Float64, Float64, Float64], Float64]

STATISTICS: Final[dict[str, Statistic]] = {
    "error": lambda e, f, o: e,
    "absolute_error": lambda e, f, o: np.abs(e),
    "squared_error": lambda e, f, o: e * e,
    "anomaly_product": lambda e, f, o: f * o,
    "squared_forecast_anomaly": lambda e, f, o: f * f,
    "squared_truth_anomaly": lambda e, f, o: o * o,
    "forecast_anomaly": lambda e, f, o: f,
    "truth_anomaly": lambda e, f, o: o,
}
"""Per-cell statistics as functions of error, forecast anomaly and analysis anomaly."""
WEIGHT: Final = "weight"
"""Name of the sum of weights, the denominator of every mean."""
NAMES: Final = (WEIGHT, *STATISTICS)
"""Statistics along the first axis of a table of sums."""


def weighted_sums(
    forecast: npt.ArrayLike,
    analysis: npt.ArrayLike,
    climatology: npt.ArrayLike,
    weights: npt.ArrayLike,
    mask: Bool | None = None,
) -> Float64:
    """Sum every statistic over cells, once per region.

    Parameters
    ----------
    forecast, analysis, climatology
        (channel, cell), one physical unit per channel.
    weights
        (region, cell), weight of each cell in each region; 1 and 0 on HEALPix, whose cells have
        equal area; area times membership on a lat-lon grid.
    mask
        (channel, cell), False where a value is to be skipped. Without it a NaN makes its sums NaN.

    Returns
    -------
    numpy.ndarray
        (statistic, channel, region), float64; statistics in the order of :data:`NAMES`.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Examples
    --------
    >>> from pear.metrics.statistics import NAMES, weighted_sums
    >>> forecast, analysis = np.full((1, 48), 3.0), np.ones((1, 48))
    >>> sums = weighted_sums(forecast, analysis, analysis, np.ones((1, 48)))
    >>> sums.shape, float(sums[NAMES.index("squared_error"), 0, 0])  # 48 · 2²
    ((9, 1, 1), 192.0)
    """
    f, o, c = (np.asarray(values) for values in (forecast, analysis, climatology))
    w = np.asarray(weights, dtype=np.float64)
    if not f.shape == o.shape == c.shape or f.ndim != 2 or w.ndim != 2:
        raise ValueError(
            f"forecast {f.shape}, analysis {o.shape} and climatology {c.shape} must all be "
            f"(channel, cell), weights {w.shape} must be (region, cell)"
        )
    if w.shape[1] != f.shape[1]:
        raise ValueError(f"weights cover {w.shape[1]} cells, the fields have {f.shape[1]}")
    keep = None if mask is None else np.broadcast_to(mask, f.shape)
    columns = np.ascontiguousarray(w.T)
    cells = np.empty((len(NAMES), f.shape[1]))
    out = np.empty((len(NAMES), f.shape[0], w.shape[0]))
    # One channel at a time, so its statistics stay in the processor's cache until they are summed.
    for channel in range(f.shape[0]):
        one = (f[channel], o[channel], c[channel])
        _fill(cells, *one, None if keep is None else keep[channel])
        out[:, channel] = cells @ columns
    return out


def _fill(
    cells: Float64, forecast: Array, analysis: Array, climatology: Array, keep: Bool | None
) -> None:
    """Write every statistic of one channel, (statistic, cell), zero where it is skipped."""
    f, o, c = (x.astype(np.float64) for x in (forecast, analysis, climatology))
    error, f_anomaly, o_anomaly = f - o, f - c, o - c
    for index, name in enumerate(NAMES):
        cells[index] = 1.0 if name == WEIGHT else STATISTICS[name](error, f_anomaly, o_anomaly)
    if keep is not None:
        cells[:, ~keep] = 0.0
