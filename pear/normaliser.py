"""Standardisation by one mean and standard deviation per channel and level, and its inverse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pear.errors import InputError
from pear.typing import TensorPair
from pear.variables import Layout, variable


class Normaliser(nn.Module):
    """Maps fields in physical units to zero mean and unit variance, and back.

    ``(x - mean) / std`` with statistics over training time and cells, as in the published PEAR
    (arXiv 2505.17720, section 3). The statistics are buffers and are saved with a checkpoint. A
    variable with a transform, such as the log1p of rain, is transformed first; its statistics are
    those of the transformed values.

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
        surface = transformed(surface, self.layout.surface)
        upper = transformed(upper, self.layout.upper)
        return (
            (surface - self.surface_mean[:, None]) / self.surface_std[:, None],
            (upper - self.upper_mean[..., None]) / self.upper_std[..., None],
        )

    def inverse(self, surface: Tensor, upper: Tensor) -> TensorPair:
        """Convert standardised fields to physical units; same shapes as :meth:`forward`."""
        surface = surface * self.surface_std[:, None] + self.surface_mean[:, None]
        upper = upper * self.upper_std[..., None] + self.upper_mean[..., None]
        return (
            restored(surface, self.layout.surface),
            restored(upper, self.layout.upper),
        )


def transformed(fields: Tensor, names: Sequence[str]) -> Tensor:
    """Return fields as networks see them: log(1 + value / scale) where the table says ``log1p``.

    Parameters
    ----------
    fields
        (batch, variable, …), physical units.
    names
        Canonical names of the variables.

    Returns
    -------
    Tensor
        The same fields if no variable has a transform.

    Examples
    --------
    >>> from pear.normaliser import restored, transformed
    >>> rain = torch.tensor([[[0.0, 1e-3]]])
    >>> seen = transformed(rain, ["total_precipitation_6hr"])
    >>> round(seen[0, 0, 1].item(), 3), bool(torch.allclose(restored(seen, ["tp"]), rain))
    (4.615, True)
    """
    for channel, row in enumerate(map(variable, names)):
        if row.transform is not None:
            seen = torch.log1p(fields[:, channel].clamp(min=0) / row.transform_scale)
            fields = _replaced(fields, channel, seen)
    return fields


def restored(fields: Tensor, names: Sequence[str]) -> Tensor:
    """Return fields in physical units: the inverse of :func:`transformed`.

    Parameters
    ----------
    fields
        (batch, variable, …), as networks see them.
    names
        Canonical names of the variables.

    Returns
    -------
    Tensor
        Values below the floor of a variable that is not published are raised to it.
    """
    for channel, row in enumerate(map(variable, names)):
        if row.published or (row.transform is None and row.floor is None):
            continue
        values = fields[:, channel]
        if row.transform is not None:
            values = torch.expm1(values) * row.transform_scale
        if row.floor is not None:
            values = values.clamp(min=row.floor)
        fields = _replaced(fields, channel, values)
    return fields


def keep_forcings(fields: Tensor, before: Tensor, names: Sequence[str]) -> Tensor:
    """Return predicted fields with those of the variables that a model only reads, as before.

    Parameters
    ----------
    fields, before
        (batch, variable, …) after and before a step.
    names
        Canonical names of the variables.

    Returns
    -------
    Tensor
        The predicted fields themselves if all variables are predicted.

    Examples
    --------
    >>> from pear.normaliser import keep_forcings
    >>> keep_forcings(torch.ones(1, 2, 1), torch.zeros(1, 2, 1), ["t2m", "sst"]).ravel().tolist()
    [1.0, 0.0]
    """
    kept = [variable(name).forcing for name in names]
    if not any(kept):
        return fields
    mask = torch.tensor(kept, device=fields.device).view(-1, *[1] * (fields.ndim - 2))
    return torch.where(mask, before, fields)


def _replaced(fields: Tensor, channel: int, values: Tensor) -> Tensor:
    """Return fields with other values of one variable; the tensor given is not changed."""
    return torch.cat([fields[:, :channel], values[:, None], fields[:, channel + 1 :]], dim=1)
