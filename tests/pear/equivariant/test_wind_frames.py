"""Frames of base pixels: smooth across the poles, exact under the symmetries, undone exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.equivariant.contract import Fields, equivariance_error
from pear.equivariant.wind_frames import FaceFrames
from pear.sphere.symmetry import C4H
from pear.sphere.transport import ancestor_links

NSIDE = 4
SIGNS = (1, -1, 1, 1, -1)
WINDS = [(0, 1), (3, 4)]


@pytest.mark.parametrize("frames", ["face", "geographic"])
def test_frames_change_equivariantly(frames: str) -> None:
    layer = FaceFrames(NSIDE, WINDS)
    fields = Fields(NSIDE, SIGNS, channel_axis=1)
    x = torch.randn(2, len(SIGNS), 3, 12 * NSIDE**2, generator=torch.Generator().manual_seed(0))

    class Turned(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.layer(x, frames)
            return out

    for element in C4H:
        error = equivariance_error(Turned(), element, x, fields, fields, gradients=True)
        assert error <= (1e-14 if element.mirror else 0), element.name


def test_components_are_those_of_the_base_pixels_frame() -> None:
    layer, x = FaceFrames(NSIDE, WINDS), torch.randn(2, 5, 192, dtype=torch.float64)
    seen = layer(x, "face")
    torch.testing.assert_close(seen[:, 2], x[:, 2], rtol=0, atol=0)
    for east, north in WINDS:
        want = (x[:, east] + 1j * x[:, north]).numpy() * ancestor_links(NSIDE, 1).conj()
        np.testing.assert_allclose((seen[:, east] + 1j * seen[:, north]).numpy(), want, atol=1e-14)
    torch.testing.assert_close(layer(seen, "geographic"), x)
    assert FaceFrames(NSIDE, [])(x, "face") is x
