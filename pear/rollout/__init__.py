"""Forecasts in time: anything that turns a state into the states that follow it.

A :class:`Forecaster` yields one state per step; :func:`rollout` drives any one-step model and
refuses to go on from a state that is not weather. PEAR and the two baselines that every score is
shown beside, persistence and climatology, share the protocol.
"""

from pear.rollout.baselines import ClimatologyForecaster, ClimatologyLike, Persistence
from pear.rollout.ensemble import Ensemble, Perturb, concat_states
from pear.rollout.forecaster import Forecaster, check_physical, rollout
from pear.rollout.pear_forecaster import PearForecaster
from pear.rollout.perturbations import Noise, perturb, split_state

__all__ = [
    "ClimatologyForecaster",
    "ClimatologyLike",
    "Ensemble",
    "Forecaster",
    "Noise",
    "PearForecaster",
    "Persistence",
    "Perturb",
    "check_physical",
    "concat_states",
    "perturb",
    "rollout",
    "split_state",
]
