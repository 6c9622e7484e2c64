"""Comparisons of networks over init times and seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pear.metrics import ScoreAccumulator, bootstrap
from pear.metrics.bootstrap import bootstrap_seeds
from pipelines.studies.comparison import (
    combine,
    compare,
    labelled_sums,
    read_results,
    select_sums,
    write_results,
)

DAY = np.timedelta64(86_400, "s")


def sums(offset: float, seed: int = 0) -> ScoreAccumulator:
    """Sums of forecasts of t2m with a constant error and noise."""
    rng = np.random.default_rng(seed)
    inits = np.datetime64("2001-01-01", "s") + 5 * DAY * np.arange(30)
    table = ScoreAccumulator(inits, np.array([DAY]), (("2m_temperature", None),))
    for init in inits:
        analysis = rng.normal(size=(1, 50))
        error = offset + 0.1 * rng.normal(size=(1, 50))
        table.add(init, DAY, analysis + error, analysis, np.zeros((1, 50)))
    return table


def test_intervals_over_one_seed_are_those_over_init_times_and_widen_with_more() -> None:
    one, two = sums(1.0), sums(2.0, 1)
    score, interval = bootstrap_seeds([one], "rmse")
    plain = bootstrap(one, "rmse")
    assert score[0, 0, 0] == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose([interval.low, interval.high], [plain.low, plain.high])
    _, wide = bootstrap_seeds([one, two], "rmse")
    assert (wide.low < 1.05, wide.high > 1.95) == (True, True)
    gap, far = bootstrap_seeds([two], "rmse", [one])
    assert gap[0, 0, 0] == pytest.approx(1.0, abs=0.05)
    assert far.excludes_zero.all()
    paired, near = bootstrap_seeds([one, two], "rmse", [one, two])
    assert not np.any([paired, near.low, near.high])
    with pytest.raises(ValueError, match="cannot be paired"):
        bootstrap_seeds([one, two], "rmse", [one])
    with pytest.raises(ValueError, match="cannot be pooled over seeds"):
        bootstrap_seeds([one], "acc_per_init")


def test_results_are_found_by_their_labels(tmp_path: Path) -> None:
    for seed in (0, 1):
        rows = {f"{name} {seed}": sums(size, seed) for name, size in (("a", 1.0), ("b", 2.0))}
        labels = {"arm": ["a", "b"], "seed": [seed, seed]}
        write_results(labelled_sums(rows, labels), tmp_path / f"{seed}.nc")
    results = read_results([tmp_path / "0.nc", tmp_path / "1.nc"])
    found = select_sums(results, arm="b")
    assert sorted(found) == [0, 1]
    np.testing.assert_array_equal(found[1].values, sums(2.0, 1).values)
    assert select_sums(results, arm="c") == {}
    assert select_sums(read_results([])) == {}


def test_comparisons_are_selected_by_label() -> None:
    one, two = sums(1.0), sums(2.0, 1)
    report = combine(
        [compare([two], [one], arm="far"), compare([one], [one], arm="base")],
        arm=["base", "none", "far"],
    )
    assert report["arm"].values.tolist() == ["base", "far"]
    far = report.sel(arm="far", score="rmse", field="t2m", day=1)
    assert far["difference"] == pytest.approx(1.0, abs=0.05)
    assert far["difference"] == pytest.approx(float(far["value"] - far["reference"]))
    assert far["low"] < far["difference"] < far["high"]
    assert (far["seeds"], far["inits"]) == (1, 30)
    assert (report.sel(arm="base")["difference"] == 0).all()
