"""Learning-rate schedule and the moving average of the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pear.training.config import TrainingConfig

Tensors = tuple[Tensor, ...] | list[Tensor]


def learning_rate(config: TrainingConfig, progress: float) -> float:
    """Return the learning rate: a linear warm-up, then constant or half a cosine.

    Parameters
    ----------
    config
        Schedule.
    progress
        Fraction of the training that is done.

    Returns
    -------
    float
        Learning rate of the next step.

    Examples
    --------
    >>> learning_rate(TrainingConfig(steps=100, learning_rate=1e-3, warmup=0.1), 0.05)
    0.0005
    """
    if progress < config.warmup:
        return config.learning_rate * max(progress / config.warmup, 1e-3)
    if config.schedule == "constant":
        return config.learning_rate
    rest = min((progress - config.warmup) / (1.0 - config.warmup), 1.0)
    wave = 0.5 * (1.0 + math.cos(math.pi * rest))
    return config.learning_rate * (config.final_rate + (1.0 - config.final_rate) * wave)


def averaged_model(model: nn.Module, decay: float) -> AveragedModel:
    """Copy a model as an exponential moving average of its weights.

    The decay grows as (1 + n)/(10 + n) with the number of updates n up to its value, so that the
    first averages do not remember the initial weights.

    Parameters
    ----------
    model
        Network in training.
    decay
        Fraction of the old average kept at each update; 0 follows the weights.

    Returns
    -------
    torch.optim.swa_utils.AveragedModel
        Updated by ``update_parameters(model)``; its ``module`` holds the averaged weights.

    Examples
    --------
    >>> from pear.training.optimisation import averaged_model
    >>> model = nn.Linear(1, 1, bias=False)
    >>> average = averaged_model(model, decay=0.0)
    >>> _ = nn.init.ones_(model.weight)
    >>> average.update_parameters(model)
    >>> average.module.weight.item()
    1.0
    """

    @torch.no_grad()
    def update(averages: Tensors, weights: Tensors, count: Tensor | int) -> None:
        kept = min(decay, float((1 + count) / (10 + count)))
        torch._foreach_lerp_(averages, weights, 1.0 - kept)

    average = AveragedModel(model, multi_avg_fn=update)
    average.n_averaged += 1  # the initial weights count as the first ones
    return average
