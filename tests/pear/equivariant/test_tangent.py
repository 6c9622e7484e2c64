"""Tangent layers: exact under rotations of frames and symmetries of the grid, and their terms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.contract import Fields, equivariance_error, widen_module
from pear.equivariant.representations import CellLinks, Frames, Invariant, Tangent
from pear.equivariant.tangent import (
    Surroundings,
    TangentChannels,
    TangentConv,
    TangentGate,
    TangentNorm,
)
from pear.sphere.healpix import centres, neighbours
from pear.sphere.symmetry import C4, C4H, M

NSIDE = 4
CELLS = 12 * NSIDE**2
SOURCE, TARGET = TangentChannels((1, -1), 2), TangentChannels((-1, 1, 1), 3)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SCALARS = random(2, 2, CELLS)
WINDS = torch.complex(random(2, 2, CELLS, seed=1), random(2, 2, CELLS, seed=2))
ANGLES = 2 * math.pi * torch.rand(CELLS, generator=torch.Generator().manual_seed(3)).double()


class Network(nn.Module):
    """Two convolutions with everything between them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(
            [TangentConv(NSIDE, a, b) for a, b in pairwise((SOURCE, TARGET, SOURCE))]
        )
        self.norm, self.gate = TangentNorm(), TangentGate(TARGET)

    def forward(
        self, s: Tensor, w: Tensor, links: Tensor | None = None, bearings: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        s, w = self.gate(*self.norm(*self.layers[0](s, w, links, bearings)))
        out: tuple[Tensor, Tensor] = self.layers[1](s, w, links, bearings)
        return out


class NormOfComponents(nn.Module):
    """What must not be done: u and v as two features."""

    def forward(self, w: Tensor) -> Tensor:
        parts = torch.cat([w.real, w.imag], -2)
        u, v = nn.functional.layer_norm(parts.mT, parts.shape[-2:-1]).mT.chunk(2, -2)
        return torch.complex(u, v)


def mirrored(channels: TangentChannels) -> list[Fields | Tangent]:
    return [Fields(NSIDE, channels.signs, channel_axis=-2), Tangent(NSIDE)]


def test_far_neighbours_count_less() -> None:
    near = Surroundings.of(NSIDE).nearness
    assert bool((near[:, 0] > 0).all())
    layers = [TangentConv(NSIDE, SOURCE, TARGET, falloff=p) for p in (0.0, 2.0)]
    torch.testing.assert_close(layers[0].nearness, (near > 0).double())
    torch.testing.assert_close(layers[1].nearness, near**2)
    ends = mirrored(SOURCE), mirrored(TARGET)
    assert equivariance_error(layers[1], M, [SCALARS, WINDS], *ends) < 1e-12


def near() -> tuple[Tensor, Tensor]:
    around = Surroundings.of(NSIDE)
    return around.links, around.bearings


def randomised(layer: TangentConv) -> TangentConv:
    with torch.no_grad():
        layer.bias.copy_(torch.randn(layer.bias.shape))
    return layer


@pytest.mark.parametrize("symmetry", ["c4h", "r"])
def test_convolution_keeps_every_rotation_of_every_frame(symmetry: str) -> None:
    torch.manual_seed(0)
    layer = randomised(TangentConv(NSIDE, SOURCE, TARGET, symmetry))  # type: ignore[arg-type]
    source: Sequence[object] = [Invariant(), Frames(), CellLinks(NSIDE), Frames()]
    inputs = [SCALARS, WINDS, *near()]
    kept = equivariance_error(
        layer, ANGLES, inputs, source, [Invariant(), Frames()], gradients=True
    )
    assert kept < 1e-12
    # Without its links carried along, it does not.
    fixed = [Invariant(), Frames(), Invariant(), Frames()]
    assert equivariance_error(layer, ANGLES, inputs, fixed, [Invariant(), Frames()]) > 0.1


def test_network_keeps_frames_and_grid() -> None:
    source: Sequence[object] = [Invariant(), Frames(), CellLinks(NSIDE), Frames()]
    network = Network()
    inputs = [SCALARS, WINDS, *near()]
    error = equivariance_error(
        network, ANGLES, inputs, source, [Invariant(), Frames()], gradients=True
    )
    assert error < 1e-12
    ends = mirrored(SOURCE)
    for element in C4H:
        assert (
            equivariance_error(network, element, inputs[:2], ends, ends, gradients=True) < 1e-12
        ), element.name


def test_free_weights_keep_the_rotation_but_break_the_mirror() -> None:
    torch.manual_seed(0)
    free = randomised(TangentConv(NSIDE, SOURCE, TARGET, "r"))
    ends = mirrored(SOURCE), mirrored(TARGET)
    for element in C4:
        assert equivariance_error(free, element, [SCALARS, WINDS], *ends, gradients=True) < 1e-12
    assert equivariance_error(free, M, [SCALARS, WINDS], *ends) > 0.1
    tied = randomised(TangentConv(NSIDE, SOURCE, TARGET, "c4h"))
    for element in C4H:
        assert equivariance_error(tied, element, [SCALARS, WINDS], *ends, gradients=True) < 1e-12


@pytest.mark.parametrize("layer", [TangentGate(SOURCE), TangentNorm()])
def test_pointwise_layers_keep_frames_and_grid(layer: nn.Module) -> None:
    both = [SCALARS, WINDS]
    frames = [Invariant(), Frames()]
    assert equivariance_error(layer, ANGLES, both, frames, frames, gradients=True) < 1e-12
    ends = mirrored(SOURCE)
    assert equivariance_error(layer, M, both, ends, ends, gradients=True) < 1e-12


def test_a_norm_of_components_depends_on_the_frame() -> None:
    assert equivariance_error(NormOfComponents(), ANGLES, WINDS, Frames(), Frames()) > 0.1


def test_convolution_against_its_definition() -> None:
    torch.manual_seed(1)
    layer = widen_module(randomised(TangentConv(NSIDE, SOURCE, TARGET, "r")))
    with torch.no_grad():
        scalars, winds = layer(SCALARS, WINDS)
    table, bearing = (each.T for each in near())
    a, c, b, e = (
        torch.view_as_complex(p.detach())
        for p in (layer.wind_wind, layer.flipped, layer.wind_scalar, layer.scalar_wind)
    )
    d = layer.scalar_scalar.detach()
    triangle = int((neighbours(NSIDE) < 0).any(1).argmax())
    for p in (0, 50, triangle):
        w = a[:, :, 0] @ WINDS[0, :, p]
        s = d[:, :, 0] @ SCALARS[0, :, p] + layer.bias.detach()
        for k, q in enumerate(neighbours(NSIDE)[p]):
            if q >= 0:
                came, beta = table[p, k] * WINDS[0, :, q], bearing[p, k]
                w = w + a[:, :, k + 1] @ came + c[:, :, k] @ (beta**2 * came.conj())
                w = w + b[:, :, k] @ (beta * SCALARS[0, :, q].to(beta.dtype))
                w = w + b[:, :, k + 8] @ (beta * SCALARS[0, :, p].to(beta.dtype))
                s = s + d[:, :, k + 1] @ SCALARS[0, :, q] + (e[:, :, k] @ (beta.conj() * came)).real
                s = s + (e[:, :, k + 8] @ (beta.conj() * WINDS[0, :, p])).real
        torch.testing.assert_close(winds[0, :, p], w)
        torch.testing.assert_close(scalars[0, :, p], s)


def test_divergence_and_vorticity_are_terms_of_the_layer() -> None:
    """Solid rotation has vorticity 2 sin φ and no divergence; equal weights find both."""
    latitude = np.radians(centres(NSIDE)[0])
    layer = TangentConv(NSIDE, TangentChannels(winds=1), TangentChannels((1, -1)))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        # Re(conj(β) z e): e = 1 sees what diverges, e = −i what turns; differences to the cell.
        for place, sign in ((slice(8), 1.0), (slice(8, None), -1.0)):
            layer.scalar_wind[0, 0, place, 0] = sign
            layer.scalar_wind[1, 0, place, 1] = -sign
    widen_module(layer)
    with torch.no_grad():
        rotation = torch.from_numpy(np.cos(latitude)).to(torch.complex128)[None]
        (divergence, vorticity), _ = layer(SCALARS[0, :0], rotation)
    want = torch.from_numpy(np.sin(latitude))
    assert float(torch.corrcoef(torch.stack([vorticity, want]))[0, 1]) > 0.99
    assert float(divergence.abs().max()) < 0.1 * float(vorticity.abs().max())


def test_no_wind_stays_none_with_finite_gradients() -> None:
    network = Network().double()
    w = torch.zeros(1, 2, CELLS, dtype=torch.complex128, requires_grad=True)
    _, out = network(torch.zeros(1, 2, CELLS, dtype=torch.float64), w)
    out.abs().sum().backward()
    assert w.grad is not None
    assert bool(torch.isfinite(torch.view_as_real(w.grad)).all())


def test_channels_and_symmetry_are_checked() -> None:
    with pytest.raises(ValueError, match="1 or -1, got"):
        TangentChannels((0,))
    with pytest.raises(ValueError, match="not be negative, got -1"):
        TangentChannels(winds=-1)
    with pytest.raises(ValueError, match="unknown symmetry 'm'"):
        TangentConv(NSIDE, SOURCE, TARGET, "m")  # type: ignore[arg-type]
