"""Statistics of ensembles: CRPS, spread and the error of the mean, as mergeable sums too."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pear.metrics.statistics import WEIGHT, Array

ENSEMBLE_NAMES: Final = (WEIGHT, "crps", "adjusted_variance", "squared_error_of_mean")
"""Order of the first axis of an ensemble's table of sums."""


def crps(members: npt.ArrayLike, truth: npt.ArrayLike, *, fair: bool = True) -> Array:
    """Continuous ranked probability score of an ensemble, per cell, in the fields' unit.

    mean|xᵢ − y| − Σᵢⱼ|xᵢ − xⱼ| / (2 M (M − 1)), which is unbiased in the ensemble's size (Ferro
    2014, doi 10.1002/qj.2270, "fair"); with M² in place of M (M − 1) it is that of the empirical
    distribution. The double sum is taken in O(M log M) from the sorted members.

    Parameters
    ----------
    members
        (member, …).
    truth
        (…).
    fair
        Which of the two; one member gives the absolute error either way.

    Returns
    -------
    ndarray
        (…), float64.
    """
    x = np.sort(np.asarray(members, dtype=np.float64), axis=0)
    y = np.asarray(truth, dtype=np.float64)
    if x.shape[1:] != y.shape:
        raise ValueError(f"members {x.shape} must be (member, {y.shape})")
    count = x.shape[0]
    error = np.abs(x - y).mean(axis=0)
    if count == 1:
        return np.asarray(error)
    rank = 2.0 * np.arange(count) - count + 1
    pairs = np.tensordot(rank, x, axes=1)  # Σ_{i<j} |xᵢ − xⱼ|
    return np.asarray(error - pairs / (count * (count - 1) if fair else count**2))


def adjusted_variance(members: npt.ArrayLike) -> Array:
    """Ensemble variance per cell, (member, …) to (…), times (M + 1) / M.

    With the unbiased variance (M − 1 below) and this factor a perfectly reliable ensemble of any
    size has spread = RMSE of its mean (Fortin et al. 2014, doi 10.1175/JHM-D-14-0008.1).

    Raises
    ------
    ValueError
        If there are fewer than two members.
    """
    x = np.asarray(members, dtype=np.float64)
    if x.shape[0] < 2:
        raise ValueError("spread needs at least 2 members")
    return np.asarray(x.var(axis=0, ddof=1) * (x.shape[0] + 1) / x.shape[0])


def ensemble_sums(members: npt.ArrayLike, truth: npt.ArrayLike, weights: npt.ArrayLike) -> Array:
    """Sum the statistics of an ensemble over cells, once per region.

    Parameters
    ----------
    members
        (member, channel, cell), physical units.
    truth
        (channel, cell).
    weights
        (region, cell).

    Returns
    -------
    ndarray
        (statistic in the order of :data:`ENSEMBLE_NAMES`, channel, region).
    """
    x, y = np.asarray(members), np.asarray(truth, dtype=np.float64)
    columns = np.ascontiguousarray(np.asarray(weights, dtype=np.float64).T)
    out = np.empty((len(ENSEMBLE_NAMES), y.shape[0], columns.shape[1]))
    for channel in range(y.shape[0]):
        one, o = x[:, channel].astype(np.float64), y[channel]
        squared = (one.mean(axis=0) - o) ** 2
        cells = (np.ones_like(o), crps(one, o), adjusted_variance(one), squared)
        out[:, channel] = np.stack(cells) @ columns
    return out
