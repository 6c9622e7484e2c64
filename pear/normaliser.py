"""Standardisation by one mean and standard deviation per channel and level, and its inverse."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pear.errors import InputError
from pear.typing import TensorPair
from pear.variables import Layout


class Normaliser(nn.Module):
    """Maps fields in physical units to zero mean and unit variance, and back.

    ``(x - mean) / std`` with statistics over training time and cells, as in the published PEAR
    (arXiv 2505.17720, section 3). The statistics are buffers and are saved with a checkpoint.

    Parameters
    ----------
    layout
        Names of the channels.
    surface_mean, surface_std
        (surface variable,), units of each variable.
    upper_mean, upper_std
        (upper variable, level), units of each variable.
    surface_step_std, upper_step_std
        Standard deviation of the change over one model step, same shapes and units; the scale of
        a residual model's output. Default: the standard deviations.

    Raises
    ------
    InputError
        If a shape does not fit the layout, a statistic is not finite, or a deviation not positive.

    Examples
    --------
    >>> normaliser = Normaliser.identity(Layout.default())
    >>> normaliser.upper_std.shape
    torch.Size([5, 13])
    """

    surface_mean: Tensor
    surface_std: Tensor
    upper_mean: Tensor
    upper_std: Tensor
    surface_step_std: Tensor
    upper_step_std: Tensor

    def __init__(
        self,
        layout: Layout,
        surface_mean: Tensor,
        surface_std: Tensor,
        upper_mean: Tensor,
        upper_std: Tensor,
        surface_step_std: Tensor | None = None,
        upper_step_std: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.layout = layout
        shapes = {
            "surface": (len(layout.surface),),
            "upper": (len(layout.upper), len(layout.levels)),
        }
        given = {
            "surface_mean": surface_mean,
            "surface_std": surface_std,
            "upper_mean": upper_mean,
            "upper_std": upper_std,
            "surface_step_std": surface_std if surface_step_std is None else surface_step_std,
            "upper_step_std": upper_std if upper_step_std is None else upper_step_std,
        }
        for name, value in given.items():
            tensor = torch.as_tensor(value, dtype=torch.float32).clone()
            shape = shapes[name.split("_")[0]]
            if tuple(tensor.shape) != shape:
                raise InputError(
                    f"statistics {name} has shape {tuple(tensor.shape)}, must be {shape}",
                    field=name,
                )
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(f"statistics {name} is not finite everywhere", field=name)
            if name.endswith("std") and not bool((tensor > 0).all()):
                raise InputError(f"statistics {name} must be positive everywhere", field=name)
            self.register_buffer(name, tensor)

    @classmethod
    def identity(cls, layout: Layout) -> Normaliser:
        """Build a normaliser with mean 0 and standard deviation 1."""
        upper = (len(layout.upper), len(layout.levels))
        surface = len(layout.surface)
        return cls(
            layout, torch.zeros(surface), torch.ones(surface), torch.zeros(upper), torch.ones(upper)
        )

    def forward(self, surface: Tensor, upper: Tensor) -> TensorPair:
        """Standardise (batch, surface, cell) and (batch, upper, level, cell) fields."""
        return (
            (surface - self.surface_mean[:, None]) / self.surface_std[:, None],
            (upper - self.upper_mean[..., None]) / self.upper_std[..., None],
        )

    def inverse(self, surface: Tensor, upper: Tensor) -> TensorPair:
        """Convert standardised fields to physical units; same shapes as :meth:`forward`."""
        return (
            surface * self.surface_std[:, None] + self.surface_mean[:, None],
            upper * self.upper_std[..., None] + self.upper_mean[..., None],
        )
