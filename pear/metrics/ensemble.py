"""Statistics of ensembles as mergeable sums: CRPS, energy, spread and the error of the mean."""

from __future__ import annotations

from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.metrics.statistics import WEIGHT
from pear.typing import Float64

ENSEMBLE_NAMES: Final = (WEIGHT, "crps", "adjusted_variance", "squared_error_of_mean", "energy")
"""Statistics along the first axis of an ensemble's table of sums."""


RANK: Final = "rank_"
"""Statistics with this beginning count the cells by the rank of the analysis."""


def rank_names(members: int) -> tuple[str, ...]:
    """Return the names of the ranks that an analysis can have among members.

    Returns
    -------
    tuple of str
        One more than members.

    Examples
    --------
    >>> from pear.metrics.ensemble import rank_names
    >>> rank_names(2)
    ('rank_000', 'rank_001', 'rank_002')
    """
    return tuple(f"{RANK}{number:03d}" for number in range(members + 1))


def rank_sums(members: npt.ArrayLike, analysis: npt.ArrayLike, weights: npt.ArrayLike) -> Float64:
    """Sum the weights of the cells by the rank of the analysis among the members.

    The rank is the number of members below the analysis; with members equal to it a cell counts
    in equal parts for every rank that it could have. In a reliable ensemble all ranks are equally
    frequent (Hamill 2001, doi 10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2).

    Parameters
    ----------
    members
        (member, channel, cell).
    analysis
        (channel, cell), same unit.
    weights
        (region, cell).

    Returns
    -------
    numpy.ndarray
        (rank, channel, region); ranks in the order of :func:`rank_names`.

    Examples
    --------
    >>> from pear.metrics.ensemble import rank_sums
    >>> members = np.array([[[0.0, 1.0, 2.0]], [[0.0, 3.0, 2.0]]])
    >>> rank_sums(members, [[1.0, 2.0, 2.0]], np.ones((1, 3)))[:, 0, 0].round(2).tolist()
    [0.33, 1.33, 1.33]
    """
    x, y = np.asarray(members), np.asarray(analysis)
    below, equal = (x < y).sum(axis=0), (x == y).sum(axis=0)
    columns = np.ascontiguousarray(np.asarray(weights, dtype=np.float64).T)
    share = 1.0 / (equal + 1)
    return np.stack(
        [
            np.where((rank >= below) & (rank <= below + equal), share, 0.0) @ columns
            for rank in range(x.shape[0] + 1)
        ]
    )


def crps(members: npt.ArrayLike, analysis: npt.ArrayLike, *, fair: bool = True) -> Float64:
    """Return the continuous ranked probability score of an ensemble per cell.

    mean|xᵢ − y| − Σᵢⱼ|xᵢ − xⱼ| / (2 M (M − 1)), which is unbiased in the ensemble size M (Ferro
    2014, doi 10.1002/qj.2270, "fair"); with M² in place of M (M − 1) it is the score of the
    empirical distribution. The double sum is computed in O(M log M) from the sorted members.

    Parameters
    ----------
    members
        (member, …).
    analysis
        (…), same unit.
    fair
        Use M (M − 1); a single member gives the absolute error either way.

    Returns
    -------
    numpy.ndarray
        (…), float64, in the unit of the fields.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Examples
    --------
    >>> crps([[-1.0], [1.0]], [0.0])
    array([0.])
    """
    x = np.sort(np.asarray(members, dtype=np.float64), axis=0)
    y = np.asarray(analysis, dtype=np.float64)
    if x.shape[1:] != y.shape:
        raise ValueError(f"members {x.shape} must be (member, {y.shape})")
    count = x.shape[0]
    error = np.abs(x - y).mean(axis=0)
    if count == 1:
        return np.asarray(error)
    rank = 2.0 * np.arange(count) - count + 1
    pairs = np.tensordot(rank, x, axes=1)  # Σ_{i<j} |xᵢ − xⱼ|
    return np.asarray(error - pairs / (count * (count - 1) if fair else count**2))


