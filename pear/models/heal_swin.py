"""HEAL-SWIN: a U-Net of window attention for spherical images (CVPR 2024, arXiv 2307.07313).

It has the blocks of PEAR without depths, with relative position bias and cosine attention, at four
resolutions with skip connections. It classifies or regresses every cell of the sphere, or of its
first base pixels, as for images of hemispheric cameras.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn

from pear.config import Config
from pear.equivariant.attention import EarthBias, RelativeBias, WindowAttention
from pear.equivariant.block import Block
from pear.equivariant.linear import linear, norm
from pear.equivariant.patch import PatchEmbed, PatchExpand, PatchMerge
from pear.equivariant.window_shift import WindowShift, from_windows, to_windows
from pear.errors import InputError
from pear.models.config import check_heads, check_power
from pear.sphere.healpix import BASE_PIXELS
from pear.sphere.windows import TokenGrid, shifted_windows

Shift = Literal["ring_rotation", "spiral", "nest_grid", "nest_roll"]
Position = Literal["relative", "free"]


@dataclass(frozen=True)
class HealSwinConfig(Config):
    """Settings that determine a HEAL-SWIN network but for its weights.

    Attributes
    ----------
    inputs, outputs
        Channels of the image, and classes or regressed fields.
    nside, base_pixels
        Resolution, and number of base pixels covered, the first ones in nested order.
    patch, window
        Consecutive nested cells in a token, and tokens in a window: powers of four.
    embed
        Features of the finest stage; each coarser one has twice as many.
    depths, heads
        Blocks and heads of each stage on the way down; the way up mirrors it.
    mlp_ratio
        Width of the MLPs over that of their stage.
    shift
        Shift of every second block: ``ring_rotation``, or one of the paper's, of which ``spiral``
        is PEAR's ring roll.
    position
        Position bias: ``relative``, from differences in the Morton coordinates, or ``free``.
    cosine, post_norm
        Cosine attention, and norms after each branch instead of before it ("version 2").
    dropout, attention_dropout, drop_path
        Probabilities in training; drop-path grows with depth up to its value.

    Raises
    ------
    InputError
        If the settings are inconsistent.

    Examples
    --------
    >>> from pear.models.heal_swin import HealSwinConfig
    >>> config = HealSwinConfig.small(nside=64)
    >>> config.cells, [config.width(stage) for stage in range(4)]
    (49152, [24, 48, 96, 192])
    """

    inputs: int = 3
    outputs: int = 10
    nside: int = 256
    base_pixels: int = 8
    patch: int = 4
    window: int = 64
    embed: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    mlp_ratio: int = 4
    shift: Shift = "spiral"
    position: Position = "relative"
    cosine: bool = True
    post_norm: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.1
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_sizes()
        self._check_grids()

    @classmethod
    def driving(cls, inputs: int = 3, outputs: int = 10, **changes: object) -> Self:
        """Return the paper's settings for driving images: nside 256, 8 base pixels, 41 M numbers.

        Parameters
        ----------
        inputs, outputs
            Channels and classes.
        changes
            Settings that differ.

        Returns
        -------
        HealSwinConfig
            The settings.
        """
        return cls.from_dict({"inputs": inputs, "outputs": outputs, **changes})

    @classmethod
    def small(cls, inputs: int = 3, outputs: int = 14, nside: int = 64, **changes: object) -> Self:
        """Return settings of 1.7 M parameters for full spheres: windows of 16, shifted by 2.

        Parameters
        ----------
        inputs, outputs
            Channels and classes.
        nside
            Resolution.
        changes
            Settings that differ.

        Returns
        -------
        HealSwinConfig
            The settings.
        """
        settings: dict[str, object] = {
            "inputs": inputs,
            "outputs": outputs,
            "nside": nside,
            "base_pixels": BASE_PIXELS,
            "window": 16,
            "embed": 24,
            "depths": (2, 2, 2, 2),
            "heads": (1, 2, 4, 8),
            "shift": "ring_rotation",
        }
        return cls.from_dict({**settings, **changes})

    @property
    def cells(self) -> int:
        """Cells of the image."""
        return self.base_pixels * self.nside**2

    @property
    def grids(self) -> tuple[TokenGrid, ...]:
        """Tokens and windows of each stage, the finest first."""
        grid = TokenGrid(self.nside // math.isqrt(self.patch), 1, self.window, 1, self.base_pixels)
        grids = [grid]
        for _ in self.depths[1:]:
            grids.append(grids[-1].coarser())
        return tuple(grids)

    def _check_sizes(self) -> None:
        for name in ("inputs", "outputs", "embed", "mlp_ratio"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}", field=name)
        if not self.depths or len(self.depths) != len(self.heads):
            raise InputError(
                f"depths {self.depths} and heads {self.heads} must name the same stages",
                field="depths",
            )
        check_heads(self.heads, [self.width(stage) for stage in range(len(self.heads))])

    def _check_grids(self) -> None:
        check_power("nside", self.nside, 2)
        check_power("patch", self.patch, 4)
        least = math.isqrt(self.patch) << (len(self.depths) - 1)
        if self.nside < least:
            raise InputError(
                f"nside {self.nside} is too coarse for patches of {self.patch} cells and "
                f"{len(self.depths)} stages",
                field="nside",
                hint=f"use nside ≥ {least}",
            )
        try:
            _ = self.grids
        except ValueError as error:
            raise InputError(str(error), field="window") from error

    def width(self, stage: int) -> int:
        """Return the features of a stage."""
        return self.embed << stage


class HealSwin(nn.Module):
    """Map an image (batch, channel, cell) to (batch, output, cell), cells in nested order.

    For segmentation the outputs are the logits of the classes, for regression the fields.

    Parameters
    ----------
    config
        The settings.

    Examples
    --------
    >>> from pear.models.heal_swin import HealSwin
    >>> config = HealSwinConfig.small(nside=16, depths=(1, 1), heads=(1, 2), embed=8)
    >>> model = HealSwin(config)
    >>> tuple(model(torch.zeros(2, config.inputs, config.cells)).shape)
    (2, 14, 3072)
    """

    def __init__(self, config: HealSwinConfig) -> None:
        super().__init__()
        self.config = config
        grids, widths = config.grids, [config.width(s) for s in range(len(config.depths))]
        stages = range(len(grids))
        shifts = [_shift(grid, config.shift) for grid in grids]
        rates = torch.split(
            torch.linspace(0, config.drop_path, sum(config.depths)), list(config.depths)
        )
        self.embed = PatchEmbed("r", [1] * config.inputs, 1, config.patch, widths[0])
        self.embed_norm = norm("r", widths[0])
        self.down = nn.ModuleList(_stage(config, s, shifts[s], rates[s]) for s in stages)
        self.merge = nn.ModuleList(
            PatchMerge("r", grids[s], widths[s], widths[s + 1]) for s in stages[:-1]
        )
        self.norm = norm("r", widths[-1])
        self.expand = nn.ModuleList(
            PatchExpand("r", grids[s], widths[s + 1], widths[s]) for s in stages[:-1]
        )
        self.join = nn.ModuleList(linear("r", 2 * widths[s], widths[s]) for s in stages[:-1])
        self.up = nn.ModuleList(_stage(config, s, shifts[s], rates[s]) for s in stages[:-1])
        self.widen = linear("r", widths[0], config.patch * widths[0], bias=False)
        self.head_norm = norm("r", widths[0])
        self.head = linear("r", widths[0], config.outputs)

    def forward(self, image: Tensor) -> Tensor:
        """Classify or regress every cell.

        Parameters
        ----------
        image
            (batch, channel, cell), standardised.

        Returns
        -------
        Tensor
            (batch, output, cell).

        Raises
        ------
        ValueError
            If the shape differs from the settings.
        """
        config, grid = self.config, self.config.grids[0]
        if image.dim() != 3 or tuple(image.shape[1:]) != (config.inputs, config.cells):
            raise ValueError(
                f"image has shape {tuple(image.shape)}, must be (batch, {config.inputs}, "
                f"{config.cells}): nside {config.nside}, {config.base_pixels} base pixels"
            )
        x = self.embed_norm(to_windows(self.embed(image[:, :, None]), grid))
        skips = []
        for stage, merge in zip(self.down, self.merge, strict=False):
            x = stage(x)
            skips.append(x)
            x = merge(x)
        x = self.norm(self.down[-1](x))
        for expand, join, stage in reversed(
            list(zip(self.expand, self.join, self.up, strict=True))
        ):
            x = stage(join(torch.cat([expand(x), skips.pop()], dim=-1)))
        x = self.widen(from_windows(x, grid)[:, 0])
        x = x.reshape(len(x), config.cells, -1)
        return cast(Tensor, self.head(self.head_norm(x))).mT


def _shift(grid: TokenGrid, name: Shift) -> WindowShift:
    shift = "ring_roll" if name == "spiral" else name
    return WindowShift(grid, shifted_windows(grid, shift, depth_shift=False))


def _stage(config: HealSwinConfig, stage: int, shift: WindowShift, rates: Tensor) -> nn.Sequential:
    """Build the blocks of one stage, every second one shifted."""
    width, heads = config.width(stage), config.heads[stage]
    bias = RelativeBias if config.position == "relative" else EarthBias
    blocks = []
    for index, rate in enumerate(rates.tolist()):
        attention = WindowAttention(
            width,
            heads,
            bias(shift.grid, heads),
            shift if index % 2 else None,
            cosine=config.cosine,
            dropout=config.attention_dropout,
        )
        blocks.append(
            Block(
                attention,
                width,
                config.mlp_ratio,
                pre_norm=not config.post_norm,
                dropout=config.dropout,
                drop_path=rate,
            )
        )
    return nn.Sequential(*blocks)
