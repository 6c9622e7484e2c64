"""The benchmark of a step: its products, its kinds of step, and its errors."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from pear.errors import InputError
from pipelines.benchmarks.step import Stepper, Task, count_flop, measure_model


@pytest.mark.parametrize("network", ["pear", "reference"])
def test_a_published_step_takes_29_gflop(network: Literal["pear", "reference"]) -> None:
    assert count_flop(Task(network)) == pytest.approx(29.4e9, rel=1e-3)


def test_training_takes_three_times_the_products_of_a_step() -> None:
    forward, training = (count_flop(Task(nside=8, train=train)) for train in (False, True))
    assert 2.5 * forward < training < 3 * forward


def test_steps_run_forward_and_in_training_and_in_half_precision() -> None:
    for settings in ({"train": True}, {"dtype": "bfloat16"}, {"train": True, "dtype": "bfloat16"}):
        changes = {"depths": (1, 1, 1, 1)}
        stepper = Stepper(
            Task(config="small", changes=changes, nside=8, keep_memory=False, **settings)  # type: ignore[arg-type]
        )
        before = [p.detach().clone() for p in stepper.model.parameters()]
        assert stepper.step() > 0
        after = list(stepper.model.parameters())
        moved = any(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
        assert moved == settings.get("train", False)


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(InputError, match="width"):
        measure_model(Task(changes={"width": 3}, nside=32), repetitions=1)
