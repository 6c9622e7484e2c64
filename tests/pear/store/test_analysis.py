"""States read from a store are the fields that were written, or a clear refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.state import State
from pear.variables import Layout
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.forecast_writer import ForecastWriter

NSIDE = 4
T0 = np.datetime64("2001-01-01T00", "s")
H6 = np.timedelta64(6, "h")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    path = tmp_path_factory.mktemp("states") / "a.zarr"
    rng = np.random.default_rng(1)
    surface = rng.normal(size=(3, 4, 12 * NSIDE**2)).astype("f4")
    upper = rng.normal(size=(3, 5, 13, 12 * NSIDE**2)).astype("f4")
    with AnalysisWriter(path, Layout.default(), NSIDE) as writer:
        writer.append(T0 + np.arange(3) * H6, surface, upper)
    return path, surface, upper


def test_state_in_published_order(stored: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, surface, upper = stored
    state = State.from_store(path, "2001-01-01T06")
    assert state.layout == Layout.default()
    assert state.valid_time.tolist() == [(T0 + H6).tolist()]
    assert np.array_equal(state.surface[0], surface[1])
    assert np.array_equal(state.upper[0], upper[1])


def test_any_layout_and_several_times(stored: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, surface, upper = stored
    layout = Layout(("2m_temperature",), ("v_component_of_wind", "geopotential"), (500, 1000))
    states = State.from_store(path, [T0 + 2 * H6, T0], layout)
    assert np.array_equal(states.surface[:, 0], surface[[2, 0], 3])
    level = [Layout.default().levels.index(500), Layout.default().levels.index(1000)]
    assert np.array_equal(states.upper, upper[[2, 0]][:, [4, 0]][:, :, level])


def test_a_finer_store_is_averaged(stored: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, surface, _ = stored
    state = State.from_store(path, T0, nside=2)
    want = surface[0].reshape(4, 48, 4).mean(-1)
    scalars = [0, 3]  # winds are averaged as vectors, see test_coarse
    np.testing.assert_allclose(state.surface[0, scalars], want[scalars], atol=1e-6)


def test_refusals(stored: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    path, surface, _ = stored
    with pytest.raises(InputError, match=r"no state at 2001-01-01T01.*nearest is 2001-01-01T00"):
        State.from_store(path, "2001-01-01T01")
    with pytest.raises(InputError, match="coarser than the requested nside 8"):
        State.from_store(path, T0, nside=8)
    with pytest.raises(InputError, match="lacks the levels 10 hPa"):
        State.from_store(path, T0, Layout(levels=(1000, 10)))
    with pytest.raises(InputError, match="no store at"):
        State.from_store(tmp_path / "none.zarr", T0)
    partial = tmp_path / "wind.zarr"
    layout = Layout(("10m_u_component_of_wind",), (), ())
    with AnalysisWriter(partial, layout, NSIDE) as writer:
        writer.append(T0, surface[:1, :1], np.zeros((1, 0, 0, 12 * NSIDE**2)))
    with pytest.raises(InputError, match="lacks mean_sea_level_pressure"):
        State.from_store(partial, T0, Layout.default())
    forecast = ForecastWriter(tmp_path / "f.zarr", layout, NSIDE, T0, [H6])
    forecast.write_step(0, surface[0, :1], np.zeros((0, 0, 12 * NSIDE**2)))
    forecast.publish()
    with pytest.raises(InputError, match="holds forecasts"):
        State.from_store(tmp_path / "f.zarr", T0)
