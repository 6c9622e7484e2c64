"""Winds among other channels: which they are, and in which frames their components are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from pear.sphere.transport import ancestor_links

Components: TypeAlias = Sequence[tuple[int, int]]
"""Channels of the eastward and the northward component of each wind."""


class FaceFrames(nn.Module):
    """Change of wind components between east–north frames and the frames of base pixels.

    The frame of a base pixel is that of its centre, carried to its cells along great circles. East
    and north turn around at the poles, which no weights shared between cells can follow; the frames
    of base pixels do not, and patches and unshifted windows never leave their base pixel. The
    symmetries of the grid act on the components as before.

    Parameters
    ----------
    nside
        Resolution, a power of two.
    winds
        Channels of the components; those of a wind have the same units.

    Examples
    --------
    >>> from pear.equivariant.wind_frames import FaceFrames
    >>> frames, x = FaceFrames(4, [(1, 2)]), torch.randn(2, 3, 192)
    >>> seen = frames(x, "face")
    >>> torch.equal(seen[:, 0], x[:, 0]), torch.allclose(frames(seen, "geographic"), x, atol=1e-6)
    (True, True)
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, nside: int, winds: Components) -> None:
        super().__init__()
        self.east = [east for east, _ in winds]
        self.north = [north for _, north in winds]
        turn = torch.from_numpy(ancestor_links(nside, 1).copy())
        self.register_buffer("cosine", turn.real.clone(), persistent=False)
        self.register_buffer("sine", turn.imag.clone(), persistent=False)

    def forward(self, x: Tensor, frames: Literal["face", "geographic"]) -> Tensor:
        """Return fields with components in other frames.

        Parameters
        ----------
        x
            (batch, channel, …, cell).
        frames
            Those of the result; the input has the others.

        Returns
        -------
        Tensor
            Same shape; the input itself if the layout has no winds.
        """
        if not self.east:
            return x
        cosine, sine = self.cosine.to(x.dtype), self.sine.to(x.dtype)
        if frames == "face":
            sine = -sine
        u, v = x[:, self.east], x[:, self.north]
        out = x.clone()
        out[:, self.east] = cosine * u - sine * v
        out[:, self.north] = sine * u + cosine * v
        return out
