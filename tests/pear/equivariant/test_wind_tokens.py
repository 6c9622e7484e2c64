"""Winds between cells and tokens: exact, and carried along great circles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.contract import equivariance_error
from pear.equivariant.representations import Tangent
from pear.equivariant.wind_tokens import WindPatches, WindTokens
from pear.sphere.symmetry import C4, C4H, M
from pear.sphere.vectors import cell_frames

NSIDE, CELLS = 4, 4
WINDS = torch.complex(*torch.randn(2, 2, 1, 2, 192, generator=torch.Generator().manual_seed(0)))


class Embedding(nn.Module):
    def __init__(self, symmetry: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = WindPatches(symmetry, NSIDE, CELLS, 1, 2, 3)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.patches.embed(x)


class Recovery(Embedding):
    def forward(self, x: Tensor) -> Tensor:
        return self.patches.recover(x)


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
@pytest.mark.parametrize("kind", [Embedding, Recovery])
def test_patches_keep_the_grids_symmetries(symmetry: str, kind: type[Embedding]) -> None:
    ends = Tangent(NSIDE), Tangent(NSIDE // 2)
    x = WINDS
    if kind is Recovery:
        ends, x = ends[::-1], torch.complex(*torch.randn(2, 2, 1, 3, 48))
    layer = kind(symmetry)
    for element in C4H if symmetry == "c4h" else C4:
        assert equivariance_error(layer, element, x, *ends, gradients=True) < 1e-12, element.name
    if symmetry == "r":
        assert equivariance_error(layer, M, x, *ends) > 0.1


def test_a_network_without_winds_at_one_end_has_none_there() -> None:
    tokens = WindTokens("r", NSIDE, CELLS, surface=1, upper=0, levels=2, width=8)
    none = WINDS[:, :0]
    found = tokens.embed(WINDS[:, :, :1], none)
    assert found.shape == (2, 2, 2, 48)
    assert not found[:, 1].any()
    surface, upper = tokens.recover(torch.randn(2, 2, 48, 16), found)
    assert (surface.shape, upper.shape) == ((2, 1, 1, 192), none.shape)


def test_a_token_has_the_wind_of_its_cells() -> None:
    """Equal real weights average a flow over the pole in the frame of the token's centre."""
    flows = []
    for nside in (32, 16):
        frames = cell_frames(nside)
        x, _, z = frames.positions()
        u, v = frames.from_cartesian(np.stack([z, np.zeros_like(x), -x]))
        flows.append(torch.from_numpy(u + 1j * v))
    patches = WindPatches("c4h", 32, 4, 1, 1, 1).double()
    with torch.no_grad():
        patches.weight[..., 0], patches.weight[..., 1] = 0.25, 0.0
        found = patches.embed(flows[0][None, None, None])[0, 0, 0]
        assert float((found - flows[1]).abs().max()) < 0.01
        patches.weight[..., 0] = 1.0
        back = patches.recover(flows[1][None, None, None])[0, 0, 0]
    assert float((back - flows[0]).abs().max()) < 0.05
