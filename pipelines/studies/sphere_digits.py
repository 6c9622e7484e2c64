"""Digits on the sphere: where they lie, networks that read them, and their training (2202.03990).

An image lies in a gnomonic chart of half-width 38° around the point where equator and prime
meridian meet, and is turned from there. Networks name the digit, and label the cells: a cell shows
the digit where its intensity is above .35, and else the background.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.spherical import SphereMixing
from pear.equivariant.stencil import StencilConv
from pear.progress import ProgressCallback
from pear.sphere.vectors import cell_frames
from pear.sphere.windows import TokenGrid
from pipelines.studies.chern_training import one_cycle
from pipelines.studies.group import digits

NSIDE: Final = 8
LMAX: Final = 16
BATCH: Final = 24
TRAINING: Final = 1297
CLASSES: Final = 10
BACKGROUND: Final = CLASSES
_HALF_WIDTH: Final = math.tan(math.radians(38))
_INTENSITY: Final = 0.35
_BACKGROUND_WEIGHT: Final = 0.1
_RATE: Final = 5e-3
_HIDDEN: Final = 64


class EquivariantNetwork(nn.Module):
    """Four zonal convolutions with layer norm over the channels, ReLU and residual connections.

    Equivariant under all rotations up to the aliasing of ReLU and of the digits themselves.

    Parameters
    ----------
    width
        Channels.

    Examples
    --------
    >>> from pipelines.studies.sphere_digits import EquivariantNetwork
    >>> digit, cells = EquivariantNetwork(4)(torch.zeros(2, 768))
    >>> tuple(digit.shape), tuple(cells.shape)
    ((2, 10), (2, 11, 768))
    """

    def __init__(self, width: int = 20) -> None:
        super().__init__()
        widths = (1, width, width, width)
        self.mixing = nn.ModuleList(SphereMixing(NSIDE, LMAX, n, width) for n in widths)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in widths)
        self.heads = _Heads(width, width)

    def forward(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, cell) to logits (batch, digit) and (batch, label, cell)."""
        x = field[:, None]
        for mix, norm in zip(self.mixing, self.norms, strict=True):
            y = functional.relu(norm(mix(x).mT)).mT
            x = y if x.shape[1] == 1 else x + y
        out: tuple[Tensor, Tensor] = self.heads(x.mT, x.mT)
        return out


class PlainNetwork(nn.Module):
    """A U-shaped network of stencils on the cells and on cells four times as large.

    Parameters
    ----------
    width
        Channels of the cells; the larger ones have twice as many.

    Examples
    --------
    >>> from pipelines.studies.sphere_digits import PlainNetwork
    >>> digit, cells = PlainNetwork(4)(torch.zeros(2, 768))
    >>> tuple(digit.shape), tuple(cells.shape)
    ((2, 10), (2, 11, 768))
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        fine = TokenGrid(NSIDE, depths=1, window_depth=1)
        coarse = fine.coarser()
        self.before = nn.ModuleList([_Stencil(fine, 1, width), _Stencil(fine, width, width)])
        self.below = nn.ModuleList(
            [_Stencil(coarse, width, 2 * width), _Stencil(coarse, 2 * width, 2 * width)]
        )
        self.after = _Stencil(fine, 3 * width, width)
        self.heads = _Heads(width, 2 * width)

    def forward(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, cell) to logits (batch, digit) and (batch, label, cell)."""
        x = field[..., None]
        for layer in self.before:
            x = layer(x)
        y = x.unflatten(1, (-1, 4)).mean(2)  # type: ignore[no-untyped-call]
        for layer in self.below:
            y = layer(y)
        joined = self.after(torch.cat([x, y.repeat_interleave(4, 1)], -1))
        out: tuple[Tensor, Tensor] = self.heads(joined, y)
        return out


class _Stencil(nn.Module):
    """A stencil, layer norm over the channels, ReLU: (batch, cell, channel), nested order."""

    def __init__(self, grid: TokenGrid, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = StencilConv("r", grid, inputs, outputs)
        self.norm = nn.LayerNorm(outputs)
        self.windows = grid.windows

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.reshape(len(x), self.windows, -1, x.shape[-1])).flatten(1, 2)
        return functional.relu(self.norm(y))


class _Heads(nn.Module):
    """Labels of the cells by a linear map, the digit by an MLP on mean and maximum."""

    def __init__(self, width: int, pooled: int) -> None:
        super().__init__()
        self.cells = nn.Linear(width, CLASSES + 1)
        self.digit = nn.Sequential(
            nn.Linear(2 * pooled, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, CLASSES)
        )

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        digit: Tensor = self.digit(torch.cat([y.mean(1), y.amax(1)], -1))
        cells: Tensor = self.cells(x)
        return digit, cells.mT


