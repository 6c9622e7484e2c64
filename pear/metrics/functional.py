"""Scores of whole arrays, written as their definitions: for a quick look and as slow twins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pear.metrics.statistics import Array


def _mean(values: Array, weights: npt.ArrayLike | None) -> float:
    if weights is None:
        return float(values.mean())
    w = np.broadcast_to(np.asarray(weights, dtype=np.float64), values.shape)
    return float((values * w).sum() / w.sum())


def _error(forecast: npt.ArrayLike, truth: npt.ArrayLike) -> Array:
    f, o = np.asarray(forecast, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if f.shape != o.shape:
        raise ValueError(f"forecast {f.shape} and truth {o.shape} have different shapes")
    return f - o


def rmse(
    forecast: npt.ArrayLike, truth: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Root of the mean squared error over all entries, in the fields' unit.

    Parameters
    ----------
    forecast, truth
        (…, cell), same shape and unit.
    weights
        Broadcast against the fields; equal if not given.
    """
    return float(np.sqrt(_mean(_error(forecast, truth) ** 2, weights)))


def mae(
    forecast: npt.ArrayLike, truth: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Mean absolute error: what the published PEAR code and tables call "RMSE"."""
    return _mean(np.abs(_error(forecast, truth)), weights)


def bias(
    forecast: npt.ArrayLike, truth: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Mean error, forecast minus truth."""
    return _mean(_error(forecast, truth), weights)


def acc(
    forecast: npt.ArrayLike,
    truth: npt.ArrayLike,
    climatology: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Anomaly correlation, not centred: Σ f′o′ / √(Σ f′² Σ o′²) over all entries, one ratio.

    The definition of the published PEAR (arXiv 2505.17720) and of WeatherBench-X.

    Parameters
    ----------
    forecast, truth, climatology
        (…, cell), same unit; climatology at the valid time, broadcast against the others.
    weights
        Broadcast against the fields; equal if not given.

    Returns
    -------
    float
        In [−1, 1]; NaN if either anomaly vanishes everywhere, where the ratio is 0/0.
    """
    f = _error(forecast, np.broadcast_to(climatology, np.shape(forecast)))
    o = _error(truth, np.broadcast_to(climatology, np.shape(truth)))
    denominator = _mean(f * f, weights) * _mean(o * o, weights)
    return _mean(f * o, weights) / float(np.sqrt(denominator)) if denominator > 0 else float("nan")
