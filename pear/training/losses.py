"""Losses on standardised fields: the published one, and the squared error of the tendency."""

from __future__ import annotations

from torch import Tensor, nn

from pear.normaliser import Normaliser
from pear.training.config import TrainingConfig
from pear.typing import TensorPair
from pear.variables import BY_NAME


class StepLoss(nn.Module):
    """Loss of one predicted state, standardised as its target.

    ``published``: mean|Δupper| + w·mean|Δsurface|, w = 0.25 (arXiv 2505.17720, section 3).
    ``tendency``: mean over channels of mean(Δ²)·std²/step_std², the squared error in units of the
    variance of each channel's change over one step. Slow and fast channels then count alike, and
    persistence has a loss of 1.

    Parameters
    ----------
    config
        Name of the loss and its surface weight.
    normaliser
        Statistics of the fields.

    Examples
    --------
    >>> import torch
    >>> from pear.training.losses import StepLoss
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), ("temperature",), (850,))
    >>> loss = StepLoss(TrainingConfig(loss="published", steps=1), Normaliser.identity(layout))
    >>> target = torch.zeros(1, 1, 12), torch.zeros(1, 1, 1, 12)
    >>> loss(target, target).item(), loss((target[0] + 1, target[1] + 1), target).item()
    (0.0, 1.25)
    """

    surface_scale: Tensor
    upper_scale: Tensor

    def __init__(self, config: TrainingConfig, normaliser: Normaliser) -> None:
        super().__init__()
        self.name = config.loss
        self.read_only = [
            [place for place, name in enumerate(names) if BY_NAME[name].forcing]
            for names in (normaliser.layout.surface, normaliser.layout.upper)
        ]
        surface, channels = len(normaliser.layout.surface), len(normaliser.layout.channels)
        if config.loss == "published":
            weight = 0.25 if config.surface_weight is None else config.surface_weight
            self.weights = (weight, 1.0)
        else:
            weight = 1.0 if config.surface_weight is None else config.surface_weight
            total = weight * surface + (channels - surface)
            self.weights = (weight * surface / total, (channels - surface) / total)
        self.register_buffer(
            "surface_scale", (normaliser.surface_std / normaliser.surface_step_std)[:, None]
        )
        self.register_buffer(
            "upper_scale", (normaliser.upper_std / normaliser.upper_step_std)[..., None]
        )

    def forward(self, predicted: TensorPair, target: TensorPair) -> Tensor:
        """Return the loss of (batch, surface, cell) and (batch, upper, level, cell) fields."""
        differences = [p.float() - t for p, t in zip(predicted, target, strict=True)]
        for place, read_only in enumerate(self.read_only):
            if read_only:  # forcings are not predicted
                differences[place] = differences[place].clone()
                differences[place][:, read_only] = 0.0
        if self.name == "published":
            parts = [difference.abs().mean() for difference in differences]
        else:
            scales = (self.surface_scale, self.upper_scale)
            scaled = (d * scale for d, scale in zip(differences, scales, strict=True))
            parts = [difference.square().mean() for difference in scaled]
        return self.weights[0] * parts[0] + self.weights[1] * parts[1]
