"""The picture of equivariance: rotations rotate, and the measure tells exact from broken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.models.pear import Pear
from pear.sphere import healpix
from pear.sphere.symmetry import R, permutation
from pipelines.benchmarks.equivariance import (
    Rotation,
    measure_equivariance,
    random_models,
    smooth_fields,
)


def test_a_quarter_turn_is_the_permutation() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 12 * 8**2)))
    cells = torch.from_numpy(permutation(R, 8).copy())
    torch.testing.assert_close(Rotation(8, 90.0)(x), x[:, cells])


def test_rotation_moves_eastward() -> None:
    latitude, longitude = (np.radians(x) for x in healpix.centres(32))
    wave = torch.from_numpy(np.cos(latitude) ** 2 * np.cos(2 * longitude))
    moved = np.cos(latitude) ** 2 * np.cos(2 * (longitude - np.radians(21)))
    assert np.abs(Rotation(32, 21.0)(wave).numpy() - moved).max() < 5e-3


def test_smooth_fields_are_smooth_and_normal() -> None:
    fields = smooth_fields(16, 3, seed=1)
    np.testing.assert_allclose(fields.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(fields.std(axis=1), 1)
    step = fields[:, healpix.neighbours(16)[:, 0]] - fields
    assert (step.std(axis=1) < 0.5).all()


@pytest.fixture(scope="module")
def models() -> dict[str, Pear]:
    return random_models(nside=8)


def test_the_published_shift_fails_and_ours_is_at_rounding(models: dict[str, Pear]) -> None:
    report = measure_equivariance(models, step=180.0)
    assert report.angles == [180.0, 360.0]
    assert report.exact["published"]["R"] > 1e-3
    assert report.rotated["published"][0] > 1e-3
    for name in ("own, R", "own, C4h"):
        assert report.exact[name]["R"] == 0.0
        assert max(report.rotated[name]) < 1e-10
    assert report.exact["own, R"]["M"] > 1e-2
    assert report.exact["own, C4h"]["M"] < 1e-12
    assert report.exact["own, C4h"]["RM"] < 1e-12
    assert max(report.interpolation) < 1e-12


@pytest.mark.parametrize("step", [0.0, 400.0])
def test_steps_beyond_a_turn_are_refused(models: dict[str, Pear], step: float) -> None:
    with pytest.raises(InputError, match="step"):
        measure_equivariance(models, step=step)
