"""Variability of long forecasts: to blur and to blow up are both unstable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr

from pear.rollout import Persistence
from pear.state import State
from pear.store.analysis import Analysis
from pipelines.studies.comparison import read_results
from pipelines.studies.stability import (
    StabilityStudy,
    compare_soundness,
    compare_variability,
    measure,
)
from tests.fixtures.evaluation import LAYOUT, NSIDE, days, write_steady_analysis


class Scaling(Persistence):
    """Anomalies from the mean over the cells grow by a factor each day."""

    factor = 1.0

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        for day, state in enumerate(super().iterate(initial, steps), start=1):
            grown = [
                part.mean(-1, keepdim=True)
                + self.factor**day * (part - part.mean(-1, keepdim=True))
                for part in (state.surface, state.upper)
            ]
            yield State(grown[0], grown[1], state.valid_time, state.layout)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    path = tmp_path_factory.mktemp("stability") / "a.zarr"
    return Analysis(write_steady_analysis(path, days("2001-01-01", 45)), LAYOUT, NSIDE)


@pytest.mark.parametrize(("factor", "passes"), [(1.0, True), (0.97, False), (1.05, False)])
def test_forecasts_that_keep_the_variance_are_stable(
    analysis: Analysis, factor: float, passes: bool
) -> None:
    model = Scaling(LAYOUT, NSIDE)
    model.factor = factor
    inits = days("2001-01-01", 8)[::4]
    parts = [measure(model, analysis, init, [1, 10, 20]) for init in inits]
    report = compare_variability(xr.concat(parts, "forecaster"))
    assert report["field"].values.tolist() == ["z500", "u850", "t2m"]
    assert report["day"].values.tolist() == [1, 10, 20]
    assert bool(report["stable"].all()) is passes
    last = report["spread"].sel(field="z500", day=20)
    assert last == pytest.approx(factor**20, rel=0.1)


def test_each_init_time_is_a_trial(
    analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StabilityStudy, "forecaster", Scaling(LAYOUT, NSIDE))
    inits = days("2001-01-01", 8)[::4]
    study = StabilityStudy(
        folder=tmp_path, store=analysis.path, inits=inits, model=tmp_path, days=10, every=5
    )
    report = study.run()
    assert report["day"].values.tolist() == [1, 5, 10]
    assert report["stable"].all()
    assert report["sound"].all()
    assert report["reached"] == 10
    names = {"2001-01-01.nc", "2001-01-05.nc"}
    assert {path.name for path in tmp_path.glob("*.nc")} == names
    assert read_results(sorted(tmp_path.glob("*.nc"))).sizes["forecaster"] == 2
    assert (tmp_path / "stability.csv").read_text().startswith("day,field,band,")
    assert (tmp_path / "soundness.csv").read_text().startswith("quantity,day,departure,bound,sound")


class Warming(Persistence):
    """Every field grows by a share of itself each day."""

    share = 0.0

    def step(self, state: State) -> State:
        grown = state.map(lambda values: values * (1 + self.share))
        return state.advanced(grown.surface, grown.upper, self.time_step)


def test_a_drift_is_out_of_bounds_from_a_month_on(analysis: Analysis) -> None:
    model = Warming(LAYOUT, NSIDE)
    model.share = 1e-4  # 1.4 K in 50 days, and far less in spread
    report = compare_soundness(measure(model, analysis, days("2001-01-01", 1)[0], [10, 35]))
    drift = report["departure"].sel(quantity="mean_t2m")
    assert drift.values.tolist() == pytest.approx([0.285, 1.0], abs=0.06)
    assert report["sound"].sel(quantity="mean_t2m").values.tolist() == [True, False]


def test_a_forecast_that_leaves_the_physical_range_fails_and_says_when(analysis: Analysis) -> None:
    model = Warming(LAYOUT, NSIDE)
    model.share = 0.05
    found = measure(model, analysis, days("2001-01-01", 1)[0], [1, 20])
    assert 1 < found["reached"].item() < 10
    assert "far outside the valid range" in found["stopped"].item()
    assert compare_variability(found)["stable"].sel(day=20).any().item() is False
    assert compare_soundness(found)["sound"].sel(day=20, quantity="mean_t2m").item() is False
