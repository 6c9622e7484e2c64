"""Spread over skill of an evaluated ensemble."""

from __future__ import annotations

import numpy as np
import pytest

from pear.errors import InputError
from pear.rollout import Ensemble, MemberGroup, RandomFieldPerturbation
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pipelines.evaluation.calibration import measured_spread_skill
from pipelines.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate
from pipelines.forecasting.options import ForecastOptions
from tests.fixtures.evaluation import DAY, TEST, Fading


def test_the_ratio_is_that_of_the_scores(
    analysis: Analysis, climatology: Climatology, evaluation: Evaluation
) -> None:
    group = MemberGroup(Fading(), 5, RandomFieldPerturbation(analysis, DAY, 0.6))
    options = EvaluationOptions(model="fading", inits=TEST[40:43], lead_hours=48)
    many = evaluate(Fading(), analysis, climatology, options, ensemble=Ensemble([group]))
    asked = ForecastOptions(members=5, ensemble="random_field", perturbation_scale=0.6)
    found = measured_spread_skill(many, asked)
    assert (found.members, found.inits, found.lead_hours) == (5, 3, (24, 48))
    assert found.options == {
        "ensemble": "random_field",
        "perturbation_scale": 0.6,
        "perturb_steps": False,
    }
    here = many.scores.sel(forecaster="pear-ensemble", channel="z500").isel(region=0)
    np.testing.assert_allclose(found.ratios["z500"], here["spread_skill"], atol=5e-4)
    with pytest.raises(InputError, match="give --members"):
        measured_spread_skill(evaluation, asked)
