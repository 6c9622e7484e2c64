"""Losses, statistics, sample order, averages and augmentation against slow, plain twins."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from pear.normaliser import Normaliser
from pear.sphere.healpix import centres
from pear.training import Samples, TrainingConfig
from pear.training.losses import StepLoss
from pear.training.optimisation import Average, rate
from pear.training.samples import batches
from pear.training.statistics import measure
from tests.fixtures.training import CONFIG, LAYOUT, NSIDE, network, source, trainer


def test_statistics_equal_numpy_over_everything() -> None:
    data = source(40)
    found = measure(Samples.of(data))
    fields = data.upper[:-1].astype(np.float64)
    np.testing.assert_allclose(found.upper_mean, fields.mean(axis=(0, 3)), rtol=1e-6)
    np.testing.assert_allclose(found.upper_std, fields.std(axis=(0, 3)), rtol=1e-5)
    change = np.diff(data.surface.astype(np.float64), axis=0)
    np.testing.assert_allclose(found.surface_step_std, change.std(axis=(0, 2)), rtol=1e-5)


def test_a_forecast_of_no_change_costs_one() -> None:
    samples = Samples.of(source())
    normaliser = measure(samples)
    loss = StepLoss(TrainingConfig(steps=1), normaliser)
    surface, upper = (torch.from_numpy(part) for part in (source().surface, source().upper))
    now, then = normaliser(surface[:-1], upper[:-1]), normaliser(surface[1:], upper[1:])
    assert float(loss(now, then)) == pytest.approx(1.0, rel=1e-3)


def test_published_loss_is_l1_with_a_quarter_of_the_surface() -> None:
    normaliser = Normaliser.identity(LAYOUT)
    loss = StepLoss(TrainingConfig.published(steps=1), normaliser)
    cells = 12 * NSIDE**2
    zero = (torch.zeros(1, 2, cells), torch.zeros(1, 2, 2, cells))
    off = (torch.full((1, 2, cells), 2.0), torch.full((1, 2, 2, cells), -3.0))
    assert float(loss(off, zero)) == pytest.approx(3.0 + 0.25 * 2.0)


def test_tendency_loss_weighs_channels_by_their_own_change() -> None:
    ones = torch.ones(2)
    normaliser = Normaliser(
        LAYOUT,
        ones,
        ones * 10.0,
        torch.ones(2, 2),
        torch.ones(2, 2) * 10.0,
        torch.tensor([1.0, 5.0]),
        torch.ones(2, 2) * 2.0,
    )
    loss = StepLoss(TrainingConfig(steps=1), normaliser)
    cells = 12 * NSIDE**2
    zero = (torch.zeros(1, 2, cells), torch.zeros(1, 2, 2, cells))
    off = (torch.full((1, 2, cells), 0.1), torch.full((1, 2, 2, cells), 0.1))
    # 0.1 deviations are 1 K: squared in units of the steps 1, 1/5 and four times 1/2.
    assert float(loss(off, zero)) == pytest.approx((1.0 + 0.04 + 4 * 0.25) / 6.0)


def test_an_epoch_sees_every_sample_once_and_goes_on_where_it_stopped() -> None:
    first = list(itertools.islice(batches(10, 3, seed=1), 7))
    epoch = np.concatenate([which for number, which in first if number == 0])
    assert epoch.size == 9
    assert np.unique(epoch).size == 9
    assert not np.array_equal(first[0][1], first[3][1])
    later = list(itertools.islice(batches(10, 3, seed=1, first=5), 2))
    for (a, x), (b, y) in zip(first[5:], later, strict=True):
        assert a == b
        np.testing.assert_array_equal(x, y)


def test_ranks_share_out_each_batch() -> None:
    alone = [which for _, which in itertools.islice(batches(12, 4, 0), 3)]
    pair = [
        [which for _, which in itertools.islice(batches(12, 2, 0, rank=r, world=2), 3)]
        for r in (0, 1)
    ]
    for whole, *parts in zip(alone, *pair, strict=True):
        assert set(whole) == set(np.concatenate(parts))


def test_rate_warms_up_and_falls_as_a_cosine() -> None:
    config = TrainingConfig(steps=1, learning_rate=1.0, warmup=0.1, final_rate=0.1)
    assert rate(config, 0.05) == pytest.approx(0.5)
    assert rate(config, 0.1) == pytest.approx(1.0)
    assert rate(config, 0.55) == pytest.approx(0.55)
    assert rate(config, 1.0) == pytest.approx(0.1)
    assert rate(TrainingConfig.published(steps=1), 0.7) == 5e-4


def test_average_is_the_exponential_one() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    average = Average(layer, 0.5)
    expected = 0.0
    for step in range(1, 6):
        torch.nn.init.constant_(layer.weight, float(step))
        average.update(layer)
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * step
    assert float(average.weights["weight"]) == pytest.approx(expected)
    average.swap(layer)
    assert float(layer.weight.detach()) == pytest.approx(expected)
    average.swap(layer)
    assert float(layer.weight.detach()) == 5.0


def test_augmentation_moves_winds_and_seasons_as_the_mirror_does(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.normaliser.surface_mean[1] = 3.0  # a northward wind that is not zero in the mean
    batch = run.maker.make(*run.train.read(np.arange(16)))
    moved = run.maker.augment(batch, seed=0, number=0)
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
    batch = run.maker.make(*run.train.read(np.array([4])))
    plain = float(run._rolled(batch).detach())
    seen = set()
    for number in range(12):
        moved = run.maker.augment(batch, 0, number)
        assert batch.forcing is not None
        assert moved.forcing is not None
        kept = torch.equal(moved.forcing[0, 0, 2], batch.forcing[0, 0, 2])
        same = abs(float(run._rolled(moved).detach()) - plain) < 1e-5 * plain
        if kept:  # a rotation: this model keeps it exactly
            assert same
        seen.add((kept, same))
    assert (False, False) in seen  # the mirror it does not keep, so the test can fail


def test_network_of_the_small_world_starts_as_persistence() -> None:
    samples = Samples.of(source())
    model, normaliser = network(samples)
    surface, upper, times = samples.read(np.array([0, 7]))
    now = normaliser(torch.from_numpy(surface[:, 0]), torch.from_numpy(upper[:, 0]))
    out = model(*now, model.forcing(times[:, 0]))
    torch.testing.assert_close(out[1], now[1])
