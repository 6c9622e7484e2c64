"""Batches are standardised, and augmentation acts as the group does on the sphere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pear.sphere.healpix import centres
from pear.training import Samples
from tests.fixtures.training import CONFIG, NSIDE, network, source, trainer


def test_augmentation_moves_winds_and_seasons_as_the_mirror_does(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.normaliser.surface_mean[1] = 3.0  # a northward wind that is not zero in the mean
    batch = run.batches.build(*run.train.read(np.arange(16)))
    moved = run.batches.augment(batch, seed=0, number=0)
    assert batch.forcing is not None
    assert moved.forcing is not None
    lat = torch.from_numpy(np.sin(np.radians(centres(NSIDE)[0]))).float()
    names = CONFIG.forcings
    mirrored = 0
    for index in range(16):
        # Whatever the element, the sine of latitude is again the sine of latitude.
        torch.testing.assert_close(moved.forcing[index, 0, names.index("sin_latitude")], lat)
        season = batch.forcing[index, :, names.index("cos_year"), 0]
        new = moved.forcing[index, :, names.index("cos_year"), 0]
        sign = 1.0 if torch.equal(season, new) else -1.0
        torch.testing.assert_close(new, sign * season)
        mirrored += sign < 0
        states = [run.normaliser.inverse(*(p[index] for p in b.at(0))) for b in (batch, moved)]
        for channel, odd in ((0, False), (1, True)):
            before, after = (state[0][channel].sort().values for state in states)
            wanted = (-before).sort().values if odd and sign < 0 else before
            torch.testing.assert_close(after, wanted)
    assert 3 < mirrored < 13


def test_a_rotated_sample_costs_an_equivariant_model_the_same(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    with torch.no_grad():
        for p in run.model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))
    batch = run.batches.build(*run.train.read(np.array([4])))
    plain = float(run.rollout_loss(batch, run.model).detach())
    seen = set()
    for number in range(12):
        moved = run.batches.augment(batch, 0, number)
        assert batch.forcing is not None
        assert moved.forcing is not None
        kept = torch.equal(moved.forcing[0, 0, 2], batch.forcing[0, 0, 2])
        same = abs(float(run.rollout_loss(moved, run.model).detach()) - plain) < 1e-5 * plain
        if kept:  # a rotation: this model keeps it exactly
            assert same
        seen.add((kept, same))
    assert (False, False) in seen  # the mirror it does not keep, so the test can fail


def test_network_of_the_small_world_starts_as_persistence() -> None:
    samples = Samples.from_source(source())
    model, normaliser = network(samples)
    surface, upper, times = samples.read(np.array([0, 7]))
    now = normaliser(torch.from_numpy(surface[:, 0]), torch.from_numpy(upper[:, 0]))
    out = model(*now, model.forcing(times[:, 0]))
    torch.testing.assert_close(out[1], now[1])
