"""Pangu-Weather's network on a regular grid, from the same layers.

Bi et al. (2022, arXiv 2211.02556) as the published comparison with PEAR uses it (arXiv 2505.17720):
patches of (2, 4, 4), windows of (2, 6, 12) tokens shifted by half, periodic in longitude and masked
at the poles, an Earth-specific bias for each row and level of windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from pear.equivariant.block import Block
from pear.equivariant.linear import linear, norm
from pear.errors import InputError
from pear.models.base import StepNetwork
from pear.models.config import LEVELS_IN_PATCH, UShapedConfig, check_heads
from pear.models.pangu_layers import WINDOW, LatLonAttention, LatLonWindows
from pear.sphere.latlon import LatLonGrid, global_grid
from pear.variables import Layout

PATCH_SIDE = 4


@dataclass(frozen=True)
class PanguConfig(UShapedConfig):
    """Settings that determine a Pangu network but for its weights.

    Attributes
    ----------
    rows, columns
        Size of the grid, from pole to pole and around the globe.
    layout
        Variables and levels, in order.
    embed, depths, heads, mlp_ratio
        As in :class:`pear.models.config.PearConfig`.
    masks
        Constant surface channels; zeros, as in the published comparison.
    drop_path
        Probability of dropping the last block's branches in training; it rises from 0.
    residual, forcings, step_hours
        As in :class:`pear.models.config.PearConfig`.

    Raises
    ------
    InputError
        If the grid is too small or the heads do not divide the features.

    Examples
    --------
    >>> from pear.models.pangu import PanguConfig
    >>> config = PanguConfig.like(nside=64)
    >>> config.rows, config.columns, config.grid.shape
    (157, 314, (157, 314))
    """

    rows: int = 157
    columns: int = 314
    layout: Layout = field(default_factory=Layout.default)
    embed: int = 48
    depths: tuple[int, ...] = (2, 6, 6, 2)
    heads: tuple[int, ...] = (6, 12, 12, 6)
    mlp_ratio: int = 4
    masks: int = 3
    drop_path: float = 0.2
    residual: bool = False
    forcings: tuple[str, ...] = ()
    step_hours: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows < 2 * PATCH_SIDE or self.columns < 2 * PATCH_SIDE:
            raise InputError(
                f"a grid of {self.rows} x {self.columns} is too small for patches of 4 x 4",
                field="rows",
            )
        check_heads(self.heads, [self.width(stage) for stage in range(4)])

    @classmethod
    def like(cls, nside: int, **changes: object) -> Self:
        """Return settings for a grid with about as many points as a HEALPix grid has cells.

        ERA5's 721 x 1440 points are thinned by the same factor in both directions.

        Parameters
        ----------
        nside
            Resolution of the HEALPix grid.
        changes
            Settings that differ.

        Returns
        -------
        PanguConfig
            The settings.
        """
        thin = math.sqrt(1440 * 721 / (12 * nside**2))
        settings = {"rows": math.ceil(721 / thin), "columns": math.ceil(1440 / thin)}
        return cls.from_dict({**settings, **changes})

    @property
    def grid(self) -> LatLonGrid:
        """Points of the grid, north first."""
        return global_grid(self.rows, self.columns)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a step of one state, by which threads are chosen."""
        rows, columns = (-(-size // PATCH_SIDE) for size in (self.rows, self.columns))
        depths = 1 + self.upper_depths
        fine, coarse = rows * columns * depths, -(-rows // 2) * -(-columns // 2) * depths
        slots = math.prod(WINDOW)
        return self.count_multiply_adds((fine, coarse, coarse, fine), (slots,) * 4)


class Pangu(StepNetwork):
    """One step on a regular grid: standardised fields in, standardised fields out.

    Fields are (batch, variable, point) and (batch, variable, level, point), points by row from
    the north. With the default settings it has the 11 385 993 parameters of the published
    comparison, with ``embed=192`` 33 696 777.

    Parameters
    ----------
    config
        The settings.

    Examples
    --------
    >>> from pear.models.pangu import Pangu
    >>> config = PanguConfig(rows=9, columns=16, embed=8, depths=(1,) * 4, heads=(1,) * 4)
    >>> surface, upper = Pangu(config)(torch.zeros(1, 4, 144), torch.zeros(1, 5, 13, 144))
    >>> tuple(surface.shape), tuple(upper.shape)
    ((1, 4, 144), (1, 5, 13, 144))
    """

    config: PanguConfig
    order: Tensor
    back: Tensor

    def __init__(self, config: PanguConfig) -> None:
        super().__init__()
        self.config = config
        tokens = (-(-config.rows // PATCH_SIDE), -(-config.columns // PATCH_SIDE))
        self._build_patches(config, tokens)
        layout = config.layout
        self.build_embeddings(
            "r",
            [1] * len(layout.surface),
            [1] * len(layout.upper),
            PATCH_SIDE**2,
            config.embed,
            config.masks,
        )
        fine = LatLonWindows(1 + config.upper_depths, *tokens)
        coarse = LatLonWindows(fine.depths, -(-fine.rows // 2), -(-fine.columns // 2))
        self.fine, self.coarse = fine, coarse
        drops = np.linspace(0.0, config.drop_path, sum(config.depths)).tolist()
        stages, done = [], 0
        for stage, windows in enumerate((fine, coarse, coarse, fine)):
            count = config.depths[stage]
            stages.append(_stage(config, stage, windows, drops[done : done + count]))
            done += count
        self.stages = nn.ModuleList(stages)
        outer, inner = config.width(0), config.width(1)
        self.merge_norm, self.merge = (
            norm("r", 4 * outer),
            linear("r", 4 * outer, inner, bias=False),
        )
        self.expand = linear("r", inner, 4 * outer, bias=False)
        self.expand_norm, self.mix = norm("r", outer), linear("r", outer, outer, bias=False)
        north = np.repeat(config.grid.lat, config.columns)
        east = np.tile(np.arange(config.columns) * 360.0 / config.columns, config.rows)
        self.build_fields(north, east)

    def _build_patches(self, config: PanguConfig, tokens: tuple[int, int]) -> None:
        """Register the order of points by patch, with the index past the last for missing ones."""
        rows, columns = config.rows, config.columns
        index = np.full((tokens[0] * PATCH_SIDE, tokens[1] * PATCH_SIDE), rows * columns)
        top = (index.shape[0] - rows) // 2
        left = (index.shape[1] - columns) // 2
        inside = (slice(top, top + rows), slice(left, left + columns))
        index[inside] = np.arange(rows * columns).reshape(rows, columns)
        cut = index.reshape(tokens[0], PATCH_SIDE, tokens[1], PATCH_SIDE).transpose(0, 2, 1, 3)
        order = np.ascontiguousarray(cut).reshape(-1)
        back = np.empty(rows * columns, dtype=np.int64)
        held = order < rows * columns
        back[order[held]] = np.flatnonzero(held)
        self.register_buffer("order", torch.from_numpy(order), persistent=False)
        self.register_buffer("back", torch.from_numpy(back), persistent=False)

    def forward(
        self, surface: Tensor, upper: Tensor, forcing: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Advance standardised fields by one step; shapes kept.

        Parameters
        ----------
        surface, upper
            (batch, variable, point) and (batch, variable, level, point).
        forcing
            (batch, forcing, point) from :meth:`forcing`; ValueError if the network needs it.

        Returns
        -------
        surface, upper
            Same shapes.
        """
        self.check_forcing(forcing)
        x = self._embed(surface, upper, forcing)
        x = x.reshape(*x.shape[:2], self.fine.rows, self.fine.columns, -1)
        x = skip = self.stages[0](x)
        x = self.stages[2](self.stages[1](self._down(x)))
        x = self.stages[3](self._up(x))
        x = torch.cat([skip, x], dim=-1).flatten(2, 3)
        new_surface = self.recover_surface(x[:, :1])[:, :, 0][..., self.back]
        new_upper = self.recover_upper(x[:, 1:])[:, :, : upper.shape[2]][..., self.back]
        return self.apply_increment(surface, upper, new_surface, new_upper)

    def _embed(self, surface: Tensor, upper: Tensor, forcing: Tensor | None) -> Tensor:
        padded = LEVELS_IN_PATCH * self.config.upper_depths - upper.shape[2]
        upper = nn.functional.pad(self._patched(upper), (0, 0, 0, padded))
        zeros = surface.new_zeros(surface.shape[0], self.config.masks, surface.shape[2])
        flat = self._patched(torch.cat([surface, zeros], dim=1))
        x = torch.cat([self.embed_surface(flat[:, :, None]), self.embed_upper(upper)], dim=1)
        return self.forced(x, None if forcing is None else self._patched(forcing))

    def _patched(self, fields: Tensor) -> Tensor:
        """Return points in the order of patches, zeros where a patch exceeds the grid."""
        return nn.functional.pad(fields, (0, 1))[..., self.order]

    def _down(self, x: Tensor) -> Tensor:
        """Merge four neighbouring tokens into one of twice the width."""
        coarse = self.coarse
        x = nn.functional.pad(
            x, (0, 0, 0, 2 * coarse.columns - x.shape[3], 0, 2 * coarse.rows - x.shape[2])
        )
        x = x.reshape(*x.shape[:2], coarse.rows, 2, coarse.columns, 2, -1)
        x = x.permute(0, 1, 2, 4, 3, 5, 6).flatten(4)
        out: Tensor = self.merge(self.merge_norm(x))
        return out

    def _up(self, x: Tensor) -> Tensor:
        """Split each token into four of half the width."""
        x = self.expand(x).reshape(*x.shape[:4], 2, 2, -1).permute(0, 1, 2, 4, 3, 5, 6)
        x = x.flatten(4, 5).flatten(2, 3)[:, :, : self.fine.rows, : self.fine.columns]
        out: Tensor = self.mix(self.expand_norm(x))
        return out


def _stage(
    config: PanguConfig, stage: int, windows: LatLonWindows, drops: list[float]
) -> nn.Sequential:
    width = config.width(stage)
    blocks = [
        Block(
            LatLonAttention(windows, width, config.heads[stage], shifted=bool(index % 2)),
            width,
            config.mlp_ratio,
            drop_path=drop,
        )
        for index, drop in enumerate(drops)
    ]
    return nn.Sequential(*blocks)
