"""The chart: variance that is put in is found, round trips, files, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pear.counterfactual.chart import FILE, Chart, fit_chart, layer_shares
from pear.errors import InputError
from pear.store.analysis import Analysis
from pear.variables import Layout
from tests.fixtures.linear_weather import climate, start

LAYOUT = Layout(("2m_temperature",), ("temperature",), (850, 500))
TIMES = np.arange("2001-01-01", "2002-01-01", dtype="datetime64[D]").astype("datetime64[s]")
CELLS, SEASON = 48, np.array([10.0, 8.0, 5.0])


@pytest.fixture(scope="module")
def patterns() -> np.ndarray:
    """Two patterns (direction, channel, cell), orthogonal by mass in standard deviations."""
    rng = np.random.default_rng(0)
    flat, _ = np.linalg.qr(rng.normal(size=(3 * CELLS, 2)))
    return flat.T.reshape(2, 3, CELLS)


@pytest.fixture(scope="module")
def states(patterns: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    phase = 2 * np.pi * np.arange(365) / 365
    season = SEASON[:, None] * np.cos(phase)[:, None, None]
    z = rng.normal(size=(365, 2)) * [3.0, 2.0]
    noise = 0.01 * rng.normal(size=(365, 3, CELLS))
    return 280 + season + np.einsum("td,dcx->tcx", z, patterns) * 10 + noise


@pytest.fixture(scope="module")
def chart(states: np.ndarray) -> Chart:
    return Chart.fit(states.__getitem__, TIMES, LAYOUT, directions=2, source="made up")


def test_patterns_are_found_and_the_season_is_not_among_them(
    chart: Chart, states: np.ndarray, patterns: np.ndarray
) -> None:
    assert chart.share > 0.999
    climatology = chart.mean(TIMES[0])
    assert torch.allclose(
        climatology, torch.tensor(280 + SEASON, dtype=torch.float32)[:, None], atol=3
    )
    changes = torch.from_numpy(patterns * 10).float()
    for change in changes:
        back = chart.change(chart.encode(change))
        assert float((back - change).norm() / change.norm()) < 0.01
    z = torch.stack(
        [
            chart.encode(torch.from_numpy(s).float() - chart.mean(t))
            for s, t in zip(states, TIMES, strict=True)
        ]
    )
    assert torch.allclose(z.T @ z / 365, torch.eye(2), atol=0.05)


def test_coordinates_go_around(chart: Chart) -> None:
    z = torch.tensor([1.3, -0.4])
    assert torch.allclose(chart.encode(chart.change(z)), z, atol=1e-4)
    assert chart.warning is not None
    assert "fitted on 365 states" in chart.warning
    assert climate().warning is None


def test_the_metric_is_weighted_by_mass(chart: Chart) -> None:
    shares = layer_shares(LAYOUT)
    assert shares.sum() == pytest.approx(1)
    one = torch.zeros(3, CELLS)
    one[2] = chart.scale[2]  # one standard deviation at 500 hPa
    assert float(chart.weighted(one).square().sum()) == pytest.approx(CELLS * shares[2], rel=1e-5)


def test_a_chart_is_written_and_read(chart: Chart, tmp_path: Path) -> None:
    assert chart.save(tmp_path).name == FILE
    found = Chart.load(tmp_path)
    assert (found.layout, found.share, found.period) == (chart.layout, chart.share, chart.period)
    assert torch.equal(found.directions, chart.directions)
    assert [file.name for file in tmp_path.iterdir()] == [FILE]
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-100])
    with pytest.raises(InputError, match=f"chart .*{FILE} is damaged"):
        Chart.load(tmp_path)
    with pytest.raises(InputError, match="has no chart of its climate"):
        Chart.load(tmp_path / "other")


def test_charts_of_too_few_or_unfit_states_are_refused(states: np.ndarray, chart: Chart) -> None:
    def fit(count: int, values: np.ndarray = states, **options: int) -> Chart:
        return Chart.fit(values.__getitem__, TIMES[:count], LAYOUT, **options)

    with pytest.raises(InputError, match="has 25 states, a chart needs at least 100"):
        fit(25)
    with pytest.raises(InputError, match=r"120 times .* cannot determine 2 harmonics"):
        fit(120)
    with pytest.raises(InputError, match="40 directions cannot be fitted on 365 states"):
        fit(365, directions=40)
    with pytest.raises(InputError, match="2m_temperature of analysis never changes"):
        fit(365, np.full((365, 3, CELLS), 280.0))
    with pytest.raises(InputError, match="values that are not finite"):
        fit(365, np.where(states > 290, np.nan, states))
    with pytest.raises(InputError, match="no climatology at 6 UTC"):
        chart.mean(np.datetime64("2001-01-01T06"))
    with pytest.raises(InputError, match="has 3 channels at nside 2, the model has 3 at nside 4"):
        chart.check_fits(LAYOUT, 4)


def test_an_analysis_gives_a_chart(chart: Chart, states: np.ndarray) -> None:
    class Few(Analysis):
        def __init__(self) -> None:
            self.times, self.layout, self.name = TIMES, LAYOUT, "made up"

        def read(self, time: np.datetime64) -> np.ndarray:  # type: ignore[override]
            return states[int(np.flatnonzero(time == TIMES)[0])]

    counted: list[float] = []
    found = fit_chart(Few(), 2, lambda advance=1, note="": counted.append(advance))
    assert torch.equal(found.directions, chart.directions)
    assert sum(counted) == 365


def test_a_state_of_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="the chart of linear has 5 channels"):
        climate().check_fits(LAYOUT, start().nside)
