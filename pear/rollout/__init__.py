"""Forecasts: everything that turns a state into the states that follow it.

A :class:`Forecaster` yields one state per time step; :func:`rollout` drives any one-step model
and stops at a state that is not physical. PEAR and the two baselines of every score, persistence
and climatology, share the protocol; an :class:`Ensemble` steps several members of them.
"""

from pear.rollout.baselines import ClimatologyForecaster, ClimatologyLike, Persistence
from pear.rollout.ensemble import (
    Ensemble,
    MemberGroup,
    concat_states,
    ensemble_mean,
    ensemble_quantile,
    ensemble_spread,
    exceedance_probability,
    split_state,
    step_together,
)
from pear.rollout.forecaster import (
    Forecaster,
    OneStepForecaster,
    check_physical,
    rollout,
)
from pear.rollout.gradients import differentiable_rollout
from pear.rollout.installed import (
    ForecasterFactory,
    InstalledForecaster,
    list_installed,
    load_installed,
)
from pear.rollout.pear_forecaster import PearForecaster
from pear.rollout.perturbations import Noise, Perturbation, RandomFieldPerturbation

__all__ = [
    "ClimatologyForecaster",
    "ClimatologyLike",
    "Ensemble",
    "Forecaster",
    "ForecasterFactory",
    "InstalledForecaster",
    "MemberGroup",
    "Noise",
    "OneStepForecaster",
    "PearForecaster",
    "Persistence",
    "Perturbation",
    "RandomFieldPerturbation",
    "check_physical",
    "concat_states",
    "differentiable_rollout",
    "ensemble_mean",
    "ensemble_quantile",
    "ensemble_spread",
    "exceedance_probability",
    "list_installed",
    "load_installed",
    "rollout",
    "split_state",
    "step_together",
]
