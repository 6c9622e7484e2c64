"""Networks described once: as the recursion of their kernels, and as modules of any width.

Weights and biases are N(0, 1), and a linear layer is f′ = σ_w/√fan Σ w f + σ_b b. In the limit of
infinite width K = E[f f′] and Θ = E[Σ_θ ∂f ∂f′] follow from those of the layer before
(arXiv 2406.06504):

    linear      K′ = σ_w²/|S| Σ_s K_{s(p), s(p′)} + σ_b²,   Θ′ = K′ + σ_w²/|S| Σ_s Θ_{s(p), s(p′)}
    pointwise   K′ = E[σσ′],                                Θ′ = E[σ̇σ̇′] Θ
    pooling     the mean over both places

with one place for dense layers, pixels for convolutions, and group elements for group
convolutions. Which places a linear layer reads is a :class:`~pear.kernels.tables.Table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from pear.kernels import tables
from pear.kernels.gaussian import FUNCTIONS, MEANS, Nonlinearity
from pear.kernels.tables import RotoTranslations, Table


@dataclass(frozen=True, eq=False)
class Kernels:
    """Kernels between two sets of inputs.

    Attributes
    ----------
    k12, t12
        (input 1, input 2, place, place): K and Θ of all pairs.
    k11, k22
        (input, place, place): K of each input with itself.
    """

    k12: Tensor
    t12: Tensor
    k11: Tensor
    k22: Tensor

    @property
    def tangent(self) -> Tensor:
        """Θ of an architecture whose output has one place, (input 1, input 2).

        Raises
        ------
        ValueError
            If the output has several places.
        """
        if self.t12.shape[-2:] != (1, 1):
            raise ValueError(f"the output has {self.t12.shape[-1]} places; pool them first")
        return self.t12[..., 0, 0]


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear layer: dense at every place without a table.

    Attributes
    ----------
    table
        Places read; None reads the place itself.
    weight, bias
        Variances σ_w² and σ_b².
    """

    table: Table | None = None
    weight: float = 2.0
    bias: float = 0.0

    def kernels(self, before: Kernels) -> Kernels:
        """Return the kernels behind the layer."""
        k12 = self._mean(before.k12)
        return Kernels(
            k12 + self.bias,
            k12 + self.bias + self._mean(before.t12),
            self._mean(before.k11) + self.bias,
            self._mean(before.k22) + self.bias,
        )

    def first(self, x1: Tensor, x2: Tensor) -> Kernels:
        """Return the kernels behind a first layer.

        Parameters
        ----------
        x1, x2
            (input, channel, place).

        Returns
        -------
        Kernels
            Θ = K: the layer is linear in its weights.
        """
        r1, r2 = (self._read(x) for x in (x1, x2))
        scale = self.weight / r1.shape[1]
        k12 = scale * torch.einsum("iag,jah->ijgh", r1, r2) + self.bias
        k11, k22 = (scale * torch.einsum("iag,iah->igh", r, r) + self.bias for r in (r1, r2))
        return Kernels(k12, k12, k11, k22)

    def _read(self, x: Tensor) -> Tensor:
        """Return (input, channel · tap, place)."""
        return x if self.table is None else self.table.read(x).flatten(1, 2)

    def _mean(self, kernel: Tensor) -> Tensor:
        """Average over the taps at both places, times σ_w²."""
        if self.table is None:
            return self.weight * kernel
        total = torch.zeros((), dtype=kernel.dtype)
        for tap, places in enumerate(self.table.index):
            part = kernel[..., places, :][..., places]
            if self.table.sign is not None:
                sign = self.table.sign[tap].to(kernel.dtype)
                part = part * sign[:, None] * sign
            total = total + part
        return total * (self.weight / self.table.taps)

    def module(self, inputs: int, outputs: int) -> nn.Module:
        """Return the layer for finite channels."""
        return LinearModule(self, inputs, outputs)


@dataclass(frozen=True)
class Activation:
    """A pointwise non-linearity."""

    function: Nonlinearity = "relu"

    def kernels(self, before: Kernels) -> Kernels:
        """Return the kernels behind the layer."""
        mean = MEANS[self.function]
        d1, d2 = (k.diagonal(dim1=-2, dim2=-1) for k in (before.k11, before.k22))
        t, derivative = mean(d1[:, None, :, None], before.k12, d2[None, :, None, :])
        k11, k22 = (
            mean(d[..., :, None], k, d[..., None, :])[0]
            for d, k in ((d1, before.k11), (d2, before.k22))
        )
        return Kernels(t, derivative * before.t12, k11, k22)


@dataclass(frozen=True)
class Pool:
    """The mean over all places."""

    def kernels(self, before: Kernels) -> Kernels:
        """Return the kernels behind the layer."""
        parts = (before.k12, before.t12, before.k11, before.k22)
        return Kernels(*(part.mean((-2, -1), keepdim=True) for part in parts))


Layer: TypeAlias = Linear | Activation | Pool


