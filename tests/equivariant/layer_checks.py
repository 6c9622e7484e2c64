"""What every layer's test calls: exact symmetry, and agreement with a slow, obvious twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pear.equivariant.contract import GROUPS, Representation, equivariance_error


def randomise(module: nn.Module, seed: int = 0, spread: float = 1.0) -> nn.Module:
    """Draw all weights AND biases; a matrix keeps the size of what it maps."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan = parameter.shape[-1] if parameter.dim() > 1 else 4.0
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(spread * values / fan**0.5)
    return module


def noise(*shape: int, seed: int = 7) -> Tensor:
    """Draw a float64 tensor."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_keeps(
    layer: nn.Module,
    inputs: Tensor | Sequence[Tensor],
    source: Representation | Sequence[Representation],
    target: Representation | Sequence[Representation],
    symmetry: str,
    tolerance: float = 1e-12,
) -> None:
    """The layer keeps every element of its group, with the gradients of inputs and weights."""
    assert layer.symmetry == symmetry  # type: ignore[comparison-overlap]
    for element in GROUPS[symmetry]:
        error = equivariance_error(layer, element, inputs, source, target, gradients=True)
        assert error <= tolerance, f"{element.name}: {error:.2e}"


def assert_same(
    layer: Callable[..., Tensor],
    twin: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    tolerance: float = 1e-12,
) -> None:
    """Output, input gradient and weight gradients of layer and twin agree."""
    got, want = (_run(function, inputs, weights) for function in (layer, twin))
    for index, (a, b) in enumerate(zip(got, want, strict=True)):
        scale = float(b.abs().max())
        assert scale > 0, f"quantity {index} is zero and shows nothing"
        difference = float((a - b).abs().max())
        assert difference <= tolerance * scale, f"quantity {index}: {difference / scale:.2e}"


def _run(
    function: Callable[..., Any], inputs: Sequence[Tensor], weights: Sequence[Tensor]
) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = function(*leaves)
    cotangent = noise(*out.shape, seed=3)
    grads = torch.autograd.grad(out, [*leaves, *weights], cotangent)
    return [out.detach(), *grads]


def butterfly(x: Tensor) -> Tensor:
    """Go from (e, o) to (a, b) or back along the first axis, which has length 2."""
    first, second = x.unbind(0)
    return torch.stack([first + second, first - second]) * 0.5**0.5
