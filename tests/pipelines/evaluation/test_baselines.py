"""Fitted baselines on weather whose memory is known: a(t + τ) = .8 a(t) + noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from distributed import Client

from pear.errors import InputError
from pear.rollout.statistical import (
    DampedPersistence,
    LinearInverseModel,
    StatisticalFit,
    anomaly_reader,
    coordinates,
    fit_persistence,
    fit_propagator,
)
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pipelines.evaluation import distribute
from pipelines.evaluation.accumulators import EvaluationDesign
from pipelines.evaluation.baselines import BaselineOptions, fit_baselines
from pipelines.evaluation.distribute import EvaluationSources, verify_distributed, with_baselines
from pipelines.evaluation.evaluate import EvaluationOptions, evaluate
from pipelines.evaluation.verify import verify
from service.cli.evaluate import worse_than_baselines
from tests.fixtures.evaluation import (
    DAY,
    LAYOUT,
    MEMORY,
    NSIDE,
    TEST,
    TRAIN,
    Fading,
    days,
    weather,
    write_analysis,
)

YEARS = days("1999-11-27", 400)
PERIOD = (YEARS[0], YEARS[-1])


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    folder = tmp_path_factory.mktemp("past")
    return Analysis(
        write_analysis(folder / "past.zarr", YEARS, weather(YEARS, seed=9)), LAYOUT, NSIDE
    )


@pytest.fixture(scope="module")
def fit(past: Analysis, climatology: Climatology) -> StatisticalFit:
    return fit_baselines(past, climatology, BaselineOptions(PERIOD), DAY, leads=3)


def test_the_memory_of_the_weather_is_found(fit: StatisticalFit) -> None:
    for lead, found in enumerate(fit.persisting, start=1):
        # The standard error of a slope of 400 days is .03 for a day and grows with the lead time.
        assert found.mean() == pytest.approx(MEMORY**lead, abs=0.02)
        assert found.std() < 0.03 + 0.02 * lead
    assert fit.about["baseline_states"] == 400
    assert fit.about["baseline_patterns"] == 20
    # Patterns that lead in a sample of noise persist a little longer there than the noise does.
    kept = np.abs(np.linalg.eigvals(fit.propagator))
    assert MEMORY - 0.05 < np.median(kept) < 1
    assert kept.max() < 1, "every pattern fades"


def test_slopes_equal_the_regression_of_each_pair(climatology: Climatology, past: Analysis) -> None:
    """Beside numpy's least squares, with a gap in the times."""
    read = anomaly_reader(past.read, climatology)
    times = np.delete(YEARS[:40], [7, 8, 21])
    found = fit_persistence(read, times, DAY, 2)
    for lead in (1, 2):
        starts = [t for t in times if t + lead * DAY in times]
        x = np.array([read(t)[2, 5] for t in starts], dtype=np.float64)
        y = np.array([read(t + lead * DAY)[2, 5] for t in starts], dtype=np.float64)
        slope = np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]
        assert found[lead - 1, 2, 5] == pytest.approx(slope, rel=1e-5)


def test_a_rotation_is_propagated(tmp_path: Path) -> None:
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    z = np.stack([np.linalg.matrix_power(turn, k) @ [1.0, 0.0] for k in range(9)])
    times = days("2001-01-01", 9)
    np.testing.assert_allclose(fit_propagator(z, times, DAY), turn, atol=1e-12)
    gap = np.delete(np.arange(9), 4)
    np.testing.assert_allclose(fit_propagator(z[gap], times[gap], DAY), turn, atol=1e-12)


