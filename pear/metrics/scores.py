"""Scores as functions of a table of sums.

``rmse``, ``mae``, ``bias``, ``acc``, ``activity``, … pool all cells and init times and then take
one root or ratio; ``…_per_init`` take it for every init time and then average over init times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from pear.metrics.accumulators import ScoreAccumulator
from pear.metrics.statistics import WEIGHT
from pear.typing import Float64

Means = dict[str, Float64]
"""Mean of every statistic, all of one shape."""


def check_same_axes(one: ScoreAccumulator, other: ScoreAccumulator) -> None:
    """Raise ValueError unless two tables have the same axes, entry by entry.

    Raises
    ------
    ValueError
        Naming the axis that differs.

    Examples
    --------
    >>> from pear.metrics.scores import check_same_axes
    >>> from pear.metrics import ScoreAccumulator
    >>> lead, channels = np.timedelta64(1, "D"), (("temperature", 850),)
    >>> one = ScoreAccumulator(np.datetime64("2019-01-01"), lead, channels)
    >>> check_same_axes(one, ScoreAccumulator(np.datetime64("2019-01-02"), lead, channels))
    Traceback (most recent call last):
    ValueError: tables with different inits cannot be compared
    """
    for label in ("inits", "leads", "channels", "regions"):
        if not np.array_equal(np.asarray(getattr(one, label)), np.asarray(getattr(other, label))):
            raise ValueError(f"tables with different {label} cannot be compared")


def ratio(numerator: Float64, denominator: Float64) -> Float64:
    """Divide; the result is NaN, without a warning, where the denominator is not positive.

    Returns
    -------
    numpy.ndarray
        Of the broadcast shape.

    Examples
    --------
    >>> from pear.metrics.scores import ratio
    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0]))
    array([0.5, nan])
    """
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def _acc(m: Means) -> Float64:
    power = m["squared_forecast_anomaly"] * m["squared_truth_anomaly"]
    return ratio(m["anomaly_product"], np.sqrt(power))


def _variance(m: Means, which: str) -> Float64:
    # Rounding can leave a vanishing variance slightly below zero.
    return np.maximum(m[f"squared_{which}_anomaly"] - m[f"{which}_anomaly"] ** 2, 0.0)


def _acc_centered(m: Means) -> Float64:
    covariance = m["anomaly_product"] - m["forecast_anomaly"] * m["truth_anomaly"]
    return ratio(covariance, np.sqrt(_variance(m, "forecast") * _variance(m, "truth")))


FORMULAS: Final[dict[str, Callable[[Means], Float64]]] = {
    "rmse": lambda m: np.sqrt(m["squared_error"]),
    "mae": lambda m: m["absolute_error"],
    "bias": lambda m: m["error"],
    "acc": _acc,
    "acc_centered": _acc_centered,
    "activity": lambda m: np.sqrt(ratio(_variance(m, "forecast"), _variance(m, "truth"))),
    "crps": lambda m: m["crps"],
    "energy_score": lambda m: m["energy"],
    "spread": lambda m: np.sqrt(m["adjusted_variance"]),
    "rmse_of_mean": lambda m: np.sqrt(m["squared_error_of_mean"]),
    "spread_skill": lambda m: np.sqrt(ratio(m["adjusted_variance"], m["squared_error_of_mean"])),
}
"""Scores as functions of means."""
SCORES: Final[dict[str, tuple[str, bool]]] = {
    "rmse": ("rmse", False),
    "rmse_per_init": ("rmse", True),
    "mae": ("mae", False),
    "bias": ("bias", False),
    "acc": ("acc", False),
    "acc_per_init": ("acc", True),
    "acc_centered": ("acc_centered", True),
    "activity": ("activity", False),
    "crps": ("crps", False),
    "energy_score": ("energy_score", False),
    "spread": ("spread", False),
    "rmse_of_mean": ("rmse_of_mean", False),
    "spread_skill": ("spread_skill", False),
}
"""Score → (formula, True if taken per init time and then averaged)."""
ENSEMBLE_SCORES: Final = ("crps", "energy_score", "spread", "rmse_of_mean", "spread_skill")
"""Scores of an ensemble's table; the others belong to tables of single forecasts."""


def means(sums: ScoreAccumulator, *, per_init: bool = False) -> Means:
    """Return the mean of every statistic, pooled over init times or one per init time.

    Parameters
    ----------
    sums
        Table of sums.
    per_init
        Keep the init times apart.

    Returns
    -------
    dict
        Statistic → ([init,] lead, channel, region); NaN where nothing was added.

    Examples
    --------
    >>> from pear.metrics.scores import means
    >>> from pear.metrics import ScoreAccumulator
    >>> init, lead = np.datetime64("2019-01-01"), np.timedelta64(1, "D")
    >>> sums = ScoreAccumulator(init, lead, (("geopotential", 500),))
    >>> sums.add(init, lead, np.full((1, 48), 3.0), *np.ones((2, 1, 48)))
    >>> means(sums)["squared_error"].item()
    4.0
    """
    values = sums.values if per_init else sums.values.sum(axis=1)
    return means_of(values, sums.names)


