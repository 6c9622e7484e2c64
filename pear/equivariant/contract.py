"""Equivariance of layers: its definition and a measure of the error.

A layer Φ with input representation ρ and output representation σ keeps the group G when
Φ(ρ(g)x) = σ(g)Φ(x) for every g in G. What g is depends on the group: an isometry of the grid, an
index into a finite group, a rotation of the sphere, or a gauge transformation. Representations here
move cells or tokens, change signs and multiply by unitary matrices, so they are orthogonal, and
gradients transform like the quantities they belong to. (A representation that is orthogonal only on
a subspace says so; gradients are not compared for it.)
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from pear.equivariant.linear import Symmetry
from pear.sphere.symmetry import C4, C4H, Element, permutation
from pear.sphere.windows import TokenGrid

GROUPS: dict[str, tuple[Element, ...]] = {"r": C4, "c4h": C4H}
"""The group that each symmetry keeps."""


Layer = Callable[..., Tensor | Sequence[Tensor]]
"""A module or function that maps tensors to one tensor or several."""


G = TypeVar("G", contravariant=True)
"""Kind of group element."""


class Representation(Protocol[G]):
    """Action of a group on a tensor."""

    def act(self, element: G, x: Tensor) -> Tensor:
        """Return g·x; shape kept."""


@runtime_checkable
class EquivariantLayer(Protocol):
    """A layer that names the group it keeps, as a key of :data:`GROUPS`."""

    symmetry: Symmetry

    def __call__(self, *inputs: Tensor) -> Tensor | Sequence[Tensor]:
        """Map tensors to one tensor or several."""


@dataclass(frozen=True)
class Fields:
    """Fields on the cells: (…, cell), with channels that may change sign under the mirror.

    Attributes
    ----------
    nside
        Resolution.
    signs
        Sign of each channel under the mirror: 1 for scalars, -1 for northward components.
    channel_axis
        Axis of the channels.

    Examples
    --------
    >>> from pear.equivariant.contract import Fields
    >>> from pear.sphere.symmetry import M
    >>> wind = Fields(nside=2, signs=(1, -1))  # eastward and northward
    >>> x = torch.ones(2, 48)
    >>> wind.act(M, x).mean(dim=1).tolist(), torch.equal(wind.act(M, wind.act(M, x)), x)
    ([1.0, -1.0], True)
    """

    nside: int
    signs: Sequence[int] = (1,)
    channel_axis: int = 0

    def act(self, element: Element, x: Tensor) -> Tensor:
        """Move the cells; under the mirror change the signs."""
        source = torch.from_numpy(permutation(element, self.nside).copy())
        x = x[..., source.to(x.device)]
        if not element.mirror or all(sign > 0 for sign in self.signs):
            return x
        shape = [1] * x.dim()
        shape[self.channel_axis] = len(self.signs)
        return x * torch.tensor(self.signs, dtype=x.dtype, device=x.device).view(shape)


@dataclass(frozen=True)
class Tokens:
    """Features of tokens in window order: (…, window, slot, feature).

    Attributes
    ----------
    grid
        Tokens and windows.
    symmetry
        ``"r"``: features move with their token. ``"c4h"``: they are (2, …, window, slot,
        feature/2), and the odd part, index 1 of the first axis, changes sign under the mirror.

    Examples
    --------
    >>> from pear.equivariant.contract import Tokens
    >>> from pear.sphere.symmetry import R
    >>> tokens = Tokens(TokenGrid(nside=2, depths=2))
    >>> x = torch.randn(1, tokens.grid.windows, tokens.grid.slots, 4)
    >>> torch.equal(tokens.act(R.inverse, tokens.act(R, x)), x)
    True
    """

    grid: TokenGrid
    symmetry: Symmetry = "r"

    def act(self, element: Element, x: Tensor) -> Tensor:
        """Move the tokens; under the mirror change the sign of odd parts."""
        slots = torch.from_numpy(self.grid.moved(element)).to(x.device)
        x = x.flatten(-3, -2)[..., slots, :].reshape(x.shape)
        if element.mirror and self.symmetry == "c4h":
            x = torch.stack([x[0], -x[1]])
        return x


def equivariance_error(
    layer: Layer,
    element: G,
    inputs: Sequence[Tensor] | Tensor,
    source: Sequence[Representation[G]] | Representation[G],
    target: Sequence[Representation[G]] | Representation[G],
    *,
    gradients: bool = False,
) -> float:
    """Return the largest |Φ(ρ(g)x) − σ(g)Φ(x)| over the largest |Φ(x)|, in double precision.

    Real inputs, parameters and buffers are widened to float64, complex ones to complex128, each by
    its own kind.

    Parameters
    ----------
    layer
        A module or function; a module is copied, so it keeps its dtype.
    element
        The element g, of the kind that the representations act with.
    inputs
        One tensor or several.
    source, target
        Representations of the inputs and outputs; one is used for all.
    gradients
        Also compare the gradients of ⟨c, Φ⟩, c random: those of the inputs transform like the
        inputs, those of the weights do not change.

    Returns
    -------
    float
        The relative error; with ``gradients`` the largest of all.

    Examples
    --------
    >>> from pear.equivariant.linear import Dense
    >>> from pear.sphere.symmetry import R
    >>> grid = TokenGrid(nside=2, depths=2)
    >>> x = torch.randn(1, grid.windows, grid.slots, 4)
    >>> equivariance_error(Dense(4, 4), R, x, Tokens(grid), Tokens(grid)) < 1e-15
    True
    """
    xs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    xs = [widen(x.detach()) for x in xs]
    if isinstance(layer, nn.Module):
        layer = widen_module(copy.deepcopy(layer))
    moved = [rep.act(element, x) for rep, x in zip(_each(source, xs), xs, strict=True)]
    plain_out, _ = _run(layer, xs, None)
    reps = _each(target, plain_out)
    acted = [rep.act(element, y) for rep, y in zip(reps, plain_out, strict=True)]
    moved_out, _ = _run(layer, moved, None)
    error = _relative(moved_out, acted)
    if not gradients:
        return error
    cotangents = _cotangents(plain_out)
    _, plain_grads = _run(layer, xs, cotangents)
    cotangents = [rep.act(element, c) for rep, c in zip(reps, cotangents, strict=True)]
    _, moved_grads = _run(layer, moved, cotangents)
    sources = _each(source, xs)
    turned = [rep.act(element, grad) for rep, grad in zip(sources, plain_grads, strict=False)]
    return max(error, _relative(moved_grads, turned + plain_grads[len(xs) :]))


def widen(x: Tensor) -> Tensor:
    """Return a tensor in double precision of its own kind.

    ``Tensor.double`` would drop imaginary parts.

    Parameters
    ----------
    x
        Real, complex or of integers.

    Returns
    -------
    Tensor
        float64 or complex128; integers and booleans unchanged.

    Examples
    --------
    >>> widen(torch.ones(1)).dtype, widen(torch.ones(1, dtype=torch.complex64)).dtype
    (torch.float64, torch.complex128)
    """
    if x.is_complex():
        return x.to(torch.complex128)
    return x.double() if x.is_floating_point() else x


_Module = TypeVar("_Module", bound=nn.Module)


def widen_module(module: _Module) -> _Module:
    """Widen all parameters and buffers in place, see :func:`widen`.

    ``Module.double`` leaves complex parameters as they are, and ``Module.to(torch.complex128)``
    makes real ones complex.

    Parameters
    ----------
    module
        Any module.

    Returns
    -------
    nn.Module
        The same module.
    """
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            parameter.data = widen(parameter.data)
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, widen(buffer))
    return module


def _each(
    given: Sequence[Representation[G]] | Representation[G], tensors: Sequence[Tensor]
) -> list[Representation[G]]:
    return list(given) if isinstance(given, Sequence) else [given] * len(tensors)


def _cotangents(outputs: Sequence[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(y.shape, generator=generator, dtype=y.dtype).to(y.device) for y in outputs]


def _run(
    layer: Layer, xs: Sequence[Tensor], cotangents: Sequence[Tensor] | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Return outputs and, with cotangents, the gradients of inputs, then weights."""
    if cotangents is None:
        with torch.no_grad():
            out = layer(*xs)
        return [out] if isinstance(out, Tensor) else list(out), []
    leaves = [x.clone().requires_grad_() for x in xs]
    if isinstance(layer, nn.Module):
        weights = [p for p in layer.parameters() if p.requires_grad]
    else:
        weights = []
    out = layer(*leaves)
    outs = [out] if isinstance(out, Tensor) else list(out)
    grads = torch.autograd.grad(
        outs, [*leaves, *weights], list(cotangents), allow_unused=True, materialize_grads=True
    )
    return [y.detach() for y in outs], list(grads)


def _relative(got: Sequence[Tensor], want: Sequence[Tensor]) -> float:
    """Return the largest difference over the largest value, each pair by its own scale."""
    worst = 0.0
    for a, b in zip(got, want, strict=True):
        scale = float(b.abs().max()) if b.numel() else 0.0
        difference = float((a - b).abs().max()) if b.numel() else 0.0
        if math.isnan(difference):
            return float("nan")
        if difference:
            worst = max(worst, difference / scale if scale else float("inf"))
    return worst
