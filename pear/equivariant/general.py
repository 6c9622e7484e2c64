"""The general non-linear equivariant map, and convolution and attention as its instances.

Every equivariant map between signals on a group, linear or not, has the form

    [Φf](g) = Σ_{g′} ω(g⁻¹f, g′),    (g⁻¹f)(g′) = f(g g′),

with a free function ω (Nyholm, Carlsson, Weiler and Persson, arXiv 2504.20974, here for a finite
group and signals on the whole group, where the constraint ω(hf, g′) = σ(h) ω(f, g′) for the
stabiliser h is empty). The layers of this package are instances on the tokens of the grid: linear
maps, norms and patches are group convolutions over {1, M} and the translations between tokens that
share weights, window attention is the attention below with keys limited to a window.

Signals are tensors (batch, element, feature), elements in the order of a
:class:`~pear.sphere.groups.FiniteGroup`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pear.sphere.groups import FiniteGroup, c4h

Omega = Callable[[Tensor], Tensor]
"""ω: signals (batch, element, feature) to (batch, element, output feature)."""


class EquivariantMap(nn.Module):
    """[Φf](g) = Σ_{g′} ω(g⁻¹f, g′): (batch, element, feature) to (batch, element, output).

    Parameters
    ----------
    omega
        The function ω; any module or function of the shifted signal.
    group
        The group; C4h if None.

    Examples
    --------
    >>> from pear.equivariant.general import Convolution, EquivariantMap
    >>> from pear.equivariant.representations import Regular
    >>> from pear.sphere.groups import dihedral
    >>> d3 = dihedral(3)
    >>> layer, f = EquivariantMap(Convolution(3, 2, order=6), d3), torch.randn(1, 6, 3)
    >>> turn = Regular(d3, axis=1).act
    >>> torch.allclose(layer(turn(4, f)), turn(4, layer(f)), atol=1e-5)
    True
    """

    product: Tensor

    def __init__(self, omega: Omega, group: FiniteGroup | None = None) -> None:
        super().__init__()
        self.omega, self.group = omega, group or c4h()
        product = torch.from_numpy(self.group.product.copy())
        self.register_buffer("product", product, persistent=False)

    def forward(self, f: Tensor) -> Tensor:
        """Apply Φ."""
        batch, order, features = f.shape
        shifted = f[:, self.product].reshape(batch * order, order, features)
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

    def __init__(self, inputs: int, outputs: int, order: int = 8) -> None:
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
        The group; C4h if None.

    Examples
    --------
    >>> from pear.equivariant.general import Attention, EquivariantMap
    >>> from pear.equivariant.representations import Regular
    >>> from pear.sphere.groups import c4h
    >>> layer, f = EquivariantMap(Attention(3, 2, width=4)), torch.randn(1, 8, 3)
    >>> turn = Regular(c4h(), axis=1).act
    >>> torch.allclose(layer(turn(5, f)), turn(5, layer(f)), atol=1e-5)
    True
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, group: FiniteGroup | None = None
    ) -> None:
        super().__init__()
        group = group or c4h()
        self.unit = group.unit
        self.query = nn.Linear(inputs, width, bias=False)
        self.key = nn.Linear(inputs, width, bias=False)
        self.value = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.randn(group.order))

    def forward(self, f: Tensor) -> Tensor:
        """Map (batch, element, feature) to (batch, element, output feature)."""
        query = self.query(f[:, self.unit])
        logits = torch.einsum("bw,bgw->bg", query, self.key(f)) * query.shape[-1] ** -0.5
        weights = torch.softmax(logits + self.bias, dim=-1)
        value: Tensor = self.value(f)
        return weights[..., None] * value


def omega_of(function: Callable[[Tensor], Tensor], group: FiniteGroup | None = None) -> Omega:
    """Return an ω whose map is a given equivariant function Φ: every one has such a form.

    ω(f, g′) is [Φf](1) at g′ = 1 and 0 elsewhere, since [Φf](g) = [g⁻¹(Φf)](1) = [Φ(g⁻¹f)](1). For
    a function that is not equivariant the map is another one, which agrees with it at g = 1 alone.

    Parameters
    ----------
    function
        Φ: signals (batch, element, feature) to (batch, element, output feature).
    group
        The group; C4h if None.

    Returns
    -------
    Omega
        For :class:`EquivariantMap`.

    Examples
    --------
    >>> from pear.equivariant.general import EquivariantMap, omega_of
    >>> from pear.sphere.groups import cyclic
    >>> f = torch.randn(2, 3, 1)
    >>> torch.equal(EquivariantMap(omega_of(torch.sin, cyclic(3)), cyclic(3))(f), torch.sin(f))
    True
    """
    unit = (group or c4h()).unit

    def omega(f: Tensor) -> Tensor:
        out = function(f)
        kept = torch.zeros_like(out)
        kept[:, unit] = out[:, unit]
        return kept

    return omega
