"""Adapters to earth2studio, with that package's own runner, persistence and random source."""

from __future__ import annotations

import inspect
import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.rollout import OneStepForecaster, Persistence
from pear.rollout.earth2studio import Earth2StudioForecaster, PearPrognostic
from pear.rollout.latlon_bridge import LatLonBridge
from pear.sphere.latlon import global_grid
from pear.sphere.source_grids import area_shares
from pear.state import State
from pear.variables import Layout
from tests.fixtures.healpix_sources import flow, warmth

LAYOUT = Layout(("2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind"), (), ())
GRID = global_grid(37, 72)
NAMES = ["u10m", "t2m", "v10m"]
START = np.datetime64("2019-01-01", "s")


def points() -> np.ndarray:
    """Return temperature and a wind across the poles, (channel, point), in PEAR's order."""
    lat, lon = (part.ravel() for part in np.meshgrid(GRID.lat, GRID.lon, indexing="ij"))
    return np.stack([warmth(lat, lon), *flow(lat, lon)]).astype("f4")


class Model:
    """A prognostic model that warms by one kelvin per six hours, on a grid of its own."""

    def __init__(self, names: list[str] = NAMES, leads: int = 1) -> None:
        self.names, self.leads = names, leads

    def input_coords(self) -> OrderedDict[str, Any]:
        lead = np.arange(1 - self.leads, 1) * np.timedelta64(6, "h")
        axes = {"batch": np.empty(0), "lead_time": lead, "variable": np.array(self.names)}
        return OrderedDict(axes | {"lat": GRID.lat, "lon": GRID.lon})

    def output_coords(self, coords: OrderedDict[str, Any]) -> OrderedDict[str, Any]:
        return OrderedDict(
            coords | {"lead_time": coords["lead_time"][-1:] + np.timedelta64(6, "h")}
        )

    def __call__(self, x: torch.Tensor, coords: Any) -> Any:
        x = x.clone()
        x[..., self.names.index("t2m"), :, :] += 1
        return x, self.output_coords(coords)


def test_steps_do_not_smooth_again() -> None:
    forecaster = Earth2StudioForecaster(Model(), nside=16, name="warming")
    assert (forecaster.layout, forecaster.time_step) == (LAYOUT, np.timedelta64(6, "h"))
    cells = forecaster.bridge.to_cells(points())
    initial = State.from_channels(cells[None], START, LAYOUT)
    first, *_, last = forecaster.iterate(initial, 8)
    assert last.valid_time[0] == START + np.timedelta64(48, "h")
    np.testing.assert_allclose(last.surface[0, 0], first.surface[0, 0] + 7, atol=2e-4)
    np.testing.assert_allclose(last.surface[0, 1:], first.surface[0, 1:], atol=1e-5)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Model([*NAMES, "tcwv"]), "needs tcwv, which is not a variable of PEAR"),
        (Model([*NAMES, "z500", "z850", "t500"]), "temperature at other levels.*850 hPa"),
        (Model(leads=2), "needs 2 initial states"),
    ],
)
def test_what_does_not_fit_is_named(model: Model, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Earth2StudioForecaster(model, nside=8, name="other")


def test_the_way_there_and_back_keeps_means_and_its_error_is_small() -> None:
    fields, area = points(), area_shares(GRID)
    coarse, fine = (LatLonBridge(LAYOUT, nside, GRID) for nside in (8, 32))
    cells = fine.to_cells(fields)
    back = fine.to_grid(cells)
    assert abs(float(cells[0].mean()) - float((back[0] * area).sum())) < 0.02
    assert (fine.error(fields) < [0.05, 0.06, 0.06]).all(), fine.error(fields)
    assert (coarse.error(fields) > 2 * fine.error(fields)).all()


class Warming(OneStepForecaster):
    name, layout, nside, time_step = "warming", LAYOUT, 16, np.timedelta64(86_400, "s")

    def step(self, state: State) -> State:
        surface = state.surface.clone()
        surface[:, 0] += 1
        return state.advanced(surface, state.upper, self.time_step)


def test_a_forecaster_steps_on_the_grid_of_others() -> None:
    model = PearPrognostic(Warming(), GRID)
    coords = model.input_coords()
    del coords["batch"]
    coords = OrderedDict({"ensemble": np.arange(2), "time": np.array([START])} | coords)
    x = torch.from_numpy(points().reshape(1, 1, 1, 3, *GRID.shape)).repeat(2, 1, 1, 1, 1, 1)
    stream = model.create_iterator(x, coords)
    first, (following, after), (_, later) = next(stream), next(stream), next(stream)
    assert torch.equal(first[0], x)
    assert after["lead_time"] == np.timedelta64(1, "D")
    assert later["lead_time"] == np.timedelta64(2, "D")
    difference = following[0, 0, 0] - x[0, 0, 0]
    assert float((difference[0] - 1).abs().max()) < 0.8
    assert float(difference[1:].abs().max()) < 0.8
    assert torch.equal(model(x, coords)[0], following)
    with pytest.raises(ValueError, match="another variable"):
        model(x, OrderedDict(coords | {"variable": coords["variable"][::-1]}))


def plain_stack(_: int = 1) -> list[inspect.FrameInfo]:
    """Return the frames of the caller without looking for their source, which takes 0.1 s each."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        code = frame.f_code
        found.append(
            inspect.FrameInfo(frame, code.co_filename, frame.f_lineno, code.co_name, None, None)
        )
        frame = frame.f_back  # type: ignore[assignment]
    return found


@pytest.mark.slow
def test_the_runner_and_the_sources_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("earth2studio")
    # The package asks for the stack once for each of its optional classes when it is imported.
    with monkeypatch.context() as patch:
        patch.setattr(inspect, "stack", plain_stack)
        run = pytest.importorskip("earth2studio.run", exc_type=ImportError)
    from earth2studio.data import Random
    from earth2studio.io import XarrayBackend
    from earth2studio.models.px import Persistence as Theirs
    from earth2studio.models.px import PrognosticModel

    domain = OrderedDict({"lat": GRID.lat, "lon": GRID.lon})
    ours = PearPrognostic(Persistence(LAYOUT, nside=8), GRID)
    assert isinstance(ours, PrognosticModel)
    io = run.deterministic(
        ["2019-01-01"], 2, ours, Random(domain), XarrayBackend({}), verbose=False
    )
    warm = np.asarray(io.root["t2m"])
    assert warm.shape == (1, 3, *GRID.shape)
    np.testing.assert_allclose(warm[0, 2], warm[0, 1], atol=1e-6)

    forecaster = Earth2StudioForecaster(Theirs(NAMES, domain), nside=8, name="theirs")
    initial = State.from_channels(forecaster.bridge.to_cells(points())[None], START, LAYOUT)
    *_, last = forecaster.iterate(initial, 4)
    assert last.valid_time[0] == START + np.timedelta64(24, "h")
    np.testing.assert_allclose(last.surface[0, 0], initial.surface[0, 0], atol=1.0)