def random_rotations(count: int, generator: torch.Generator) -> Tensor:
    """Draw rotations uniformly: (count, 3, 3) matrices from unit quaternions."""
    q = functional.normalize(torch.randn(count, 4, generator=generator, dtype=torch.float64))
    scalar, vector = q[:, :1, None], q[:, 1:]
    outer = vector[:, :, None] * vector[:, None, :]
    zero = torch.zeros_like(vector[:, 0])
    x, y, z = vector.unbind(1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
    unit = torch.eye(3, dtype=torch.float64)
    square = vector.square().sum(1)[:, None, None]
    return ((scalar.square() - square) * unit + 2 * outer + 2 * scalar * cross).float()


def on_sphere(images: Tensor, rotations: Tensor, nside: int = NSIDE) -> Tensor:
    """Lay images on the sphere and turn them.

    Parameters
    ----------
    images
        (image, 1, y, x), first row on top.
    rotations
        (image, 3, 3), on column vectors.
    nside
        Resolution.

    Returns
    -------
    Tensor
        (image, cell), bilinear, zero outside of the images.

    Examples
    --------
    >>> from pipelines.studies.sphere_digits import on_sphere
    >>> field = on_sphere(torch.ones(1, 1, 8, 8), torch.eye(3)[None])
    >>> tuple(field.shape), round(float(field.mean()), 2)
    ((1, 768), 0.12)
    """
    x = torch.from_numpy(cell_frames(nside).positions()).to(images)
    ahead, east, north = (rotations.mT @ x).unbind(1)
    outside = 2.0  # of the chart, whose coordinates are -1 to 1
    near = ahead.clamp(min=1e-3) * _HALF_WIDTH
    places = torch.stack([east / near, -north / near], -1)
    places = places.masked_fill((ahead <= 0)[..., None], outside)
    sampled = functional.grid_sample(images, places[:, None], align_corners=False)
    return sampled[:, 0, 0]


def labels_of(fields: Tensor, digit: Tensor) -> Tensor:
    """Return the label of each cell, (batch, cell): the digit, or the background."""
    return torch.where(fields > _INTENSITY, digit[:, None], BACKGROUND)


@dataclass(frozen=True)
class Task:
    """A training, and how it is tested.

    Attributes
    ----------
    copies
        Rotated copies of each training image; 0 for the images as they are.
    steps
        Optimiser steps of :data:`BATCH` images.
    seed
        Random seed.
    training
        Training images; the others are tested, each turned at random.
    """

    copies: int
    steps: int
    seed: int = 0
    training: int = TRAINING

    def run(self, network: nn.Module, tick: ProgressCallback) -> dict[str, float]:
        """Train a network and test it on rotated images.

        Parameters
        ----------
        network
            Maps fields to logits of the digit and of the cells' labels.
        tick
            Called after each step.

        Returns
        -------
        dict
            ``accuracy`` in per cent, ``iou`` the mean over all labels of intersection over union,
            ``upright`` the accuracy without rotations, ``turning`` the change of the digit's
            logits by the rotation over their standard deviation, ``training_seconds`` of the
            processor, ``parameters``.
        """
        images, digit = digits()
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(images), generator=generator)
        train, test = order[: self.training], order[self.training :]
        tested = random_rotations(len(test), generator)
        copies = [random_rotations(self.training, generator) for _ in range(self.copies)]
        turns = torch.stack(copies) if copies else torch.eye(3).expand(1, self.training, 3, 3)
        started = time.process_time()
        optimiser = torch.optim.Adam(network.parameters())
        for step in range(self.steps):
            for group in optimiser.param_groups:
                group["lr"] = _RATE * one_cycle(step, self.steps)
            chosen = torch.randint(self.training, (BATCH,), generator=generator)
            copy = torch.randint(len(turns), (BATCH,), generator=generator)
            fields = on_sphere(images[train[chosen]], turns[copy, chosen])
            loss = _loss(network(fields), fields, digit[train[chosen]])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            tick(1)
        seconds = time.process_time() - started
        found = _test(network, images[test], digit[test], tested)
        size = sum(p.numel() for p in network.parameters())
        return {**found, "training_seconds": seconds, "parameters": float(size)}


def _loss(logits: tuple[Tensor, Tensor], fields: Tensor, digit: Tensor) -> Tensor:
    weight = torch.ones(CLASSES + 1)
    weight[BACKGROUND] = _BACKGROUND_WEIGHT
    cells = functional.cross_entropy(logits[1], labels_of(fields, digit), weight=weight)
    return functional.cross_entropy(logits[0], digit) + cells


@torch.no_grad()
def _test(network: nn.Module, images: Tensor, digit: Tensor, rotations: Tensor) -> dict[str, float]:
    network.eval()
    unit = torch.eye(3).expand(len(images), 3, 3)
    fields = [on_sphere(images, turns) for turns in (rotations, unit)]
    (turned, cells), (upright, _) = (network(each) for each in fields)
    right = [100 * float((each.argmax(1) == digit).double().mean()) for each in (turned, upright)]
    iou = mean_iou(cells.argmax(1), labels_of(fields[0], digit))
    turning = float((turned - upright).square().mean().sqrt() / upright.std())
    return {"accuracy": right[0], "iou": iou, "upright": right[1], "turning": turning}


def mean_iou(found: Tensor, wanted: Tensor, labels: Sequence[int] = range(CLASSES + 1)) -> float:
    """Return the mean over labels of intersection over union, of those that occur.

    Parameters
    ----------
    found, wanted
        Labels of the same shape.
    labels
        The labels.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> from pipelines.studies.sphere_digits import mean_iou
    >>> mean_iou(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]), labels=(0, 1))
    0.5833333333333333
    """
    shares = []
    for label in labels:
        one, other = found == label, wanted == label
        union = int((one | other).sum())
        if union:
            shares.append(int((one & other).sum()) / union)
    return sum(shares) / len(shares)
