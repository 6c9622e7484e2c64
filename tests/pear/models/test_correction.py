"""The correction after each step: filter, bias and floor, and how a checkpoint keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import pear
from pear.errors import InputError
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.correction import Correction, CorrectionConfig, describe_correction
from pear.models.diagnostics import representations
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from pear.rollout import PearForecaster
from pear.sphere.harmonics import synthesis
from pear.sphere.healpix import centres
from pear.sphere.symmetry import Element
from pear.state import State
from pear.variables import Layout

NSIDE, CELLS = 4, 192
LAYOUT = Layout(
    ("2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind"),
    ("specific_humidity", "u_component_of_wind", "v_component_of_wind"),
    (850, 500),
)
CONFIG = PearConfig(
    nside=NSIDE, layout=LAYOUT, embed=8, depths=(1,) * 4, heads=(1,) * 4, patch=4, forcings=()
)
TIME = np.array(["2001-04-01"], dtype="datetime64[s]")
FILTER = CorrectionConfig(degree=6, strength=1.0, order=2)


def random_fields(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    surface = 280.0 + torch.randn(1, 3, CELLS, generator=generator)
    return surface, 1.0 + 0.1 * torch.randn(1, 3, 2, CELLS, generator=generator)


def test_each_degree_is_damped_by_itself_and_what_is_above_the_highest_goes() -> None:
    surface, upper = random_fields()
    table = torch.tensor(synthesis(NSIDE, 8)).float()
    for degree, left in ((0, 1.0), (2, None), (6, np.exp(-1.0)), (8, 0.0)):
        wave = table[:, degree * degree + degree]
        given = surface.clone()
        given[0, 0] = 280.0 + wave
        after, _ = Correction(FILTER, LAYOUT, NSIDE)(given, upper, TIME)
        left = np.exp(-((2 * 3 / 42) ** 2)) if left is None else left
        want = 280.0 + left * wave
        # Degree 8 is not orthogonal to the others on the cells, but nearly so.
        torch.testing.assert_close(after[0, 0], want, rtol=0, atol=0.1 if degree == 8 else 2e-4)


def test_winds_are_vectors() -> None:
    """A rotation about an axis through the equator is of degree 1; its components are not."""
    lat, lon = (np.radians(axis) for axis in centres(NSIDE))
    east, north = -np.sin(lat) * np.cos(lon), np.sin(lon)
    surface, upper = random_fields()
    surface[0, 1:] = torch.from_numpy(10 * np.stack([east, north])).float()
    upper[0, 1:, 1] = torch.from_numpy(30 * np.stack([east, north])).float()
    after = Correction(FILTER, LAYOUT, NSIDE)(surface, upper, TIME)
    left = float(FILTER.damping()[1])
    torch.testing.assert_close(after[0][:, 1:], left * surface[:, 1:], rtol=0, atol=1e-4)
    torch.testing.assert_close(after[1][:, 1:, 1], left * upper[:, 1:, 1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("element", [Element(1), Element(0, mirror=True), Element(3, mirror=True)])
def test_the_filter_keeps_the_symmetries_of_the_grid(element: Element) -> None:
    correction, fields = Correction(FILTER, LAYOUT, NSIDE), random_fields()
    moves = representations(CONFIG)[:2]
    moved = [move.act(element, part) for move, part in zip(moves, fields, strict=True)]
    first = [
        move.act(element, part) for move, part in zip(moves, correction(*fields, TIME), strict=True)
    ]
    for one, other in zip(first, correction(*moved, TIME), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-3)


def test_humidity_stays_at_or_above_zero_and_keeps_its_mean() -> None:
    surface, upper = random_fields()
    upper[0, 0, 0] -= 0.95
    upper[0, 0, 1] -= 2.0  # its mean is below the floor
    assert (upper[:, 0] < 0).any()
    plain = Correction(CorrectionConfig(degree=8, strength=0.0), LAYOUT, NSIDE)
    after = plain(surface, upper, TIME)[1][:, 0]
    assert (after >= 0).all()
    assert after[0, 0].mean() == pytest.approx(float(upper[0, 0, 0].mean()), rel=1e-4)
    assert (after[0, 1] == 0).all()


def test_the_bias_follows_the_season_of_the_valid_time() -> None:
    config = CorrectionConfig(degree=4, strength=0.0, bias_degree=2, harmonics=1, seasonal_degree=0)
    correction = Correction(config, LAYOUT, NSIDE)
    unit = (4 * np.pi) ** 0.5  # of the coefficient of degree 0
    state = {name: value.clone() for name, value in correction.state_dict().items()}
    state["scale"][0] = 2.0
    state["mean"][0, 0], state["season"][0, 0, 0] = 0.5 * unit, 0.25 * unit
    correction.load_state_dict(state)
    surface, upper = torch.full((2, 3, CELLS), 280.0), torch.ones(2, 3, 2, CELLS)
    times = np.array(["2001-01-01", "2001-07-02T14:54"], dtype="datetime64[s]")
    after = correction(surface, upper, times)[0][:, 0].mean(dim=-1)
    assert after.tolist() == pytest.approx([280 - 1.5, 280 - 0.5], abs=1e-3)


def test_a_correction_has_gradients() -> None:
    surface, upper = (part.requires_grad_() for part in random_fields())
    after = Correction(FILTER, LAYOUT, NSIDE)(surface, upper, TIME)
    (after[0].square().sum() + after[1].square().sum()).backward()  # type: ignore[no-untyped-call]
    assert all(part.grad is not None and part.grad.abs().sum() > 0 for part in (surface, upper))


def saved(folder: Path, correction: Correction | None) -> checkpoint.Checkpoint:
    torch.manual_seed(0)
    normaliser = Normaliser.identity(LAYOUT)
    return checkpoint.save(folder, Pear(CONFIG), normaliser, {}, correction=correction)


def with_bias() -> Correction:
    config = CorrectionConfig(degree=6, bias_degree=3, harmonics=1, seasonal_degree=1)
    correction = Correction(config, LAYOUT, NSIDE, {"period": ["2007-01-01", "2007-12-31"]})
    state = {name: value.clone() for name, value in correction.state_dict().items()}
    state["mean"][0, 2], state["scale"][0] = 0.5, 3.0
    correction.load_state_dict(state)
    return correction


def test_a_checkpoint_keeps_its_correction_and_forecasts_with_it(tmp_path: Path) -> None:
    plain = saved(tmp_path / "plain", None)
    found = saved(tmp_path / "corrected", with_bias())
    assert found.id != plain.id
    assert found.correction is not None
    assert found.correction.config == with_bias().config
    for name, value in with_bias().state_dict().items():
        torch.testing.assert_close(found.correction.state_dict()[name], value)
    state = State(*random_fields(), TIME, LAYOUT)
    network = PearForecaster(plain).step(state)
    after = PearForecaster(found).step(state)
    want = with_bias()(network.surface, network.upper, network.valid_time)
    torch.testing.assert_close(after.surface, want[0])
    torch.testing.assert_close(after.upper, want[1])
    assert not torch.allclose(after.surface, network.surface, atol=0.1)
    without = PearForecaster(found, correct=False).step(state)
    torch.testing.assert_close(without.surface, network.surface, rtol=0, atol=0)


def test_forecasts_say_how_they_were_corrected(tmp_path: Path) -> None:
    saved(tmp_path / "m", with_bias())
    corrected = pear.load_model(tmp_path / "m", device="cpu")
    assert "2007-01-01 to 2007-12-31 removed" in corrected.attributes()["correction"]
    without = pear.load_model(tmp_path / "m", device="cpu", correct=False)
    assert without.attributes()["correction"] == "none: switched off"
    assert describe_correction(None, applied=True) == "none"


def test_a_correction_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="degree 9 does not fit nside 4"):
        Correction(CorrectionConfig(degree=9), LAYOUT, NSIDE)
    with pytest.raises(InputError, match="strength -1 of the correction"):
        CorrectionConfig(degree=4, strength=-1)
    alone = Layout(("10m_v_component_of_wind",), (), ())
    with pytest.raises(InputError, match="lacks its component 10m_u"):
        Correction(FILTER, alone, NSIDE)
    saved(tmp_path / "m", with_bias())
    path = tmp_path / "m" / checkpoint.DOCUMENT
    document = json.loads(path.read_text())
    assert document["format"] == checkpoint.CORRECTED
    for broken in (7, {"config": {"degree": 6, "sharpness": 1}}, {"config": {}}):
        given = {k: v for k, v in document.items() if k != "sha256"} | {"correction": broken}
        payload = (tmp_path / "m" / checkpoint.TENSORS).read_bytes()
        given["sha256"] = checkpoint._digest(payload, given)
        path.write_text(json.dumps(given))
        with pytest.raises(InputError, match="correction"):
            checkpoint.load(tmp_path / "m")
