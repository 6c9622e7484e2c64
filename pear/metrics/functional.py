"""Scores of whole arrays, written as their definitions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pear.typing import Float64


def rmse(
    forecast: npt.ArrayLike, analysis: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Return the root mean square error over all entries.

    Parameters
    ----------
    forecast, analysis
        (…, cell), same shape and unit.
    weights
        Broadcast against the fields; default: equal.

    Returns
    -------
    float
        In the unit of the fields.

    Examples
    --------
    >>> rmse([1.0, 3.0], [1.0, 1.0], weights=[1.0, 3.0])
    1.7320508075688772
    """
    return float(np.sqrt(_mean(_difference(forecast, analysis) ** 2, weights)))


def mae(
    forecast: npt.ArrayLike, analysis: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Return the mean absolute error, called "RMSE" in the published PEAR code and tables.

    Returns
    -------
    float
        In the unit of the fields.

    Examples
    --------
    >>> from pear.metrics import mae
    >>> mae([1.0, 3.0], [1.0, 1.0])
    1.0
    """
    return _mean(np.abs(_difference(forecast, analysis)), weights)


def bias(
    forecast: npt.ArrayLike, analysis: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Return the mean error, forecast minus analysis.

    Returns
    -------
    float
        In the unit of the fields.

    Examples
    --------
    >>> from pear.metrics import bias
    >>> bias([1.0, 3.0], [1.0, 1.0]), bias([1.0, 3.0], [3.0, 1.0])
    (1.0, 0.0)
    """
    return _mean(_difference(forecast, analysis), weights)


def acc(
    forecast: npt.ArrayLike,
    analysis: npt.ArrayLike,
    climatology: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Return the anomaly correlation, not centred: Σ f′o′ / √(Σ f′² Σ o′²) over all entries.

    The definition of the published PEAR (arXiv 2505.17720) and of WeatherBench-X.

    Parameters
    ----------
    forecast, analysis, climatology
        (…, cell), same unit; climatology at the valid time, broadcast against the others.
    weights
        Broadcast against the fields; default: equal.

    Returns
    -------
    float
        In [−1, 1]; NaN if either anomaly vanishes everywhere, where the ratio is 0/0.

    Examples
    --------
    >>> acc([2.0, 1.0], [3.0, -1.0], climatology=[1.0, 1.0])
    0.7071067811865475
    """
    f = _difference(forecast, np.broadcast_to(climatology, np.shape(forecast)))
    o = _difference(analysis, np.broadcast_to(climatology, np.shape(analysis)))
    denominator = _mean(f * f, weights) * _mean(o * o, weights)
    return _mean(f * o, weights) / float(np.sqrt(denominator)) if denominator > 0 else float("nan")


def _mean(values: Float64, weights: npt.ArrayLike | None) -> float:
    if weights is not None:
        weights = np.broadcast_to(np.asarray(weights, dtype=np.float64), values.shape)
    return float(np.average(values, weights=weights))


def _difference(forecast: npt.ArrayLike, analysis: npt.ArrayLike) -> Float64:
    f, o = np.asarray(forecast, dtype=np.float64), np.asarray(analysis, dtype=np.float64)
    if f.shape != o.shape:
        raise ValueError(f"forecast {f.shape} and analysis {o.shape} have different shapes")
    return f - o
