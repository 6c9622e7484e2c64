"""Layers between cells and tokens, and between resolutions of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.linear import INIT_STD, Symmetry, check_features, linear, norm
from pear.equivariant.window_shift import from_windows, to_windows
from pear.sphere.symmetry import block_mirror
from pear.sphere.windows import TokenGrid


def mirror_basis(signs: Sequence[int], levels: int, cells: int) -> tuple[Tensor, Tensor]:
    """Return orthonormal even and odd combinations of a patch's numbers under the mirror.

    Parameters
    ----------
    signs
        Sign of each channel under the mirror.
    levels, cells
        Levels and cells of a patch.

    Returns
    -------
    even, odd
        (combinations, channels·levels·cells) each, float64. A pair of exchanged cells gives one of
        each; a fixed cell gives an even one if its channel is even, else an odd one.

    Examples
    --------
    >>> from pear.equivariant.patch import mirror_basis
    >>> even, odd = mirror_basis((1, -1), levels=1, cells=4)
    >>> basis = torch.cat([even, odd])
    >>> tuple(even.shape), tuple(odd.shape), torch.allclose(basis @ basis.T, torch.eye(8).double())
    ((4, 8), (4, 8), True)
    """
    sigma = block_mirror(cells)
    even: list[Tensor] = []
    odd: list[Tensor] = []
    size = len(signs) * levels * cells
    for channel, sign in enumerate(signs):
        for level in range(levels):
            first = (channel * levels + level) * cells
            for cell in range(cells):
                row = torch.zeros(size, dtype=torch.float64)
                row[first + cell] = 1.0
                if sigma[cell] == cell:
                    (even if sign > 0 else odd).append(row)
                elif cell < sigma[cell]:
                    other = torch.zeros_like(row)
                    other[first + sigma[cell]] = sign
                    even.append((row + other) * 0.5**0.5)
                    odd.append((row - other) * 0.5**0.5)
    empty = torch.zeros(0, size, dtype=torch.float64)
    return torch.stack(even) if even else empty, torch.stack(odd) if odd else empty


class PatchEmbed(nn.Module):
    """Linear map of the numbers of a patch to the features of a token.

    (batch, channel, depth·levels, cell) to (batch, depth, token, feature), or with symmetry
    ``"c4h"`` (2, batch, depth, token, feature/2).

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    signs
        Sign of each channel under the mirror.
    levels, cells
        Levels and consecutive nested cells in a patch.
    features
        Width.
    bias
        Whether a bias is added.

    Examples
    --------
    >>> from pear.equivariant.patch import PatchEmbed
    >>> embed = PatchEmbed("r", (1, -1), levels=2, cells=4, features=8)
    >>> tuple(embed(torch.randn(1, 2, 4, 48)).shape)
    (1, 2, 12, 8)
    """

    even: Tensor
    odd: Tensor

    def __init__(
        self,
        symmetry: Symmetry,
        signs: Sequence[int],
        levels: int,
        cells: int,
        features: int,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.levels, self.cells, self.symmetry = levels, cells, symmetry
        width = check_features(symmetry, features)
        inputs = len(signs) * levels * cells
        if symmetry == "c4h":
            even, odd = mirror_basis(signs, levels, cells)
            self.register_buffer("even", even, persistent=False)
            self.register_buffer("odd", odd, persistent=False)
            width //= 2
            self.weight_even = nn.Parameter(torch.empty(width, len(even)))
            self.weight_odd = nn.Parameter(torch.empty(width, len(odd)))
        else:
            self.weight = nn.Parameter(torch.empty(width, inputs))
        for parameter in self.parameters():
            # Keeps the unit variance of the inputs.
            nn.init.trunc_normal_(parameter, std=inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Embed (batch, channel, depth·levels, cell)."""
        batch, channels, _, _ = x.shape
        x = x.reshape(batch, channels, -1, self.levels, x.shape[-1] // self.cells, self.cells)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3)
        if self.symmetry == "r":
            return functional.linear(x, self.weight, self.bias)
        even = self.weight_even @ self.even.to(self.weight_even.dtype)
        odd = self.weight_odd @ self.odd.to(self.weight_odd.dtype)
        return torch.stack([functional.linear(x, even, self.bias), functional.linear(x, odd)])


class PatchRecover(nn.Module):
    """Linear map of the features of a token to the numbers of its patch.

    (batch, depth, token, feature), or (2, batch, depth, token, feature/2), to
    (batch, channel, depth·levels, cell). The plain bias has one number per channel; the
    mirror-equivariant one has one per even combination.

    Parameters
    ----------
    symmetry, signs, levels, cells
        As in :class:`PatchEmbed`.
    features
        Width.

    Examples
    --------
    >>> from pear.equivariant.patch import PatchRecover
    >>> recover = PatchRecover("r", (1, -1), levels=2, cells=4, features=8)
    >>> tuple(recover(torch.randn(1, 2, 12, 8)).shape)
    (1, 2, 4, 48)
    """

    even: Tensor
    odd: Tensor

    def __init__(
        self, symmetry: Symmetry, signs: Sequence[int], levels: int, cells: int, features: int
    ) -> None:
        super().__init__()
        self.levels, self.cells, self.symmetry = levels, cells, symmetry
        self.channels = len(signs)
        width = check_features(symmetry, features)
        if symmetry == "c4h":
            even, odd = mirror_basis(signs, levels, cells)
            self.register_buffer("even", even, persistent=False)
            self.register_buffer("odd", odd, persistent=False)
            self.weight_even = nn.Parameter(torch.empty(len(even), width // 2))
            self.weight_odd = nn.Parameter(torch.empty(len(odd), width // 2))
        else:
            self.weight = nn.Parameter(torch.empty(len(signs) * levels * cells, width))
        for parameter in self.parameters():
            nn.init.trunc_normal_(parameter, std=INIT_STD)
        biases = len(self.even) if symmetry == "c4h" else len(signs)
        self.bias = nn.Parameter(torch.zeros(biases))

    def zero(self) -> None:
        """Set weights and bias to zero, so that a residual network starts as persistence."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Recover (batch, channel, depth·levels, cell)."""
        # Never in half precision, which would round the output of all layers before.
        with torch.autocast(x.device.type, enabled=False):
            return self._recover(x.to(self.bias.dtype))

    def _recover(self, x: Tensor) -> Tensor:
        if self.symmetry == "r":
            bias = self.bias.repeat_interleave(self.levels * self.cells)
            x = functional.linear(x, self.weight, bias)
        else:
            even, odd = self.even.to(x.dtype), self.odd.to(x.dtype)
            first, second = x.unbind(0)
            x = functional.linear(first, even.T @ self.weight_even, self.bias @ even)
            x = x + functional.linear(second, odd.T @ self.weight_odd)
        batch, depths, tokens, _ = x.shape
        x = x.view(batch, depths, tokens, self.channels, self.levels, self.cells)
        x = x.permute(0, 3, 1, 4, 2, 5)
        return x.reshape(batch, self.channels, depths * self.levels, tokens * self.cells)


def mirrored_children(x: Tensor) -> Tensor:
    """Order the children of b as the mirror does: 0 and 3 change places.

    Concatenated features of children are a regular feature of their token only in this order. With
    a, b = (e ± o)/√2 and a unchanged, the even parts become e′₀, e′₃ = (e₀ + e₃)/2 ± (o₀ − o₃)/2,
    and likewise the odd ones.

    Parameters
    ----------
    x
        (2, …, 4, feature): even and odd part of each child.

    Returns
    -------
    Tensor
        Same shape; the map is orthogonal and its own inverse.

    Examples
    --------
    >>> from pear.equivariant.patch import mirrored_children
    >>> x = torch.randn(2, 3, 4, 5)
    >>> torch.allclose(mirrored_children(mirrored_children(x)), x, atol=1e-6)
    True
    """
    first, last = x[..., 0, :], x[..., 3, :]
    mean, half = (first + last) * 0.5, (first - last) * 0.5
    out = torch.empty_like(x)
    out[..., 1:3, :] = x[..., 1:3, :]
    for part in (0, 1):
        out[part, ..., 0, :] = mean[part] + half[1 - part]
        out[part, ..., 3, :] = mean[part] - half[1 - part]
    return out


class PatchMerge(nn.Module):
    """Merge four neighbouring tokens: concatenate, norm, linear to ``outputs`` features.

    Maps window order of ``grid`` to window order of ``grid.coarser()``.

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    grid
        Tokens and windows before merging.
    features, outputs
        Widths before and after.

    Examples
    --------
    >>> from pear.equivariant.patch import PatchMerge
    >>> grid = TokenGrid(nside=4, depths=2, window=16)
    >>> merged = PatchMerge("r", grid, 8, 16)(torch.randn(1, grid.windows, grid.slots, 8))
    >>> tuple(merged.shape) == (1, grid.coarser().windows, grid.coarser().slots, 16)
    True
    """

    def __init__(self, symmetry: Symmetry, grid: TokenGrid, features: int, outputs: int) -> None:
        super().__init__()
        self.symmetry, self.grid, self.coarse = symmetry, grid, grid.coarser()
        self.norm = norm(symmetry, 4 * features)
        self.reduction = linear(symmetry, 4 * features, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Merge tokens in window order."""
        x = from_windows(x, self.grid)
        x = x.reshape(*x.shape[:-2], -1, 4, x.shape[-1])
        if self.symmetry == "c4h":
            x = mirrored_children(x)
        return to_windows(self.reduction(self.norm(x.flatten(-2))), self.coarse)


class PatchExpand(nn.Module):
    """Split tokens into four: linear, split into children, norm, linear.

    Maps window order of ``grid.coarser()`` to window order of ``grid``.

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    grid
        Tokens and windows after splitting.
    features, outputs
        Widths before and after.

    Examples
    --------
    >>> from pear.equivariant.patch import PatchExpand
    >>> grid = TokenGrid(nside=4, depths=2, window=16)
    >>> coarse = grid.coarser()
    >>> expanded = PatchExpand("r", grid, 16, 8)(torch.randn(1, coarse.windows, coarse.slots, 16))
    >>> tuple(expanded.shape) == (1, grid.windows, grid.slots, 8)
    True
    """

    def __init__(self, symmetry: Symmetry, grid: TokenGrid, features: int, outputs: int) -> None:
        super().__init__()
        self.symmetry, self.grid, self.coarse = symmetry, grid, grid.coarser()
        self.expand = linear(symmetry, features, 4 * outputs, bias=False)
        self.norm = norm(symmetry, outputs)
        self.linear = linear(symmetry, outputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Split tokens in window order."""
        x = from_windows(self.expand(x), self.coarse)
        x = x.reshape(*x.shape[:-1], 4, -1)
        if self.symmetry == "c4h":
            x = mirrored_children(x)
        out: Tensor = self.linear(self.norm(to_windows(x.flatten(-3, -2), self.grid)))
        return out