def energy_score(
    members: npt.ArrayLike, analysis: npt.ArrayLike, weights: npt.ArrayLike
) -> Float64:
    """Return the energy score of whole fields, once per region.

    mean‖xᵢ − y‖ − Σᵢⱼ‖xᵢ − xⱼ‖ / (2 M (M − 1)), where ‖·‖ is the root mean square over the cells of
    a region: the CRPS of a field, which also sees whether the members vary together as the
    analyses do (Gneiting and Raftery 2007, doi 10.1198/016214506000001437, equation 22). Unbiased
    in the ensemble size M, as :func:`crps`.

    Parameters
    ----------
    members
        (member, channel, cell).
    analysis
        (channel, cell), same unit.
    weights
        (region, cell).

    Returns
    -------
    numpy.ndarray
        (channel, region), float64, in the unit of the fields; NaN for a region of weight 0.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Examples
    --------
    >>> members = np.array([[[3.0, 4.0]], [[-3.0, -4.0]]])
    >>> energy_score(members, [[0.0, 0.0]], [[1.0, 1.0]])  # √12.5 − √50 / 2
    array([[0.]])
    """
    x, y = np.asarray(members, dtype=np.float64), np.asarray(analysis, dtype=np.float64)
    if x.shape[1:] != y.shape:
        raise ValueError(f"members {x.shape} must be (member, {y.shape})")
    columns = np.ascontiguousarray(np.asarray(weights, dtype=np.float64).T)
    total = columns.sum(axis=0)

    def size(field: Float64) -> Float64:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sqrt(field**2 @ columns / total))

    count = x.shape[0]
    score = np.sum([size(one - y) for one in x], axis=0) / count
    if count > 1:
        pairs = np.sum([size(one - other) for one, other in combinations(x, 2)], axis=0)
        score = score - pairs / (count * (count - 1))
    return np.asarray(score)


def adjusted_variance(members: npt.ArrayLike) -> Float64:
    """Return the unbiased ensemble variance per cell times (M + 1) / M.

    With this factor a perfectly reliable ensemble of any size M has a spread equal to the RMSE of
    its mean (Fortin et al. 2014, doi 10.1175/JHM-D-14-0008.1).

    Parameters
    ----------
    members
        (member, …).

    Returns
    -------
    numpy.ndarray
        (…), float64, units squared.

    Raises
    ------
    ValueError
        If there are fewer than two members.

    Examples
    --------
    >>> from pear.metrics.ensemble import adjusted_variance
    >>> adjusted_variance([[-1.0], [1.0]])  # 2 · (2 + 1) / 2
    array([3.])
    """
    x = np.asarray(members, dtype=np.float64)
    if x.shape[0] < 2:
        raise ValueError(f"spread needs at least 2 members, got {x.shape[0]}")
    return np.asarray(x.var(axis=0, ddof=1) * (x.shape[0] + 1) / x.shape[0])


def ensemble_sums(
    members: npt.ArrayLike, analysis: npt.ArrayLike, weights: npt.ArrayLike
) -> Float64:
    """Sum the statistics of an ensemble over cells, once per region.

    Parameters
    ----------
    members
        (member, channel, cell), physical units.
    analysis
        (channel, cell).
    weights
        (region, cell).

    Returns
    -------
    numpy.ndarray
        (statistic, channel, region); statistics in the order of :data:`ENSEMBLE_NAMES`.

    Examples
    --------
    >>> from pear.metrics import ENSEMBLE_NAMES, ensemble_sums
    >>> members = np.array([[[-1.0] * 48], [[1.0] * 48]])
    >>> sums = ensemble_sums(members, np.zeros((1, 48)), np.ones((1, 48)))
    >>> list(zip(ENSEMBLE_NAMES, sums.ravel().tolist(), strict=True))[:3]
    [('weight', 48.0), ('crps', 0.0), ('adjusted_variance', 144.0)]
    """
    x, y = np.asarray(members), np.asarray(analysis, dtype=np.float64)
    columns = np.ascontiguousarray(np.asarray(weights, dtype=np.float64).T)
    out = np.empty((len(ENSEMBLE_NAMES), y.shape[0], columns.shape[1]))
    for channel in range(y.shape[0]):
        one, o = x[:, channel].astype(np.float64), y[channel]
        squared = (one.mean(axis=0) - o) ** 2
        cells = (np.ones_like(o), crps(one, o), adjusted_variance(one), squared)
        out[:-1, channel] = np.stack(cells) @ columns
    # A sum, as the others are: divided by the weight it is the score of this init time.
    total = columns.sum(axis=0)
    out[-1] = np.where(total > 0, energy_score(x, y, weights) * total, 0.0)
    return out
