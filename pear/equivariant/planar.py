"""Lifting, convolution and pooling on images, for rotations, reflections and translations.

The group is C_n ⋉ Z² or D_n ⋉ Z². Features on it are (batch, channel, |P|, y, x) with P = C_n or
D_n, in the order of :func:`pear.sphere.groups.cyclic` and :func:`~pear.sphere.groups.dihedral`.
Lifting correlates an image with the kernel turned by every r in P; the convolution reads its kernel
at (r⁻¹y, r⁻¹s) for the point y and the element s (Cohen and Welling, arXiv 1602.07576). With square
images, or periodic ones, the layers keep the group exactly for n = 1, 2 and 4.

Other turns, such as those of n = 8, do not map pixels to pixels. There a turned kernel reads the
image between its pixels, by linear interpolation, and the layers keep only those turns exactly that
are multiples of 90°. :attr:`PointGroup.is_exact` says which case holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.sphere.groups import FiniteGroup, cyclic, dihedral
from pear.typing import Float64

Padding = Literal["periodic", "zero"]
_MODES: Final = {"periodic": "circular", "zero": "constant"}


@dataclass(frozen=True)
class PointGroup:
    """Rotations by multiples of 360°/n about a pixel, and reflections if asked for.

    Attributes
    ----------
    n
        Number of rotations.
    reflections
        Whether the reflections x → −x, followed by any rotation, are in the group.

    Raises
    ------
    ValueError
        If ``n`` is not positive.

    Examples
    --------
    >>> from pear.equivariant.planar import PointGroup
    >>> PointGroup(4, reflections=True).order, PointGroup(8).is_exact
    (8, False)
    """

    n: int
    reflections: bool = False

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"a group has at least one rotation, got n = {self.n}")

    @property
    def table(self) -> FiniteGroup:
        """The group C_n or D_n."""
        return dihedral(self.n) if self.reflections else cyclic(self.n)

    @property
    def order(self) -> int:
        """Number of elements |P|."""
        return 2 * self.n if self.reflections else self.n

    @property
    def is_exact(self) -> bool:
        """Whether every element maps pixels to pixels: n is 1, 2 or 4."""
        return 4 % self.n == 0

    def taps(self, size: int) -> Tensor:
        """Return which numbers of a kernel are used.

        Returns
        -------
        Tensor
            (size, size), boolean: all of them if the group is exact, else those in a disc, which
            stay inside the square when they are turned.
        """
        if self.is_exact:
            return torch.ones(size, size, dtype=torch.bool)
        steps = torch.arange(size) - size // 2
        return steps[:, None] ** 2 + steps**2 <= (size // 2) ** 2

    def split(self, f: Tensor) -> Tensor:
        """Return (batch, channel·|P|, y, x) as (batch, channel, |P|, y, x)."""
        return f.reshape(len(f), -1, self.order, *f.shape[-2:])

    def turned(self, kernel: Tensor) -> Tensor:
        """Turn kernels by every element.

        Parameters
        ----------
        kernel
            (…, y, x), square and of odd size.

        Returns
        -------
        Tensor
            (|P|, …, y, x), κ(r⁻¹y) for each r.
        """
        if self.is_exact:
            quarter = 4 // self.n
            return torch.stack(
                [
                    torch.rot90(kernel if s == 0 else kernel.flip(-1), r * quarter, (-2, -1))
                    for s in range(self.order // self.n)
                    for r in range(self.n)
                ]
            )
        matrices = torch.from_numpy(_splats(self, kernel.shape[-1])).to(kernel)
        flat = torch.einsum("rpq,...q->r...p", matrices, kernel.flatten(-2))
        return flat.reshape(self.order, *kernel.shape)


class PlanarLifting(nn.Module):
    """Lifting f′(r, x) = Σ_y κ(r⁻¹y) f(x + y) + bias.

    (batch, input, y, x) to (batch, output, |P|, y, x).

    Parameters
    ----------
    group
        Rotations and reflections.
    inputs, outputs
        Channels.
    size
        Side of the kernel, odd: turning one of even size would move its centre.
    padding
        Beyond the image: ``"periodic"`` or ``"zero"``.

    Raises
    ------
    ValueError
        If the size is even or the padding unknown.

    Examples
    --------
    >>> from pear.equivariant.planar import PlanarLifting, PointGroup
    >>> tuple(PlanarLifting(PointGroup(4), 1, 3)(torch.zeros(2, 1, 8, 8)).shape)
    (2, 3, 4, 8, 8)
    """

    def __init__(
        self,
        group: PointGroup,
        inputs: int,
        outputs: int,
        size: int = 3,
        padding: Padding = "zero",
    ) -> None:
        super().__init__()
        self.group, self.size, self.padding = group, size, padding
        scale = _check(group, size, padding) * inputs
        self.kernel = nn.Parameter(torch.randn(outputs, inputs, size, size) / scale**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, f: Tensor) -> Tensor:
        """Lift images to the group."""
        filters = self.group.turned(self.kernel).transpose(0, 1).flatten(0, 1)
        out = _correlate(f, filters, self.padding)
        return self.group.split(out) + self.bias[:, None, None, None]


class PlanarConv(nn.Module):
    """Convolution f′(r, x) = Σ_{s, y} κ(r⁻¹s, r⁻¹y) f(s, x + y) + bias.

    (batch, input, |P|, y, x) to (batch, output, |P|, y, x), as one correlation with |P|·output
    filters.

    Parameters
    ----------
    group, inputs, outputs, size, padding
        As in :class:`PlanarLifting`.

    Raises
    ------
    ValueError
        If the size is even or the padding unknown.

    Examples
    --------
    >>> from pear.equivariant.planar import PlanarConv, PointGroup
    >>> tuple(PlanarConv(PointGroup(2, reflections=True), 3, 5)(torch.zeros(2, 3, 4, 8, 8)).shape)
    (2, 5, 4, 8, 8)
    """

    left: Tensor

    def __init__(
        self,
        group: PointGroup,
        inputs: int,
        outputs: int,
        size: int = 3,
        padding: Padding = "zero",
    ) -> None:
        super().__init__()
        self.group, self.size, self.padding = group, size, padding
        scale = _check(group, size, padding) * group.order * inputs
        shape = group.order, outputs, inputs, size, size
        self.kernel = nn.Parameter(torch.randn(shape) / scale**0.5)
        # One number a channel: a bias that depended on the element would break the symmetry.
        self.bias = nn.Parameter(torch.zeros(outputs))
        left = torch.from_numpy(group.table.left.copy())
        self.register_buffer("left", left, persistent=False)

    def forward(self, f: Tensor) -> Tensor:
        """Convolve over the group."""
        out = _correlate(f.flatten(1, 2), self.filters(), self.padding)
        return self.group.split(out) + self.bias[:, None, None, None]

    def filters(self) -> Tensor:
        """Return the filter bank (output·|P|, input·|P|, y, x)."""
        turned = self.group.turned(self.kernel)  # (r, element, output, input, y, x)
        bank = turned[torch.arange(self.group.order)[:, None], self.left]
        return bank.permute(2, 0, 3, 1, 4, 5).flatten(2, 3).flatten(0, 1)


class PlanarPool(nn.Module):
    """The mean over the group: (batch, channel, |P|, y, x) to (batch, channel).

    Parameters
    ----------
    keep_points
        Average over P alone, to images (batch, channel, y, x), which turn with the input.

    Examples
    --------
    >>> from pear.equivariant.planar import PlanarPool
    >>> tuple(PlanarPool(keep_points=True)(torch.zeros(2, 3, 4, 8, 8)).shape)
    (2, 3, 8, 8)
    """

    def __init__(self, *, keep_points: bool = False) -> None:
        super().__init__()
        self.dims = (-3,) if keep_points else (-3, -2, -1)

    def forward(self, f: Tensor) -> Tensor:
        """Average over the elements."""
        return f.mean(self.dims)


def _check(group: PointGroup, size: int, padding: str) -> int:
    """Check the settings of a layer; return how many numbers of a kernel are used."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"kernels have an odd size, so that turns keep their centre; got {size}")
    if padding not in _MODES:
        raise ValueError(f"unknown padding {padding!r}; known: {', '.join(_MODES)}")
    return int(group.taps(size).sum())