class LinearModule(nn.Module):
    """A linear layer of finite width in the parametrisation of the kernels.

    Parameters
    ----------
    layer
        Its description.
    inputs, outputs
        Channels.
    """

    def __init__(self, layer: Linear, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = layer
        taps = 1 if layer.table is None else layer.table.taps
        self.scale = (layer.weight / (inputs * taps)) ** 0.5
        self.weight = nn.Parameter(torch.randn(outputs, inputs * taps, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(outputs, 1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, input, place) to (batch, output, place)."""
        read = x if self.layer.table is None else self.layer.table.read(x).flatten(1, 2)
        out: Tensor = self.scale * (self.weight @ read) + self.layer.bias**0.5 * self.bias
        return out


class _Function(nn.Module):
    def __init__(self, layer: Activation | Pool) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, Activation):
            return FUNCTIONS[self.layer.function](x)
        return x.mean(-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Architecture:
    """A sequence of layers, the first of them linear.

    Attributes
    ----------
    layers
        In order.

    Examples
    --------
    >>> from pear.kernels.architecture import mlp
    >>> x = torch.ones(1, 1, 3, dtype=torch.float64)
    >>> mlp(3, hidden=2).kernels(x, x).tangent.item()  # ℓ·K after ℓ layers at σ_w² = 2
    6.0
    """

    layers: Sequence[Layer]

    def kernels(self, x1: Tensor, x2: Tensor) -> Kernels:
        """Return the kernels of the infinitely wide network.

        Parameters
        ----------
        x1, x2
            (input, channel, place), float64.

        Returns
        -------
        Kernels
            Of the output.

        Raises
        ------
        TypeError
            If the first layer is not linear.
        """
        first = self.layers[0]
        if not isinstance(first, Linear):
            raise TypeError("the first layer must be linear")
        return self.continued(first.first(x1, x2))

    def continued(self, first: Kernels) -> Kernels:
        """Return the kernels of the output from those behind the first layer.

        Parameters
        ----------
        first
            Kernels behind the first layer, where they are computed by other means.

        Returns
        -------
        Kernels
            Of the output.
        """
        for layer in self.layers[1:]:
            first = layer.kernels(first)
        return first

    def network(self, inputs: int, width: int, outputs: int = 1) -> nn.Sequential:
        """Draw a finite network from the global random state, float64.

        Parameters
        ----------
        inputs, width, outputs
            Channels of the input, of all hidden layers, and of the output.

        Returns
        -------
        nn.Sequential
            Maps (batch, input, place) to (batch, output, place).
        """
        linear = [index for index, layer in enumerate(self.layers) if isinstance(layer, Linear)]
        modules: list[nn.Module] = []
        for index, layer in enumerate(self.layers):
            if isinstance(layer, Linear):
                last = index == linear[-1]
                modules.append(
                    layer.module(inputs if index == 0 else width, outputs if last else width)
                )
            else:
                modules.append(_Function(layer))
        return nn.Sequential(*modules)


def mlp(
    places: int, hidden: int, function: Nonlinearity = "relu", bias: float = 0.0
) -> Architecture:
    """Return [Dense σ]ⁿ Dense on flattened inputs.

    Parameters
    ----------
    places
        Numbers per channel of an input.
    hidden
        Hidden layers n.
    function
        Non-linearity; σ_w² is 2 for ReLU and 1 else.
    bias
        σ_b² of all layers.

    Returns
    -------
    Architecture
        Its output has one place.
    """
    inner = Linear(None, _weight(function), bias)
    return _alternate(
        Linear(tables.dense(places), _weight(function), bias), inner, hidden, function
    )


def cnn(
    table: Table, hidden: int, function: Nonlinearity = "relu", bias: float = 0.0
) -> Architecture:
    """Return [Conv σ]ⁿ Conv and pooling.

    Parameters
    ----------
    table
        Stencil, the same in all layers.
    hidden, function, bias
        As for :func:`mlp`.

    Returns
    -------
    Architecture
        Its output has one place.
    """
    layer = Linear(table, _weight(function), bias)
    return _pooled(_alternate(layer, layer, hidden, function))


def gcnn(
    lifting: Table,
    inner: Table,
    hidden: int,
    function: Nonlinearity = "relu",
    bias: float = 0.0,
    *,
    pooled: bool = True,
) -> Architecture:
    """Return lifting, [σ GroupConv]ⁿ and pooling over the group.

    Parameters
    ----------
    lifting, inner
        Tables of the lifting and of the group convolutions.
    hidden, function, bias
        As for :func:`mlp`.
    pooled
        Whether to pool; without, the output has the group's elements as places.

    Returns
    -------
    Architecture
        Its output has one place if it is pooled.
    """
    weight = _weight(function)
    found = _alternate(Linear(lifting, weight, bias), Linear(inner, weight, bias), hidden, function)
    return _pooled(found) if pooled else found


def roto_translation_gcnn(
    group: RotoTranslations, hidden: int, function: Nonlinearity = "relu"
) -> Architecture:
    """Return the GCNN over rotations and translations of an image, see :func:`gcnn`."""
    return gcnn(group.first, group.inner, hidden, function)


def _weight(function: Nonlinearity) -> float:
    """Return σ_w²: 2 keeps the variance through ReLU."""
    return 2.0 if function == "relu" else 1.0


def _alternate(first: Linear, inner: Linear, hidden: int, function: Nonlinearity) -> Architecture:
    layers: list[Layer] = [first]
    for _ in range(hidden):
        layers += [Activation(function), inner]
    return Architecture(tuple(layers))


def _pooled(architecture: Architecture) -> Architecture:
    return Architecture((*architecture.layers, Pool()))
