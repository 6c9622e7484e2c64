"""Evaluations of a data set whose scores are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.metrics import acc, bias, mae, rmse
from pear.metrics.dataset import KEYS
from pear.rollout import Ensemble, MemberGroup, RandomFieldPerturbation
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pipelines.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate
from pipelines.evaluation.scores import read_scores
from tests.fixtures.evaluation import DAY, MEMORY, TEST, Fading, usual, weather


def pick(data: xr.Dataset, forecaster: str, day: int, channel: str = "z500") -> xr.Dataset:
    lead = np.timedelta64(day, "D")
    return data.sel(
        forecaster=forecaster, channel=channel, region="global", prediction_timedelta=lead
    )


def test_every_combination_is_there_once_and_finite(evaluation: Evaluation) -> None:
    records = evaluation.records
    keys = {tuple(record[key] for key in KEYS) for record in records}
    assert len(keys) == len(records) == 3 * 5 * 3 * 2
    for record in records:
        assert all(np.isfinite(record[s]) for s in ("acc", "rmse", "mae", "bias"))
        assert record["init_times"] == 57
    assert {r["forecaster"] for r in records if r["note"]} == {"climatology"}
    assert all(r["acc"] == 0 for r in records if r["forecaster"] == "climatology")


def test_scores_equal_their_definitions_on_the_whole_arrays(evaluation: Evaluation) -> None:
    fields, climate = weather(TEST), usual(TEST)
    n, lead, channel = 57, 2, 2
    truth, c = fields[lead : n + lead, channel], climate[lead : n + lead, channel]
    start = fields[:n, channel]
    forecasts = {
        "pear": c + MEMORY**lead * (start - climate[:n, channel]),
        "persistence": start,
        "climatology": c,
    }
    for name, f in forecasts.items():
        found = pick(evaluation.scores, name, lead)
        assert found["rmse"] == pytest.approx(rmse(f, truth), rel=1e-4)
        assert found["mae"] == pytest.approx(mae(f, truth), rel=1e-4)
        assert found["bias"] == pytest.approx(bias(f, truth), abs=0.05)
        if name != "climatology":
            assert found["acc"] == pytest.approx(acc(f, truth, c), rel=1e-4)


def test_skill_equals_theory(evaluation: Evaluation) -> None:
    """With memory a: ACC aᵏ for both forecasts, RMSE σ√(1−a²ᵏ) and σ√(2−2aᵏ)."""
    for day in (1, 2, 3):
        fade = MEMORY**day
        best, lazy, mean = (
            pick(evaluation.scores, name, day) for name in ("pear", "persistence", "climatology")
        )
        assert best["acc"] == pytest.approx(fade, abs=0.04)
        assert mean["rmse"] == pytest.approx(600, rel=0.04)
        assert best["rmse"] == pytest.approx(600 * np.sqrt(1 - fade**2), rel=0.05)
        assert lazy["rmse"] == pytest.approx(600 * np.sqrt(2 - 2 * fade), rel=0.05)


def test_batches_do_not_change_the_scores(analysis: Analysis, climatology: Climatology) -> None:
    one, four = (
        evaluate(
            Fading(),
            analysis,
            climatology,
            EvaluationOptions(
                model="fading",
                inits=TEST[:7],
                lead_hours=48,
                batch=batch,
                regions=("global", "tropics"),
            ),
        )
        for batch in (1, 4)
    )
    np.testing.assert_allclose(four.scores["sums"], one.scores["sums"], rtol=1e-6)
    assert one.id == four.id


def test_a_folder_is_written_whole_and_replaced(evaluation: Evaluation, tmp_path: Path) -> None:
    folder = tmp_path / evaluation.id
    evaluation.write(folder)
    about = Evaluation(folder.name, read_scores(folder)).about
    assert about == evaluation.about
    assert (about["model"], about["climatology"]) == ("fading", "usual")
    assert about["climatology_kind"] == "harmonic"
    assert about["inits"][0] == "2002-03-01T00:00:00Z"
    assert len(about["inits"]) == 57
    assert len(list(folder.glob("*.png"))) == 5
    evaluation.write(folder, plots=False)
    assert [p.name for p in tmp_path.iterdir()] == [evaluation.id], "nothing is left over"
    assert not list(folder.glob("*.png"))


def test_an_ensemble_is_scored_beside_its_single_forecast(
    analysis: Analysis, climatology: Climatology
) -> None:
    inits = TEST[30:50]
    group = MemberGroup(Fading(), 9, RandomFieldPerturbation(analysis, DAY, 0.6))
    found = evaluate(
        Fading(),
        analysis,
        climatology,
        EvaluationOptions(model="fading", inits=inits, lead_hours=72),
        ensemble=Ensemble([group]),
    )
    assert found.about["members"] == 9
    for day in (1, 3):
        single, many = (pick(found.scores, name, day) for name in ("pear", "pear-ensemble"))
        # Pairs of opposite sign leave the mean of this linear forecaster unchanged.
        assert many["rmse"] == pytest.approx(float(single["rmse"]), rel=1e-3)
        assert many["crps"] < single["mae"], "spread makes the CRPS smaller than the error"
        ratio = float(many["spread"] / many["rmse"])
        assert many["spread_skill"] == pytest.approx(ratio, rel=1e-6)
        assert np.isnan(single["crps"])
    fading = [float(pick(found.scores, "pear-ensemble", day)["spread"]) for day in (1, 3)]
    assert fading[1] / fading[0] == pytest.approx(MEMORY**2, rel=1e-3)


def test_impossible_verifications_are_refused(analysis: Analysis, climatology: Climatology) -> None:
    def run(inits: list[str] | None, hours: int = 72) -> None:
        times = None if inits is None else np.array(inits, dtype="datetime64[s]")
        options = EvaluationOptions(model="m", inits=times, lead_hours=hours)
        evaluate(Fading(), analysis, climatology, options)

    with pytest.raises(InputError, match=r"init time 2002-02-01T00:00:00Z is not in analysis test"):
        run(["2002-02-01"])
    with pytest.raises(InputError, match=r"init 2002-04-28T00:00:00Z, step 2, 2002-04-30"):
        run(["2002-03-01", "2002-04-28"])
    with pytest.raises(InputError, match="strictly increasing"):
        run(["2002-03-02", "2002-03-01"])
    with pytest.raises(InputError, match="30 h is not a multiple of the 24 h model step"):
        run(None, 30)
    with pytest.raises(InputError, match="has no init time with 2400 h"):
        run(None, 2400)
    short = analysis.inits(3 * DAY, DAY)
    assert (short[0], short[-1]) == (TEST[0], TEST[56])
