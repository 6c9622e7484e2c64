"""Windows on a regular grid, their shift and mask, and attention with an Earth-specific bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.attention import WindowAttention
from pear.equivariant.linear import INIT_STD
from pear.equivariant.window_shift import MASKED

WINDOW: Final = (2, 6, 12)
"""Tokens of a window: depths, rows, columns."""
SHIFT: Final = (1, 3, 6)


@dataclass(frozen=True)
class LatLonWindows:
    """Tokens (depth, row, column) cut into windows; short sides are filled with zeros.

    Attributes
    ----------
    depths, rows, columns
        Tokens along each axis.

    Examples
    --------
    >>> from pear.models.pangu_layers import LatLonWindows
    >>> windows = LatLonWindows(depths=4, rows=10, columns=20)
    >>> x = torch.randn(1, 4, 10, 20, 3)
    >>> parts = windows.cut(x, shifted=True)
    >>> tuple(parts.shape), torch.equal(windows.join(parts, shifted=True), x)
    ((1, 4, 2, 144, 3), True)
    """

    depths: int
    rows: int
    columns: int

    @property
    def counts(self) -> tuple[int, int, int]:
        """Windows along each axis."""
        sizes = (self.depths, self.rows, self.columns)
        return tuple(-(-n // w) for n, w in zip(sizes, WINDOW, strict=True))  # type: ignore[return-value]

    @property
    def types(self) -> int:
        """Number of window types: one for each row and level of windows."""
        return self.counts[0] * self.counts[1]

    @property
    def slots(self) -> int:
        """Tokens in a window."""
        return int(np.prod(WINDOW))

    def cut(self, x: Tensor, *, shifted: bool) -> Tensor:
        """Cut (batch, depth, row, column, feature) to (batch, type, window, slot, feature)."""
        d, h, w = self.counts
        full = (d * WINDOW[0], h * WINDOW[1], w * WINDOW[2])
        lack = [size - have for size, have in zip(full, x.shape[1:4], strict=True)]
        x = functional.pad(x, (0, 0, 0, lack[2], 0, lack[1], 0, lack[0]))
        if shifted:
            x = torch.roll(x, [-s for s in SHIFT], (1, 2, 3))
        x = x.view(x.shape[0], d, WINDOW[0], h, WINDOW[1], w, WINDOW[2], -1)
        return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(len(x), d * h, w, self.slots, x.shape[-1])

    def join(self, x: Tensor, *, shifted: bool) -> Tensor:
        """Join windows to (batch, depth, row, column, feature); inverts :meth:`cut`."""
        d, h, w = self.counts
        x = x.view(x.shape[0], d, h, w, *WINDOW, -1).permute(0, 1, 4, 2, 5, 3, 6, 7)
        x = x.reshape(len(x), d * WINDOW[0], h * WINDOW[1], w * WINDOW[2], x.shape[-1])
        if shifted:
            x = torch.roll(x, list(SHIFT), (1, 2, 3))
        return x[:, : self.depths, : self.rows, : self.columns]

    def mask(self) -> Tensor:
        """Return what is added to the logits of shifted windows.

        It separates tokens that the shift moves across a pole or from the top to the ground;
        longitude is periodic.

        Returns
        -------
        Tensor
            (type, slot, slot).
        """
        labels = np.zeros([n * w for n, w in zip(self.counts[:2], WINDOW[:2], strict=True)])
        number = 0
        for depth in _thirds(0):
            for row in _thirds(1):
                labels[depth, row] = number
                number += 1
        d, h, _ = self.counts
        cut = labels.reshape(d, WINDOW[0], h, WINDOW[1]).transpose(0, 2, 1, 3)
        flat = np.repeat(cut.reshape(d * h, -1), WINDOW[2], axis=-1)
        return torch.from_numpy(MASKED * (flat[:, :, None] != flat[:, None])).float()


def _thirds(axis: int) -> tuple[slice, slice, slice]:
    return (slice(0, -WINDOW[axis]), slice(-WINDOW[axis], -SHIFT[axis]), slice(-SHIFT[axis], None))


class EarthSpecificBias(nn.Module):
    """Position bias by type of window: (type, heads, slot, slot).

    It has a number for each pair of depths, pair of rows and distance in columns.

    Parameters
    ----------
    windows
        Tokens and windows.
    heads
        Number of heads.

    Examples
    --------
    >>> from pear.models.pangu_layers import EarthSpecificBias, LatLonWindows
    >>> bias = EarthSpecificBias(LatLonWindows(depths=4, rows=12, columns=24), heads=2)
    >>> tuple(bias().shape)  # 2 levels x 2 rows of windows
    (4, 2, 144, 144)
    """

    index: Tensor

    def __init__(self, windows: LatLonWindows, heads: int) -> None:
        super().__init__()
        depth, row, column = np.unravel_index(np.arange(windows.slots), WINDOW)
        spans = (WINDOW[0] ** 2, WINDOW[1] ** 2, 2 * WINDOW[2] - 1)
        deep = depth[:, None] + WINDOW[0] * depth
        north = row[:, None] + WINDOW[1] * row
        east = column[:, None] - column + WINDOW[2] - 1
        index = (deep * spans[1] + north) * spans[2] + east
        self.register_buffer("index", torch.from_numpy(index), persistent=False)
        self.table = nn.Parameter(torch.empty(int(np.prod(spans)), windows.types, heads))
        nn.init.trunc_normal_(self.table, std=INIT_STD)

    def forward(self) -> Tensor:
        """Return the bias of every type of window."""
        return self.table[self.index].permute(2, 3, 0, 1)


class LatLonAttention(WindowAttention):
    """Multi-head attention inside (shifted) windows: (batch, depth, row, column, feature).

    Parameters
    ----------
    windows
        Tokens and windows.
    features, heads
        Width, and number of heads it is split into.
    shifted
        Whether the windows are shifted by half their size.

    Examples
    --------
    >>> from pear.models.pangu_layers import LatLonAttention, LatLonWindows
    >>> windows = LatLonWindows(depths=2, rows=6, columns=24)
    >>> attention = LatLonAttention(windows, features=8, heads=2, shifted=True).eval()
    >>> x = torch.randn(1, 2, 6, 24, 8)
    >>> turned = attention(x.roll(12, dims=3))  # by a whole window along the circle
    >>> torch.allclose(turned, attention(x).roll(12, dims=3), atol=1e-5)
    True
    """

    latitude_mask: Tensor

    def __init__(
        self, windows: LatLonWindows, features: int, heads: int, *, shifted: bool = False
    ) -> None:
        super().__init__(features, heads, EarthSpecificBias(windows, heads))
        self.windows, self.shifted = windows, shifted
        masks = windows.mask() if shifted else torch.zeros(windows.types, 1, 1)
        self.register_buffer("latitude_mask", masks, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Let the slots of each window attend to each other; shape kept."""
        biases = self.bias() + self.latitude_mask[:, None]
        by_type = self.qkv(self.windows.cut(x, shifted=self.shifted)).unbind(1)
        mixed = [self.attend(qkv, bias) for qkv, bias in zip(by_type, biases, strict=True)]
        return self.windows.join(self.proj(torch.stack(mixed, dim=1)), shifted=self.shifted)