def means_of(values: Float64, names: Sequence[str]) -> Means:
    """Divide sums (statistic, …) by their weight; returns statistic → (…).

    Returns
    -------
    dict
        Statistic to its mean (…), NaN where the weight is 0.

    Examples
    --------
    >>> from pear.metrics.scores import means_of
    >>> found = means_of(np.array([[2.0, 4.0], [1.0, 1.0]]), ["weight", "error"])
    >>> found["error"]
    array([0.5 , 0.25])
    """
    weight = values[names.index(WEIGHT)]
    return {name: ratio(values[i], weight) for i, name in enumerate(names) if name != WEIGHT}


def per_init(sums: ScoreAccumulator, name: str) -> Float64:
    """Return a score of every init time: (init, lead, channel, region).

    Returns
    -------
    numpy.ndarray
        (init, lead, channel, region), NaN where nothing was added.

    Examples
    --------
    >>> from pear.metrics.scores import per_init
    >>> from pear.metrics import ScoreAccumulator
    >>> inits = np.array(["2019-01-01", "2019-01-02"], dtype="datetime64[s]")
    >>> sums = ScoreAccumulator(inits, np.timedelta64(1, "D"), (("temperature", 850),))
    >>> for init, value in zip(inits, (1.0, 3.0), strict=True):
    ...     sums.add(init, sums.leads[0], np.full((1, 48), value), *np.zeros((2, 1, 48)))
    >>> per_init(sums, "rmse").ravel()
    array([1., 3.])
    """
    return FORMULAS[formula_of(name)[0]](means(sums, per_init=True))


def score(sums: ScoreAccumulator, name: str) -> Float64:
    """Compute a score from a table of sums.

    Parameters
    ----------
    sums
        Table of sums.
    name
        One of :data:`SCORES`.

    Returns
    -------
    numpy.ndarray
        (lead, channel, region). NaN where nothing was added or the ratio is 0/0, such as the
        anomaly correlation of the climatology itself.

    Raises
    ------
    ValueError
        If the score is unknown or the table lacks its statistics.

    Examples
    --------
    >>> from pear.metrics import ScoreAccumulator, score
    >>> init, lead = np.datetime64("2019-01-01"), np.timedelta64(1, "D")
    >>> sums = ScoreAccumulator(init, lead, (("geopotential", 500),))
    >>> sums.add(init, lead, np.full((1, 48), 3.0), *np.ones((2, 1, 48)))
    >>> score(sums, "rmse").shape, score(sums, "rmse").item(), score(sums, "bias").item()
    ((1, 1, 1), 2.0, 2.0)
    """
    formula, averaged = formula_of(name)
    if not has_score(sums, name):
        raise ValueError(f"a table of {', '.join(sums.names)} has no score {name!r}")
    if not averaged:
        return FORMULAS[formula](means(sums))
    present = sums.values[sums.names.index(WEIGHT)] > 0
    total = np.where(present, per_init(sums, name), 0.0).sum(axis=0)
    return ratio(total, present.sum(axis=0).astype(np.float64))


def has_score(sums: ScoreAccumulator, name: str) -> bool:
    """Return whether a table holds the statistics that a score is made of.

    Returns
    -------
    bool
        False for the scores of ensembles on a table of single forecasts, and the reverse.

    Examples
    --------
    >>> from pear.metrics.scores import has_score
    >>> from pear.metrics import ScoreAccumulator
    >>> init, lead = np.datetime64("2019-01-01"), np.timedelta64(1, "D")
    >>> sums = ScoreAccumulator(init, lead, (("geopotential", 500),))
    >>> has_score(sums, "rmse"), has_score(sums, "crps")
    (True, False)
    """
    if name == "energy_score":  # which evaluations of earlier versions do not hold
        return "energy" in sums.names
    return ("crps" if name in ENSEMBLE_SCORES else "error") in sums.names


def gain(name: str, values: Float64, reference: Float64) -> Float64:
    """Return how much better a score is than that of a reference; positive where it is better.

    Parameters
    ----------
    name
        One of :data:`SCORES`.
    values, reference
        The score of a forecaster and of the reference, (…).

    Returns
    -------
    numpy.ndarray
        (…): the difference for correlations, where one that is undefined counts as 0, as that of
        the climatology itself; the difference of the sizes for the bias; for errors the share of
        the reference's error that is removed, NaN where the reference has none.

    Examples
    --------
    >>> from pear.metrics.scores import gain
    >>> gain("rmse", np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    array([ 0.5, -0.5])
    >>> gain("acc", np.array([0.8]), np.array([np.nan]))
    array([0.8])
    """
    if formula_of(name)[0] in ("acc", "acc_centered"):
        return np.asarray(np.nan_to_num(values) - np.nan_to_num(reference))
    if name == "bias":
        return np.asarray(np.abs(reference) - np.abs(values))
    return 1.0 - ratio(values, reference)


def formula_of(name: str) -> tuple[str, bool]:
    """Return the formula of a score and whether it is averaged over init times.

    Parameters
    ----------
    name
        One of :data:`SCORES`.

    Returns
    -------
    formula : str
        Key of :data:`FORMULAS`.
    averaged : bool
        True if the formula is applied to every init time and then averaged.

    Raises
    ------
    ValueError
        If the score is unknown.

    Examples
    --------
    >>> from pear.metrics.scores import formula_of
    >>> formula_of("acc"), formula_of("acc_per_init")
    (('acc', False), ('acc', True))
    """
    if name not in SCORES:
        raise ValueError(f"unknown score {name!r}; known: {', '.join(SCORES)}")
    return SCORES[name]
