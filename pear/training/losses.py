"""Losses on standardised fields: the published one, and squared error of the tendency."""

from __future__ import annotations

from torch import Tensor, nn

from pear.normaliser import Normaliser
from pear.training.config import TrainingConfig

Fields = tuple[Tensor, Tensor]


class StepLoss(nn.Module):
    """Loss of one predicted state against the truth, both standardised.

    ``published``: mean|Δupper| + w·mean|Δsurface|, w = 0.25 (arXiv 2505.17720, section 3).
    ``tendency``: mean over channels of mean(Δ²)·std²/step_std², that is, squared error in units of
    the variance of each channel's change over one step: what a slow and a fast channel cost is
    then alike, and a forecast of no change costs 1.

    Parameters
    ----------
    config
        Which loss and its surface weight.
    normaliser
        The statistics behind the units.
    """

    surface_scale: Tensor
    upper_scale: Tensor

    def __init__(self, config: TrainingConfig, normaliser: Normaliser) -> None:
        super().__init__()
        self.kind = config.loss
        layout = normaliser.layout
        surface = len(layout.surface)
        channels = len(layout.channels)
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

    def forward(self, predicted: Fields, truth: Fields) -> Tensor:
        """Return the loss of (batch, surface, cell) and (batch, upper, level, cell) fields."""
        differences = [(p.float() - t) for p, t in zip(predicted, truth, strict=True)]
        if self.kind == "published":
            parts = [difference.abs().mean() for difference in differences]
        else:
            scales = (self.surface_scale, self.upper_scale)
            parts = [
                (difference * scale).square().mean()
                for difference, scale in zip(differences, scales, strict=True)
            ]
        return self.weights[0] * parts[0] + self.weights[1] * parts[1]
