"""PEAR, the pangu-like U-shaped window transformer on HEALPix (arXiv 2505.17720)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pear.equivariant.block import Block, MixingBlock, earth_block
from pear.equivariant.linear import Symmetry, norm
from pear.equivariant.patch import PatchExpand, PatchMerge
from pear.equivariant.spectral import DepthwiseSpectral, SpectralConv
from pear.equivariant.stencil import DepthwiseStencil, StencilConv
from pear.equivariant.wind_frames import FaceFrames
from pear.equivariant.window_shift import WindowShift, from_windows, to_windows
from pear.models.base import StepNetwork
from pear.models.config import PearConfig
from pear.models.wind_channels import WindChannels
from pear.sphere.healpix import centres
from pear.sphere.windows import TokenGrid


class Pear(StepNetwork):
    """Network that advances standardised fields on HEALPix cells by one step.

    Linear embedding of patches, a stage of blocks, merging, two stages of twice the width,
    expanding, a stage, the skip connection and the linear recovery. With
    ``PearConfig.published()`` it is the network of arXiv 2505.17720, number for number.

    Parameters
    ----------
    config
        The settings.

    Examples
    --------
    >>> from pear.models.pear import Pear
    >>> config = PearConfig(nside=4, embed=8, depths=(1,) * 4, heads=(1,) * 4, patch=4)
    >>> surface, upper = Pear(config)(torch.zeros(2, 4, 192), torch.zeros(2, 5, 13, 192))
    >>> tuple(surface.shape), tuple(upper.shape)
    ((2, 4, 192), (2, 5, 13, 192))
    """

    config: PearConfig
    surface_frames: FaceFrames | None
    upper_frames: FaceFrames | None
    wind_channels: WindChannels | None

    def __init__(self, config: PearConfig) -> None:
        super().__init__()
        self.config, self.grid = config, config.grid
        surface, upper = config.scalar_signs("surface"), config.scalar_signs("upper")
        self.build_embeddings(config.symmetry, surface, upper, config.patch, config.embed)
        self._build_depth_vector(config)
        self._build_trunk(config)
        self.surface_frames = self.upper_frames = None
        if config.wind == "face":
            self.surface_frames = FaceFrames(config.nside, config.winds("surface"))
            self.upper_frames = FaceFrames(config.nside, config.winds("upper"))
        self.wind_channels = WindChannels(config) if config.wind == "gauge" else None
        self.build_fields(*centres(config.nside))
        if self.wind_channels is not None and config.residual:
            self.wind_channels.tokens.zero()

    def _build_depth_vector(self, config: PearConfig) -> None:
        self.depth_vector: nn.Parameter | None = None
        if config.depth_embedding:
            even = config.embed // 2 if config.symmetry == "c4h" else config.embed
            self.depth_vector = nn.Parameter(torch.zeros(config.grid.depths, 1, even))
            nn.init.trunc_normal_(self.depth_vector, std=0.02)

    def _build_trunk(self, config: PearConfig) -> None:
        symmetry, fine = config.symmetry, config.grid
        coarse = fine.coarser()
        grids = (fine, coarse, coarse, fine)
        shifts = {grid: WindowShift.from_name(grid, config.shift) for grid in (fine, coarse)}
        self.stages = nn.ModuleList(
            _stage(config, stage, grid, shifts[grid]) for stage, grid in enumerate(grids)
        )
        outer, inner = config.width(0), config.width(1)
        self.merge = PatchMerge(symmetry, fine, outer, inner)
        self.norm = norm(symmetry, inner)
        self.expand = PatchExpand(symmetry, fine, inner, outer)

    def forward(
        self, surface: Tensor, upper: Tensor, forcing: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Advance standardised fields by one step.

        Parameters
        ----------
        surface, upper
            (batch, surface variable, cell) and (batch, upper variable, level, cell).
        forcing
            (batch, forcing, cell) from :meth:`forcing`, if the model has forcings.

        Returns
        -------
        surface, upper
            Same shapes.

        Notes
        -----
        A ``ValueError`` names a wrong shape or a missing forcing.
        """
        self._check(surface, upper, forcing)
        x, winds = self._embed(*self._in_frames(surface, upper, "face"), forcing)
        x = to_windows(x, self.grid)
        x = skip = self.stages[0](x)
        x = self.stages[2](self.stages[1](self.merge(x)))
        x = self.stages[3](self.expand(self.norm(x)))
        x = from_windows(torch.cat([skip, x], dim=-1), self.grid)
        new_surface = self.recover_surface(x[..., :1, :, :])[:, :, 0]
        new_upper = self.recover_upper(x[..., 1:, :, :])
        if self.wind_channels is not None and winds is not None:
            new_surface, new_upper = self.wind_channels.join(new_surface, new_upper, x, winds)
        new_upper = new_upper[:, :, : upper.shape[2]]
        new_surface, new_upper = self._in_frames(new_surface, new_upper, "geographic")
        return self.apply_increment(surface, upper, new_surface, new_upper)

    def _in_frames(
        self, surface: Tensor, upper: Tensor, frames: Literal["face", "geographic"]
    ) -> tuple[Tensor, Tensor]:
        if self.surface_frames is None or self.upper_frames is None:
            return surface, upper
        return self.surface_frames(surface, frames), self.upper_frames(upper, frames)

    def _embed(
        self, surface: Tensor, upper: Tensor, forcing: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the tokens, and their winds where these are not part of them."""
        padded = self.config.padded_levels
        before = padded if self.config.padding == "published" else 0
        upper = nn.functional.pad(upper, (0, 0, before, padded - before))
        winds = None
        if self.wind_channels is not None:
            surface, upper, winds = self.wind_channels.split(surface, upper)
        x = torch.cat([self.embed_surface(surface[:, :, None]), self.embed_upper(upper)], dim=-3)
        # In the type of the parameters, since it is changed in place from here on.
        x = self.forced(x.to(self.recover_surface.bias.dtype), forcing)
        if self.wind_channels is not None and winds is not None:
            x += self.wind_channels.tokens.features(winds)
        if self.depth_vector is not None:
            even = x if self.config.symmetry == "r" else x[0]
            even += self.depth_vector
        return x, winds

    def _check(self, surface: Tensor, upper: Tensor, forcing: Tensor | None) -> None:
        layout, cells, batch = self.config.layout, self.sin_latitude.numel(), surface.shape[0]
        want: dict[str, tuple[int, ...]] = {
            "surface": (batch, len(layout.surface), cells),
            "upper": (batch, len(layout.upper), len(layout.levels), cells),
        }
        given = {"surface": surface, "upper": upper}
        self.check_forcing(forcing)
        if forcing is not None:
            want["forcing"] = (batch, len(self.config.forcings), cells)
            given["forcing"] = forcing
        for name, tensor in given.items():
            if tuple(tensor.shape) != want[name]:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}, must be {want[name]}")


def _stage(config: PearConfig, stage: int, grid: TokenGrid, shift: WindowShift) -> nn.Sequential:
    """Build the blocks of one stage, every second one with attention shifted."""
    symmetry, width, ratio = config.symmetry, config.width(stage), config.mlp_ratio
    blocks: list[Block | MixingBlock] = []
    attending = 0
    for kind in config.blocks(stage):
        if kind == "attention":
            moved = shift if attending % 2 else None
            attending += 1
            heads = config.heads[stage]
            blocks.append(earth_block(symmetry, grid, width, heads, moved, ratio))
        else:
            blocks.append(MixingBlock(_mixing_layer(kind, symmetry, grid, width), width, ratio))
    return nn.Sequential(*blocks)


def _mixing_layer(
    kind: str, symmetry: Symmetry, grid: TokenGrid, width: int
) -> StencilConv | SpectralConv:
    """Build what a block mixes tokens by, other than attention."""
    if kind == "stencil":
        return DepthwiseStencil(symmetry, grid, width)
    if kind == "full_stencil":
        return StencilConv(symmetry, grid, width, width)
    if kind == "spectral":
        return DepthwiseSpectral(symmetry, grid, width)
    return SpectralConv(symmetry, grid, width, width)
