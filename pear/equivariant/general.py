"""The general non-linear equivariant map, and convolution and attention as its instances.

Every equivariant map between signals on a group, linear or not, has the form

    [Φf](g) = Σ_{g′} ω(g⁻¹f, g′),    (g⁻¹f)(g′) = f(g g′),

with a free function ω (Nyholm, Carlsson, Weiler and Persson, arXiv 2504.20974, here for a finite
group and signals on the whole group, where the constraint ω(hf, g′) = σ(h) ω(f, g′) for the
stabiliser h is empty). The layers of this package are instances on the tokens of the grid: linear
maps, norms and patches are group convolutions over {1, M} and the translations between tokens that
share weights, window attention is the attention below with keys limited to a window.

Signals are tensors (batch, element, feature) with the elements in the order of the group given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pear.sphere.symmetry import C4H, Element

Omega = Callable[[Tensor], Tensor]
"""ω: signals (batch, element, feature) to (batch, element, output feature)."""


class EquivariantMap(nn.Module):
    """[Φf](g) = Σ_{g′} ω(g⁻¹f, g′): (batch, element, feature) to (batch, element, output).

    Parameters
    ----------
    omega
        The function ω; any module or function of the shifted signal.
    group
        The elements, in the order of the element axis.

    Examples
    --------
    >>> from pear.equivariant.general import Convolution, EquivariantMap, translate
    >>> from pear.sphere.symmetry import R
    >>> layer, f = EquivariantMap(Convolution(3, 2)), torch.randn(1, 8, 3)
    >>> torch.allclose(layer(translate(f, R)), translate(layer(f), R), atol=1e-5)
    True
    """

    left: Tensor

    def __init__(self, omega: Omega, group: Sequence[Element] = C4H) -> None:
        super().__init__()
        self.omega, self.group = omega, tuple(group)
        index = {element: position for position, element in enumerate(self.group)}
        products = [[index[g * other] for other in self.group] for g in self.group]
        self.register_buffer("left", torch.tensor(products), persistent=False)

    def forward(self, f: Tensor) -> Tensor:
        """Apply Φ."""
        batch, order, features = f.shape
        shifted = f[:, self.left].reshape(batch * order, order, features)
        return self.omega(shifted).sum(dim=1).view(batch, order, -1)


class Convolution(nn.Module):
    """ω(f, g′) = κ(g′)·f(g′): the map is a group convolution with the kernel κ.

    Parameters
    ----------
    inputs, outputs
        Features.
    order
        Number of elements of the group.

    Examples
    --------
    >>> from pear.equivariant.general import Convolution
    >>> tuple(Convolution(3, 2)(torch.randn(1, 8, 3)).shape)
    (1, 8, 2)
    """

    def __init__(self, inputs: int, outputs: int, order: int = len(C4H)) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(order, outputs, inputs) / (order * inputs) ** 0.5)

    def forward(self, f: Tensor) -> Tensor:
        """Map (batch, element, feature) to (batch, element, output feature)."""
        return torch.einsum("goi,bgi->bgo", self.kernel, f)


class Attention(nn.Module):
    """ω(f, g′) = softmax_{g′}(⟨W_Q f(1), W_K f(g′)⟩/√d + β(g′))·W_V f(g′).

    Self-attention over the group with a relative position bias β: the query belongs to the unit
    element of the shifted signal, that is to g itself.

    Parameters
    ----------
    inputs, outputs
        Features.
    width
        Width d of queries and keys.
    group
        The elements, in the order of the element axis.

    Raises
    ------
    ValueError
        If the group lacks the unit element.

    Examples
    --------
    >>> from pear.equivariant.general import Attention, EquivariantMap, translate
    >>> from pear.sphere.symmetry import M
    >>> layer, f = EquivariantMap(Attention(3, 2, width=4)), torch.randn(1, 8, 3)
    >>> torch.allclose(layer(translate(f, M)), translate(layer(f), M), atol=1e-5)
    True
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, group: Sequence[Element] = C4H
    ) -> None:
        super().__init__()
        if Element() not in group:
            raise ValueError("the group lacks the unit element")
        self.unit = list(group).index(Element())
        self.query = nn.Linear(inputs, width, bias=False)
        self.key = nn.Linear(inputs, width, bias=False)
        self.value = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.randn(len(group)))

    def forward(self, f: Tensor) -> Tensor:
        """Map (batch, element, feature) to (batch, element, output feature)."""
        query = self.query(f[:, self.unit])
        logits = torch.einsum("bw,bgw->bg", query, self.key(f)) * query.shape[-1] ** -0.5
        weights = torch.softmax(logits + self.bias, dim=-1)
        value: Tensor = self.value(f)
        return weights[..., None] * value


def translate(f: Tensor, element: Element, group: Sequence[Element] = C4H) -> Tensor:
    """Apply the left action on signals, (h·f)(g) = f(h⁻¹g).

    Parameters
    ----------
    f
        (batch, element, feature).
    element
        The element h.
    group
        The elements, in the order of the element axis.

    Returns
    -------
    Tensor
        Same shape.

    Examples
    --------
    >>> from pear.equivariant.general import translate
    >>> from pear.sphere.symmetry import R
    >>> f = torch.randn(1, 8, 3)
    >>> torch.equal(translate(translate(f, R), R.inverse), f)
    True
    """
    order = list(group)
    return f[:, [order.index(element.inverse * g) for g in order]]
