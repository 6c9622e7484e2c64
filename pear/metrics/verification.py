"""Verification of one forecast: fields in, mergeable sums out.

The functions read neither stores nor models. Fields may be arrays or iterators that yield one
lead time after the other, so a long forecast never has to fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pear.metrics.accumulators import ScoreAccumulator
from pear.metrics.ensemble import ENSEMBLE_NAMES, ensemble_sums
from pear.metrics.statistics import NAMES, weighted_sums
from pear.typing import Channel, Float64


def verify_forecast(
    forecast: Iterable[npt.ArrayLike],
    analysis: Iterable[npt.ArrayLike],
    climatology: Iterable[npt.ArrayLike],
    *,
    init: np.datetime64,
    leads: npt.ArrayLike,
    channels: Sequence[Channel],
    regions: Mapping[str, npt.ArrayLike] | None = None,
) -> ScoreAccumulator:
    """Sum the statistics of one forecast over cells, by lead time, channel and region.

    Shapes or numbers of lead times that differ, and values that are not finite, are a ValueError.

    Parameters
    ----------
    forecast
        Fields (channel, cell) of each lead time, in physical units.
    analysis, climatology
        The analysis and the climatology at the valid times, shaped as the forecast.
    init
        Init time.
    leads
        Lead times, (lead,) ``timedelta64``, increasing.
    channels
        (variable, level) behind the channel axis.
    regions
        Name of each region and its weights, (cell,); default: ``global`` with equal weights.

    Returns
    -------
    ScoreAccumulator
        Sums of one init time; combine several with :meth:`ScoreAccumulator.merge`.

    Examples
    --------
    >>> import numpy as np
    >>> from pear.metrics import score
    >>> analysis = np.zeros((2, 1, 48))  # two lead times, one channel
    >>> sums = verify_forecast(
    ...     analysis + 3.0,
    ...     analysis,
    ...     analysis,
    ...     init=np.datetime64("2019-01-01"),
    ...     leads=np.array([1, 2], dtype="timedelta64[D]"),
    ...     channels=[("geopotential", 500)],
    ... )
    >>> score(sums, "rmse").ravel().tolist()
    [3.0, 3.0]
    """
    sums, weights = _empty(init, leads, channels, regions)
    for lead, f, o, c in zip(sums.leads, forecast, analysis, climatology, strict=True):
        w = np.ones((1, np.shape(f)[-1])) if weights is None else weights
        sums.add_sums(sums.inits[0], lead, weighted_sums(f, o, c, w))
    return sums


def verify_ensemble(
    members: Iterable[npt.ArrayLike],
    analysis: Iterable[npt.ArrayLike],
    *,
    init: np.datetime64,
    leads: npt.ArrayLike,
    channels: Sequence[Channel],
    regions: Mapping[str, npt.ArrayLike] | None = None,
) -> ScoreAccumulator:
    """Sum CRPS, spread and squared error of the mean of one ensemble forecast.

    Parameters
    ----------
    members
        Fields (member, channel, cell) of each lead time, in physical units.
    analysis
        The analysis at the valid times, (channel, cell).
    init, leads, channels, regions
        As in :func:`verify_forecast`.

    Returns
    -------
    ScoreAccumulator
        Sums of :data:`pear.metrics.ENSEMBLE_NAMES` of one init time.

    Examples
    --------
    >>> import numpy as np
    >>> from pear.metrics import score
    >>> members = np.array([-1.0, 1.0]).reshape(1, 2, 1, 1) * np.ones((1, 2, 1, 48))
    >>> sums = verify_ensemble(
    ...     members,
    ...     np.zeros((1, 1, 48)),
    ...     init=np.datetime64("2019-01-01"),
    ...     leads=np.array([1], dtype="timedelta64[D]"),
    ...     channels=[("2m_temperature", None)],
    ... )
    >>> float(score(sums, "rmse_of_mean")[0, 0, 0])
    0.0
    """
    sums, weights = _empty(init, leads, channels, regions, ENSEMBLE_NAMES)
    for lead, x, o in zip(sums.leads, members, analysis, strict=True):
        w = np.ones((1, np.shape(o)[-1])) if weights is None else weights
        sums.add_sums(sums.inits[0], lead, ensemble_sums(x, o, w))
    return sums


def _empty(
    init: np.datetime64,
    leads: npt.ArrayLike,
    channels: Sequence[Channel],
    regions: Mapping[str, npt.ArrayLike] | None,
    names: tuple[str, ...] = NAMES,
) -> tuple[ScoreAccumulator, Float64 | None]:
    """Return an empty table of one init time and the weights (region, cell)."""
    sums = ScoreAccumulator(
        np.array([init], dtype="datetime64[s]"),
        np.asarray(leads).astype("timedelta64[s]"),
        tuple(channels),
        ("global",) if regions is None else tuple(regions),
        names=names,
    )
    if regions is None:
        return sums, None
    return sums, np.stack([np.asarray(w, dtype=np.float64) for w in regions.values()])
