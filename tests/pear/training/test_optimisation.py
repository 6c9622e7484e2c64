"""The learning-rate schedule and the moving average of the weights."""

from __future__ import annotations

import pytest
import torch

from pear.training import TrainingConfig
from pear.training.optimisation import averaged_model, learning_rate


def test_learning_rate_warms_up_and_falls_as_a_cosine() -> None:
    config = TrainingConfig(steps=1, learning_rate=1.0, warmup=0.1, final_rate=0.1)
    assert learning_rate(config, 0.05) == pytest.approx(0.5)
    assert learning_rate(config, 0.1) == pytest.approx(1.0)
    assert learning_rate(config, 0.55) == pytest.approx(0.55)
    assert learning_rate(config, 1.0) == pytest.approx(0.1)
    assert learning_rate(TrainingConfig.published(steps=1), 0.7) == 5e-4


@pytest.mark.parametrize("decay", [0.5, 0.0])
def test_average_is_exponential_with_a_growing_decay(decay: float) -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    average = averaged_model(layer, decay)
    expected = 0.0
    for step in range(1, 6):
        torch.nn.init.constant_(layer.weight, float(step))
        average.update_parameters(layer)
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * step
    assert average.module.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 5.0
