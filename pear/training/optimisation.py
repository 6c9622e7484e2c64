"""How the learning rate runs over a training, and how weights are averaged."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pear.training.config import TrainingConfig


def rate(config: TrainingConfig, progress: float) -> float:
    """Learning rate at a progress in [0, 1]: linear warm-up, then constant or half a cosine."""
    if progress < config.warmup:
        return config.learning_rate * max(progress / config.warmup, 1e-3)
    if config.schedule == "constant":
        return config.learning_rate
    rest = min((progress - config.warmup) / (1.0 - config.warmup), 1.0)
    wave = 0.5 * (1.0 + math.cos(math.pi * rest))
    return config.learning_rate * (config.final_rate + (1.0 - config.final_rate) * wave)


class Average:
    """Exponential moving average of a model's weights.

    The decay grows as (1 + n)/(10 + n) up to its value, so that the first averages are not those
    of the initial weights.

    Parameters
    ----------
    model
        Whose floating-point parameters are averaged.
    decay
        Share of the old average kept at each step; 0 follows the weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the model's present weights into the average."""
        self.updates += 1
        kept = min(self.decay, (1.0 + self.updates) / (10.0 + self.updates))
        for name, parameter in model.named_parameters():
            self.weights[name].lerp_(parameter, 1.0 - kept)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights with the average; call again to undo."""
        for name, parameter in model.named_parameters():
            held = self.weights[name].clone()
            self.weights[name].copy_(parameter)
            parameter.copy_(held)

    def state_dict(self) -> dict[str, object]:
        """Return what a resume needs."""
        return {"updates": self.updates, "weights": self.weights}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take up where :meth:`state_dict` left off."""
        updates, weights = state["updates"], state["weights"]
        if not isinstance(updates, int) or not isinstance(weights, dict):
            raise ValueError("the resume state holds no weight average")
        self.updates = updates
        for name, value in weights.items():
            target: Tensor = self.weights[name]
            target.copy_(value)
