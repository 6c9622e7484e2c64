"""Baselines that are fitted on analyses of other years than those of the evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pear.counterfactual.chart import Chart, layer_shares
from pear.errors import InputError
from pear.progress import ProgressCallback, no_progress
from pear.rollout import ClimatologyForecaster, Persistence
from pear.rollout.statistical import (
    DampedPersistence,
    LinearInverseModel,
    StatisticalFit,
    anomaly_reader,
    coordinates,
    fit_persistence,
    fit_propagator,
)
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.times import to_iso
from pear.typing import Float32, Times

BASELINES: Final = (
    Persistence.name,
    ClimatologyForecaster.name,
    DampedPersistence.name,
    LinearInverseModel.name,
)
"""Names of the forecasters that a model is scored beside."""
DIRECTIONS: Final = 60
"""Patterns of the linear inverse model, unless the states are too few for so many."""
STATES_A_DIRECTION: Final = 20


@dataclass(frozen=True)
class BaselineOptions:
    """What the fitted baselines learn from.

    Attributes
    ----------
    period
        First and last time of the analyses, both included; none of the evaluation's may be in it.
    analysis
        Name of the analysis in the data folder; default: that of the evaluation.
    """

    period: tuple[np.datetime64, np.datetime64]
    analysis: str | None = None

    def about(self, analysis: str) -> dict[str, Any]:
        """Return the attributes of the scores."""
        return {
            "baseline_analysis": self.analysis or analysis,
            "baseline_period": [to_iso(end) for end in self.period],
        }


def fit_baselines(
    analysis: Analysis,
    climatology: Climatology,
    options: BaselineOptions,
    step: np.timedelta64,
    leads: int,
    tick: ProgressCallback = no_progress,
) -> StatisticalFit:
    """Fit damped persistence and a linear inverse model.

    Parameters
    ----------
    analysis, climatology
        On the same channels and grid.
    options
        Period of the analyses.
    step
        Time between two lead times.
    leads
        Number of lead times.
    tick
        Receives 1 after each time read.

    Returns
    -------
    StatisticalFit
        Anomalies are those from the climatology given; an InputError says that the period holds too
        few analyses, or none so far apart.
    """
    times = times_of(analysis, options)
    read = anomaly_reader(analysis.read, climatology)
    anomalies: dict[np.datetime64, Float32] = {}
    for time in times:
        anomalies[time] = read(time)
        tick(1, f"baselines {to_iso(time)[:10]}")
    persisting = fit_persistence(anomalies.__getitem__, times, step, leads)
    chart = Chart.fit(
        lambda index: anomalies[times[index]],
        times,
        analysis.layout,
        directions=max(1, min(DIRECTIONS, times.size // STATES_A_DIRECTION)),
        source=analysis.name,
    )
    root = np.sqrt(layer_shares(analysis.layout)).astype(np.float32)[:, None]
    patterns = chart.directions.numpy() * root
    scale = np.asarray(chart.scale.numpy() / root[:, 0], dtype=np.float32)
    rows = patterns.reshape(len(patterns), -1)
    z = np.concatenate(
        [coordinates(anomalies[time][None] / scale[:, None], rows) for time in times]
    )
    return StatisticalFit(
        layout=analysis.layout,
        nside=analysis.nside,
        time_step=step,
        persisting=persisting,
        directions=patterns,
        scale=scale,
        propagator=fit_propagator(z, times, step),
        about={
            "baseline_states": int(times.size),
            "baseline_patterns": len(patterns),
            "baseline_pattern_share": float(chart.share),
        },
    )


def times_of(analysis: Analysis, options: BaselineOptions) -> Times:
    """Return the times of the period; InputError if the analysis has none of them."""
    first, last = options.period
    times = analysis.times[(analysis.times >= first) & (analysis.times <= last)]
    if times.size == 0:
        raise InputError(
            f"analysis {analysis.name} has no time from {to_iso(first)} to {to_iso(last)}; it has "
            f"{to_iso(analysis.times[0])} to {to_iso(analysis.times[-1])}",
            field="--baseline-period",
            hint="choose years of that analysis, or name another with --baseline-analysis",
        )
    return times


def check_apart(options: BaselineOptions, inits: Times, longest: np.timedelta64) -> None:
    """Refuse to fit baselines on the times that they are scored on.

    Parameters
    ----------
    options
        Period of the fit.
    inits
        Init times of the evaluation.
    longest
        Longest lead time.

    Raises
    ------
    InputError
        If a forecast starts or ends in the period.
    """
    first, last = options.period
    inside = inits[(inits <= last) & (inits + longest >= first)]
    if inside.size:
        raise InputError(
            f"the baselines would be fitted on {to_iso(first)} to {to_iso(last)}, into which the "
            f"forecast from {to_iso(inside[0])} reaches",
            field="--baseline-period",
            hint="fit them on other years than those of --init",
        )
