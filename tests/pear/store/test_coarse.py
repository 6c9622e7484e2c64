"""Winds on a coarser grid against analytic flows, through what reads and writes stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pear
from pear.sphere.vectors import Frames, cell_frames
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.coarse import coarsen_field
from pear.variables import Layout
from pipelines.evaluation.climatology import HarmonicFit, build_climatology
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.check import check_store
from pipelines.storage.forecast_writer import ForecastWriter

LAYOUT = Layout(
    ("10m_u_component_of_wind", "10m_v_component_of_wind", "2m_temperature"),
    ("u_component_of_wind", "v_component_of_wind"),
    (850, 500),
)
FINE, COARSE = 16, 8
TIME = np.datetime64("2001-01-01", "s")
DAY = np.timedelta64(86_400, "s")
AXES = {"solid body": (0.0, 0.0, 1.0), "across the poles": (0.6, -0.8, 0.0)}
"""Axis of a rotation of the whole atmosphere, 20 m/s at its equator."""


def flow(axis: tuple[float, ...], nside: int) -> tuple[np.ndarray, np.ndarray]:
    """Eastward and northward components at the centres of the cells."""
    frames: Frames = cell_frames(nside)
    place = frames.positions()
    return frames.from_cartesian(20.0 * np.cross(np.array(axis), place.T).T)


def state(axis: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    u, v = (part.astype(np.float32) for part in flow(axis, FINE))
    return np.stack([u, v, np.full_like(u, 280.0)]), np.stack([[u, 2 * u], [v, 2 * v]])


@pytest.fixture(params=AXES, scope="module")
def axis(request: pytest.FixtureRequest) -> tuple[float, ...]:
    return AXES[request.param]


@pytest.fixture(scope="module")
def store(axis: tuple[float, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coarse") / "flow.zarr"
    surface, upper = state(axis)
    with AnalysisWriter(path, LAYOUT, FINE, overviews=(COARSE,), shard_times=4) as writer:
        times = TIME + 30 * DAY * np.arange(13)
        writer.append(times, np.stack([surface] * 13), np.stack([upper] * 13))
    return path


def close(u: np.ndarray, v: np.ndarray, axis: tuple[float, ...]) -> None:
    """The mean of the four cells is the flow at their centre, but for the curvature."""
    wanted = flow(axis, COARSE)
    off = np.hypot(u - wanted[0], v - wanted[1])
    assert off.max() < 0.12, "of 20 m/s; .77 m/s if components are averaged by themselves"


def test_components_by_themselves_are_wrong_at_the_pole() -> None:
    u, v = flow(AXES["across the poles"], FINE)
    wanted = flow(AXES["across the poles"], COARSE)
    off = [coarsen_field("temperature", part, COARSE) for part in (u, v)]
    assert np.hypot(off[0] - wanted[0], off[1] - wanted[1]).max() > 0.7


def test_an_analysis_is_read_coarser(store: Path, axis: tuple[float, ...]) -> None:
    for source in (store, pear.open_analysis(store)):
        fields = Analysis(source, LAYOUT, COARSE).read(TIME)
        close(fields[0], fields[1], axis)
        close(fields[3], fields[5], axis)
        close(fields[4] / 2, fields[6] / 2, axis)
        alone = Layout((), ("v_component_of_wind",), (500,))
        (only,) = Analysis(source, alone, COARSE).read(TIME)
        np.testing.assert_array_equal(only, fields[6])


def test_an_initial_state_is_read_coarser(store: Path, axis: tuple[float, ...]) -> None:
    surface, _ = State.from_store(store, TIME, LAYOUT, COARSE).to_arrays()
    close(surface[0, 0], surface[0, 1], axis)


def test_overviews_of_an_analysis(store: Path, axis: tuple[float, ...]) -> None:
    coarse = pear.open_analysis(store, nside=COARSE)
    for place in (0, 5):
        one = coarse.isel(time=place)
        close(one[LAYOUT.names[0]].values, one[LAYOUT.names[1]].values, axis)
        u, v = (one[name].sel(level=850).values for name in LAYOUT.upper)
        close(u, v, axis)
    assert not check_store(store).findings


def test_a_replaced_time_and_a_lone_component_keep_the_overviews_true(
    store: Path, tmp_path: Path, axis: tuple[float, ...]
) -> None:
    path = tmp_path / "lone.zarr"
    surface, _ = state(axis)
    alone = Layout(LAYOUT.surface[:1], (), ())
    both = Layout(LAYOUT.surface, (), ())
    with AnalysisWriter(path, alone, FINE, overviews=(COARSE,)) as writer:
        writer.append(TIME, surface[None, :1], np.empty((1, 0, 0, surface.shape[-1])))
    assert not check_store(path).findings
    with AnalysisWriter(path, both, FINE) as writer, writer.transaction(replaced=[0]) as changes:
        changes.start, changes.stop = 0, 1
        for row, name in enumerate(both.surface):
            changes.write(name, surface[None, row])
    assert not check_store(path).findings
    one = pear.open_analysis(path, nside=COARSE).isel(time=0)
    close(one[LAYOUT.names[0]].values, one[LAYOUT.names[1]].values, axis)


@pytest.mark.parametrize("statistic", [None, "spread"])
def test_overviews_of_a_forecast(
    tmp_path: Path, axis: tuple[float, ...], statistic: str | None
) -> None:
    path, leads = tmp_path / "run.zarr", DAY * np.arange(2)
    about = {} if statistic is None else {"pear_statistic": statistic}
    writer = ForecastWriter(path, LAYOUT, FINE, TIME, leads, about, (COARSE,))
    for index in range(2):
        writer.write_step(index, *state(axis))
    writer.publish()
    assert not check_store(path).findings
    coarse = pear.store.reader.open_store(path, nside=COARSE).isel(time=0, prediction_timedelta=1)
    u, v = (coarse[name].values for name in LAYOUT.names[:2])
    if statistic is None:
        close(u, v, axis)
    else:  # the components of a spread are no vector
        np.testing.assert_array_equal(u, coarsen_field("temperature", state(axis)[0][0], COARSE))


def test_a_climatology_is_read_coarser(
    store: Path, tmp_path: Path, axis: tuple[float, ...]
) -> None:
    build_climatology(store, tmp_path / "usual.zarr", fit=HarmonicFit(1, bits=None))
    usual = pear.open_climatology(tmp_path / "usual.zarr", nside=COARSE)
    surface, _ = usual.at(TIME)
    names = usual.layout.surface
    close(*(surface[0, names.index(name)] for name in LAYOUT.surface[:2]), axis)
