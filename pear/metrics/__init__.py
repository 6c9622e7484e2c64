"""Scores as functions of mergeable means (the structure of WeatherBench-X).

A *statistic* is computed per cell, its weighted *sum* over cells is stored by (init, lead,
channel, region), and every *score* is a function of those sums: one pass over the data answers
every score, average, region and interval. This room knows neither model nor roll-out.
"""

from pear.metrics.fields import acc, bias, mae, rmse
from pear.metrics.scores import SCORES, score
from pear.metrics.statistics import STATISTICS, Array
from pear.metrics.sums import Channel, ScoreSums

__all__ = [
    "SCORES",
    "STATISTICS",
    "Array",
    "Channel",
    "ScoreSums",
    "acc",
    "bias",
    "mae",
    "rmse",
    "score",
]
