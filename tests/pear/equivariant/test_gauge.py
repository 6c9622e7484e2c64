"""Gauge-equivariant layers: exact in complex128, and their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.contract import equivariance_error, widen_module
from pear.equivariant.gauge import GEBL, GEAct, GEConv, TraceDense, TrNorm, trace
from pear.equivariant.lattice import haar
from pear.equivariant.representations import Adjoint, Invariant, Links
from pear.models.geblnet import DeepSpec, GEBLNet, TrMLP, real_parameters


def draw(seed: int, *shape: int) -> Tensor:
    """Draw complex128 matrices."""
    return haar(shape, 3, torch.Generator().manual_seed(seed))


SITES, CHANNELS = 4, 2
W = draw(0, 2, SITES, CHANNELS)
OMEGA = draw(1, SITES)


class ElementwiseActivation(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return torch.complex(w.real.relu(), w.imag)


class ElementwiseNorm(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return w / w.abs()


@pytest.mark.parametrize(
    "layer",
    [GEBL(CHANNELS, 3), GEAct(), TrNorm("mean"), TrNorm("abs"), TrNorm("none")],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_are_adjoint(layer: nn.Module) -> None:
    error = equivariance_error(layer, OMEGA, W, Adjoint(), Adjoint(), gradients=True)
    assert error < 1e-12


@pytest.mark.parametrize("layer", [ElementwiseActivation(), ElementwiseNorm()])
def test_what_acts_on_single_entries_is_caught(layer: nn.Module) -> None:
    assert equivariance_error(layer, OMEGA, W, Adjoint(), Adjoint()) > 0.05


@pytest.mark.parametrize("layer", [TraceDense(CHANNELS), GEBLNet((3, 2))])
def test_networks_are_invariant(layer: nn.Module) -> None:
    w = W[:, :, :1] if isinstance(layer, GEBLNet) else W
    error = equivariance_error(layer, OMEGA, w, Adjoint(), Invariant(), gradients=True)
    assert error < 1e-12


def test_convolution_carries_neighbours_along_the_links() -> None:
    w, links, omega = draw(2, 1, 3, 4, CHANNELS), draw(3, 1, 3, 4, 2), draw(4, 3, 4)
    layer = GEConv(CHANNELS, 2, axes=2, reach=2)
    both = [Adjoint(), Links()]
    assert equivariance_error(layer, omega, [w, links], both, Adjoint(), gradients=True) < 1e-12

    def without_links(w: Tensor, links: Tensor) -> Tensor:
        return w + w.roll(1, 1)

    assert equivariance_error(without_links, omega, [w, links], both, Adjoint()) > 0.05


def test_bilinear_layer_against_its_definition() -> None:
    layer = widen_module(GEBL(CHANNELS, 3))
    unit = torch.eye(3, dtype=W.dtype).expand(2, SITES, 1, 3, 3)
    x = torch.cat([W, W.mH, unit], 2)
    want = sum(
        layer.weight[:, m, n, None, None] * (x[:, :, m] @ x[:, :, n])[:, :, None]
        for m in range(5)
        for n in range(5)
    )
    torch.testing.assert_close(layer(W), want)


@pytest.mark.parametrize("norm", ["mean", "abs", "none"])
def test_diagonal_form_agrees_with_the_full_one(norm: str) -> None:
    network = widen_module(GEBLNet((3, 2), norm))  # type: ignore[arg-type]
    w = W[:, :, :1]
    full, diagonal = network(w), network(torch.linalg.eigvals(w))
    scale = float(full.detach().abs().max())
    torch.testing.assert_close(full, diagonal, rtol=0, atol=1e-12 * scale)
    gradients = [
        torch.autograd.grad(out.sum(), list(network.parameters())) for out in (full, diagonal)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11 * float(a.abs().max()) + 1e-14)


def test_sizes() -> None:
    assert real_parameters(GEBLNet()) == 153_217
    torch.testing.assert_close(trace(W), W.diagonal(dim1=-2, dim2=-1).sum(-1))
    torch.manual_seed(0)
    values = torch.linalg.eigvals(W[:, :, :1]).to(torch.complex64)
    for baseline in (DeepSpec(8), TrMLP(4, 8)):
        assert baseline(values).shape == (2, SITES)
        shuffled = baseline(values[..., [2, 0, 1]])
        torch.testing.assert_close(baseline(values), shuffled)
