"""Losses in cases that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch

from pear.normaliser import Normaliser
from pear.training import Samples, TrainingConfig
from pear.training.losses import StepLoss
from pear.training.statistics import fit_normaliser
from tests.fixtures.training import LAYOUT, NSIDE, source


def test_persistence_has_a_loss_of_one() -> None:
    samples = Samples.from_source(source())
    normaliser = fit_normaliser(samples)
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
