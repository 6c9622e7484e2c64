"""A state refuses to exist in a bad shape, and says which rule it breaks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.normaliser import Normaliser
from pear.state import State
from pear.variables import Layout

SMALL = Layout(
    surface=("2m_temperature",), upper=("geopotential", "temperature"), levels=(850, 500)
)


def make(nside: int = 4, batch: int = 2) -> State:
    cells = 12 * nside**2
    surface = torch.full((batch, 1, cells), 288.0)
    upper = torch.stack([torch.full((2, cells), 5e4), torch.full((2, cells), 260.0)])
    times = np.array(["2001-03-01", "2001-03-02"][:batch], "datetime64[ns]")
    return State(surface, upper.expand(batch, -1, -1, -1).clone(), times, SMALL)


def test_a_good_state_knows_itself() -> None:
    state = make()
    assert (state.nside, state.batch) == (4, 2)
    assert state.valid_time.dtype == np.dtype("datetime64[s]")
    assert [(n, lev) for n, lev, _ in state.fields()] == list(SMALL.channels)
    later = state.advanced(state.surface, state.upper, np.timedelta64(24, "h"))
    assert later.valid_time[0] == np.datetime64("2001-03-02T00:00:00")


@pytest.mark.parametrize("axis", ["surface", "upper", "valid_time"])
def test_a_wrong_shape_is_named(axis: str) -> None:
    good = make()
    parts = {"surface": good.surface, "upper": good.upper, "valid_time": good.valid_time}
    parts[axis] = parts[axis][:1] if axis != "surface" else torch.zeros(2, 3, 192)
    with pytest.raises(InputError, match=f"state.{axis} has shape"):
        State(parts["surface"], parts["upper"], parts["valid_time"], SMALL)  # type: ignore[arg-type]


def test_cells_must_be_a_healpix_grid() -> None:
    with pytest.raises(ValueError, match="100 cells do not form a full HEALPix grid"):
        State(torch.zeros(1, 1, 100), torch.zeros(1, 2, 2, 100), np.array(["2001"], "M8[s]"), SMALL)


def test_values_that_are_not_finite_are_named_with_level_and_time() -> None:
    state = make()
    state.upper[1, 0, 1, 7] = float("nan")
    with pytest.raises(InputError, match=r"geopotential at 500 hPa has 1 values.*2001-03-02"):
        state.check_finite()
    assert make().check_finite().batch == 2


def test_normaliser_goes_there_and_back() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, std = torch.randn(4, generator=generator), torch.rand(4, generator=generator) + 0.5
    umean = torch.randn(5, 13, generator=generator)
    ustd = torch.rand(5, 13, generator=generator) + 0.5
    normaliser = Normaliser(Layout.default(), mean, std, umean, ustd)
    surface = torch.randn(3, 4, 48, generator=generator)
    upper = torch.randn(3, 5, 13, 48, generator=generator)
    s, u = normaliser(surface, upper)
    assert torch.allclose(s[1, 2], (surface[1, 2] - mean[2]) / std[2])
    assert torch.allclose(u[1, 2, 7], (upper[1, 2, 7] - umean[2, 7]) / ustd[2, 7])
    back_s, back_u = normaliser.inverse(s, u)
    torch.testing.assert_close(back_s, surface)
    torch.testing.assert_close(back_u, upper)


@pytest.mark.parametrize(
    ("std", "message"), [(0.0, "must be positive"), (float("nan"), "not finite")]
)
def test_bad_statistics_are_refused(std: float, message: str) -> None:
    good = Normaliser.identity(SMALL)
    with pytest.raises(InputError, match=f"surface_std.*{message}"):
        Normaliser(SMALL, good.surface_mean, torch.tensor([std]), good.upper_mean, good.upper_std)
    with pytest.raises(InputError, match="shape"):
        Normaliser(SMALL, torch.zeros(2), torch.ones(2), good.upper_mean, good.upper_std)
