"""Long roll-outs beside the analyses: to blur or to blow up is to fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pear.rollout import Persistence
from pear.state import State
from pear.store.analysis import Analysis
from pipelines.studies.stability import measure, stable
from tests.fixtures.evaluation import LAYOUT, NSIDE, days, write_analysis


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
    return Analysis(write_analysis(path, days("2001-01-01", 40)), LAYOUT, NSIDE)


@pytest.mark.parametrize(("factor", "passes"), [(1.0, True), (0.97, False), (1.05, False)])
def test_who_keeps_the_variance_passes(analysis: Analysis, factor: float, passes: bool) -> None:
    model = Scaling(LAYOUT, NSIDE)
    model.factor = factor
    rows = measure(model, analysis, days("2001-01-01", 8)[::4], days=20, every=10)
    assert {(row.field, row.day) for row in rows} == {
        (field, day) for field in ("z500", "u850", "t2m") for day in (1, 10, 20)
    }
    assert stable(rows) is passes
    last = next(row for row in rows if (row.field, row.day) == ("z500", 20))
    assert last.spread == pytest.approx(factor**20, rel=0.1)
    assert last.power["planetary"] == pytest.approx(factor**40, rel=0.35)