def _correlate(f: Tensor, filters: Tensor, padding: Padding) -> Tensor:
    margin = filters.shape[-1] // 2
    if padding == "periodic" and min(f.shape[-2:]) < margin:
        raise ValueError(
            f"an image of {f.shape[-2]} x {f.shape[-1]} is too small for periodic padding by "
            f"{margin} pixels"
        )
    return functional.conv2d(functional.pad(f, (margin,) * 4, _MODES[padding]), filters)


def _turn(group: PointGroup, element: int) -> Float64:
    """Return the map of (y, x) by an element, with exact zeros and ones where it has them."""
    angle = 2 * math.pi * (element % group.n) / group.n
    cosine, sine = (round(f(angle), 15) for f in (math.cos, math.sin))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return turn @ np.diag([1.0, -1.0]) if element >= group.n else turn


@lru_cache(maxsize=16)
def _splats(group: PointGroup, size: int) -> Float64:
    """Return the matrices that turn a flattened kernel.

    A tap moves to the turned point and is shared out between the four pixels around it. So the
    turned kernel reads the image, interpolated linearly, at the turned points, which for smooth
    images is much closer than a kernel that is itself interpolated.

    Returns
    -------
    numpy.ndarray
        (|P|, pixel, tap).
    """
    half = size // 2
    points = np.stack(np.divmod(np.arange(size**2), size), axis=-1) - half
    used = group.taps(size).numpy().reshape(-1)
    out = np.zeros((group.order, size**2, size**2))
    for element in range(group.order):
        turn = _turn(group, element)
        for tap in np.flatnonzero(used):
            moved = turn @ points[tap]
            low = np.floor(moved + 1e-9)
            rest = np.clip(moved - low, 0.0, 1.0)
            for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
                weight = float(np.prod(np.where(corner, rest, 1 - rest)))
                pixel = (low + corner + half).astype(int)
                if weight > 1e-12:  # a corner without weight may lie outside of the square
                    out[element, pixel[0] * size + pixel[1], tap] += weight
    return out