def test_forecasts_are_the_climatology_and_what_is_left(
    past: Analysis, climatology: Climatology, fit: StatisticalFit
) -> None:
    state = State.from_channels(past.read(YEARS[9])[None], YEARS[9:10], LAYOUT)
    anomaly = anomaly_reader(past.read, climatology)(YEARS[9])
    surface, upper = climatology.at(YEARS[11:12])
    usual = np.concatenate([surface[0], upper[0].reshape(4, -1)])
    damped = list(DampedPersistence(fit, climatology).iterate(state, 2))[-1].to_channels()[0]
    np.testing.assert_allclose(damped, usual + fit.persisting[1] * anomaly, rtol=1e-5)
    linear = list(LinearInverseModel(fit, climatology).iterate(state, 2))[-1].to_channels()[0]
    rows = fit.directions.reshape(len(fit.directions), -1)
    scaled = anomaly / fit.scale[:, None]
    z = coordinates(scaled[None], rows)[0]
    again = coordinates((z.astype(np.float32) @ rows).reshape(1, -1), rows)[0]
    np.testing.assert_allclose(again, z, rtol=1e-4, atol=1e-4)
    left = np.linalg.matrix_power(fit.propagator, 2) @ z
    expected = usual + (left @ rows).reshape(scaled.shape) * fit.scale[:, None]
    np.testing.assert_allclose(linear, expected, rtol=1e-4)
    with pytest.raises(InputError, match="fitted for 3 lead times, not 4"):
        DampedPersistence(fit, climatology).iterate(state, 4)


def test_scores_stand_beside_the_others(
    past: Analysis, analysis: Analysis, climatology: Climatology
) -> None:
    options = EvaluationOptions(
        model="fading", inits=TEST[:20], lead_hours=72, baselines=BaselineOptions(PERIOD, "past")
    )
    found = evaluate(Fading(), analysis, climatology, options, fitted_on=past)
    names = [str(name) for name in found.scores["forecaster"].values]
    assert names == [
        "pear",
        "persistence",
        "climatology",
        "damped_persistence",
        "linear_inverse_model",
    ]
    z500 = found.scores["rmse"].sel(channel="z500", region="global")
    pear, lazy, mean, damped, _ = z500.transpose("forecaster", "prediction_timedelta").values
    assert (damped < lazy).all()
    assert (damped < mean).all()
    np.testing.assert_allclose(damped, pear, rtol=0.01)  # of this weather it is the best forecast
    assert found.about["baseline_analysis"] == "past"
    assert found.about["baseline_period"] == ["1999-11-27T00:00:00Z", "2000-12-30T00:00:00Z"]
    (line,) = worse_than_baselines([r for r in found.records if r["region"] == "global"])
    assert "of 15 pairs" in line
    assert "persistence 0, climatology 0" in line


def test_times_that_are_scored_are_not_fitted(
    past: Analysis, analysis: Analysis, climatology: Climatology
) -> None:
    def run(first: str, last: str, fitted_on: Analysis | None = None) -> None:
        period = (np.datetime64(first, "s"), np.datetime64(last, "s"))
        options = EvaluationOptions(
            model="m", inits=TEST[:2], lead_hours=48, baselines=BaselineOptions(period)
        )
        evaluate(Fading(), analysis, climatology, options, fitted_on=fitted_on)

    with pytest.raises(InputError, match="into which the forecast from 2002-03-01"):
        run("2001-01-01", "2002-03-01")
    with pytest.raises(InputError, match="has no time from 1990-01-01"):
        run("1990-01-01", "1991-01-01")
    with pytest.raises(InputError, match="needs at least 100"):
        run("2000-01-01", "2000-02-01", past)
    assert TRAIN[0] > YEARS[-1]


def test_workers_share_the_fit(
    analysis: Analysis,
    climatology: Climatology,
    fit: StatisticalFit,
    paths: tuple[Path, Path],
    scheduler: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    design = EvaluationDesign.build(LAYOUT, NSIDE, TEST[:6], DAY * np.arange(1, 4), ("global",))
    monkeypatch.setattr(distribute, "_open", lambda _: (Fading(), analysis, climatology))
    here = verify(
        design, with_baselines(Fading(), climatology, fit=fit), analysis, climatology, batch=2
    )
    with Client(scheduler) as client:  # type: ignore[no-untyped-call]
        there = verify_distributed(client, EvaluationSources(*paths), design, batch=1, fit=fit)
    assert list(there) == list(here)
    for name, sums in here.items():
        np.testing.assert_allclose(there[name].scores.values, sums.scores.values, rtol=1e-3)
