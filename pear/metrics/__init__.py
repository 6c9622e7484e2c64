"""Scores as functions of mergeable means, as in WeatherBench-X.

A *statistic* is computed per cell, its weighted *sum* over cells is stored by (init, lead,
channel, region), and every *score* is a function of those sums: one pass over the data answers
every score, average, region and interval. The package knows neither models nor stores.
"""

from pear.metrics.accumulators import FieldAccumulator, ScoreAccumulator
from pear.metrics.bootstrap import Interval, bootstrap
from pear.metrics.ensemble import ENSEMBLE_NAMES, crps, energy_score, ensemble_sums
from pear.metrics.functional import acc, bias, mae, rmse
from pear.metrics.regions import BANDS, region_weights
from pear.metrics.scores import ENSEMBLE_SCORES, SCORES, score
from pear.metrics.statistics import STATISTICS
from pear.metrics.verification import verify_ensemble, verify_forecast

__all__ = [
    "BANDS",
    "ENSEMBLE_NAMES",
    "ENSEMBLE_SCORES",
    "SCORES",
    "STATISTICS",
    "FieldAccumulator",
    "Interval",
    "ScoreAccumulator",
    "acc",
    "bias",
    "bootstrap",
    "crps",
    "energy_score",
    "ensemble_sums",
    "mae",
    "region_weights",
    "rmse",
    "score",
    "verify_ensemble",
    "verify_forecast",
]
