"""Reference implementation of the published PEAR (arXiv 2505.17720, section 3).

A direct transcription of the authors' public code. The tests compare :mod:`pear.equivariant` with
it and the benchmark measures against it, so it shares nothing with that package: neither shifts nor
masks nor attention.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from pear.sphere import healpix

DEPTH: Final = 8
"""Depths of the token grid: the surface and seven pairs of levels."""
PATCH: Final = 16
WINDOW: Final = 64
STAGES: Final = ((2, 48, 6), (6, 96, 12), (6, 96, 12), (2, 48, 6))
"""(blocks, features, heads) of the four stages."""


class PublishedReference(nn.Module):
    """The published PEAR with the published names of parameters.

    Parameters
    ----------
    state
        State dict with the published keys (``patch_embed.proj_surface.weight``, …).
    nside
        Resolution of the fields, at least 8. Below 32, windows hold the four base pixels of a row,
        as in :class:`pear.sphere.windows.TokenGrid`.
    """

    def __init__(self, state: Mapping[str, Tensor], nside: int = 64) -> None:
        super().__init__()
        # ParameterDict wants no dots in a name.
        self.weights = nn.ParameterDict(
            {key.replace(".", "|"): value.clone() for key, value in state.items()}
        )
        self.fine, self.coarse = _RingRoll(nside // 4), _RingRoll(nside // 8)

    def forward(self, surface: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, 4, cell) and (batch, 5, 13, cell) to the state 24 h later."""
        x = self.embed(surface, upper)
        x = self.stage(x, 0)
        skip = x
        x = self.merge(x)
        x = self.stage(x, 1)
        x = self.stage(x, 2)
        x = self.norm(x, "norm")
        x = self.expand(x)
        x = self.stage(x, 3)
        return self.recover(torch.cat([skip, x], dim=-1))

    def embed(self, surface: Tensor, upper: Tensor) -> Tensor:
        """Embed patches of 4×4 cells (and two levels): (batch, depth, token, 48)."""
        upper = fn.pad(upper, (0, 0, 1, 0))
        low = fn.conv1d(surface, *self.pair("patch_embed.proj_surface"), stride=PATCH)
        high = fn.conv2d(upper, *self.pair("patch_embed.proj_upper"), stride=(2, PATCH))
        return torch.cat([low[:, :, None], high], dim=2).permute(0, 2, 3, 1)

    def recover(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Recover the fields from (batch, depth, token, 96); the last of 14 levels is cropped."""
        x = x.permute(0, 3, 1, 2)
        low = fn.conv_transpose1d(x[:, :, 0], *self.pair("final_up.conv_surface"), stride=PATCH)
        high = fn.conv_transpose2d(
            x[:, :, 1:], *self.pair("final_up.conv_upper"), stride=(2, PATCH)
        )
        return low, high[:, :, :13]

    def merge(self, x: Tensor) -> Tensor:
        """Concatenate four children, normalise and map to 96 features."""
        batch, depth, tokens, features = x.shape
        x = x.reshape(batch, depth, tokens // 4, 4 * features)
        x = self.norm(x, "downsample.norm")
        return fn.linear(x, self.get("downsample.reduction.weight"))

    def expand(self, x: Tensor) -> Tensor:
        """Split each token into four children of 48 features."""
        batch, depth, tokens, _ = x.shape
        x = fn.linear(x, self.get("upsample.expand.weight"))
        x = x.reshape(batch, depth, tokens * 4, -1)
        x = self.norm(x, "upsample.norm")
        return fn.linear(x, self.get("upsample.linear.weight"))

    def stage(self, x: Tensor, number: int) -> Tensor:
        """Apply the blocks of one stage; the odd ones are shifted."""
        blocks, _, heads = STAGES[number]
        for index in range(blocks):
            x = self.block(x, f"layers.{number}.blocks.{index}.", heads, shifted=index % 2 == 1)
        return x

    def block(self, x: Tensor, name: str, heads: int, *, shifted: bool) -> Tensor:
        """Apply a post-norm residual block: attention in windows, then the MLP."""
        batch, depth, tokens, features = x.shape
        ring = self.fine if tokens == len(self.fine.forward_index) else self.coarse
        y = x
        if shifted:
            y = torch.roll(y[:, :, ring.forward_index], -1, dims=1)
        y = y.reshape(batch, depth // 2, 2, tokens // ring.window, ring.window, features)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(-1, 2 * ring.window, features)
        y = self.attention(y, name + "attn.", heads, ring.mask if shifted else None)
        y = y.reshape(batch, depth // 2, tokens // ring.window, 2, ring.window, features)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(batch, depth, tokens, features)
        if shifted:
            y = torch.roll(y, 1, dims=1)[:, :, ring.inverse_index]
        x = x + self.norm(y, name + "norm1")
        hidden = fn.gelu(self.linear(x, name + "mlp.fc1"))
        return x + self.norm(self.linear(hidden, name + "mlp.fc2"), name + "norm2")

    def attention(self, x: Tensor, name: str, heads: int, mask: Tensor | None) -> Tensor:
        """Attend inside windows (window, slot, features); mask (window, slot, slot)."""
        windows, length, features = x.shape
        qkv = self.linear(x, name + "qkv").reshape(windows, length, 3, heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        logits = (q * (features // heads) ** -0.5) @ k.transpose(-2, -1)
        logits = logits + self.get(name + "earth_position_bias")
        if mask is not None:
            logits = logits.reshape(-1, len(mask), heads, length, length) + mask[:, None]
            logits = logits.reshape(-1, heads, length, length)
        y = torch.softmax(logits, dim=-1) @ v
        return self.linear(y.transpose(1, 2).reshape(windows, length, features), name + "proj")

    def get(self, name: str) -> Tensor:
        """Return a parameter by its published name."""
        value: Tensor = self.weights[name.replace(".", "|")]
        return value

    def pair(self, name: str) -> tuple[Tensor, Tensor]:
        """Return weight and bias of a layer."""
        return self.get(name + ".weight"), self.get(name + ".bias")

    def linear(self, x: Tensor, name: str) -> Tensor:
        """Apply a linear map with bias to the features."""
        return fn.linear(x, *self.pair(name))

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Normalise over the features."""
        return fn.layer_norm(x, x.shape[-1:], *self.pair(name))


class _RingRoll(nn.Module):
    """The published shift and its mask on a token grid of one resolution.

    Parameters
    ----------
    nside
        Resolution of the tokens.
    """

    forward_index: Tensor
    inverse_index: Tensor
    mask: Tensor

    def __init__(self, nside: int) -> None:
        super().__init__()
        ring = torch.from_numpy(np.asarray(healpix.ring_of_nest(nside)).astype(np.int64))
        nest = torch.from_numpy(np.asarray(healpix.nest_of_ring(nside)).astype(np.int64))
        self.window = window_cells(nside)
        shift = math.isqrt(self.window) // 2
        # shifted_ring[r] = x_ring[r + shift], in nested order.
        forward = nest[(ring + shift) % len(ring)]
        inverse = torch.empty_like(forward)
        inverse[forward] = torch.arange(len(forward))
        self.register_buffer("forward_index", forward, persistent=False)
        self.register_buffer("inverse_index", inverse, persistent=False)
        self.register_buffer("mask", self._mask(ring, shift), persistent=False)

    def _mask(self, ring: Tensor, shift: int) -> Tensor:
        """Return -100 where two tokens of a window come from different regions, else 0."""
        cells, window = len(ring), self.window
        label = torch.zeros(DEPTH, cells)
        edges = (0, cells - window, cells - shift, cells)
        count = 0
        for pair in range(DEPTH // 2):
            for start, stop in itertools.pairwise(edges):
                label[2 * pair : 2 * pair + 2, start:stop] = count
                count += 1
        label[6] += 12
        label[7] += 24
        label = label[:, ring]
        windows = label.reshape(DEPTH // 2, 2, cells // window, window).permute(0, 2, 1, 3)
        windows = windows.reshape(-1, 2 * window)
        differs = windows[:, :, None] != windows[:, None, :]
        return torch.where(differs, -100.0, 0.0)


def window_cells(nside: int) -> int:
    """Return the tokens of one depth in a window of a token grid."""
    return min(WINDOW, 4 * nside**2)


def random_state(seed: int = 0, scale: float = 0.02, nside: int = 64) -> dict[str, Tensor]:
    """Draw a published state dict (4 279 881 numbers from nside 32 on) at random.

    Weights, biases and position biases are normal with deviation ``scale``. Scales of norms are
    near 1, so that every parameter contributes to the output.

    Parameters
    ----------
    seed
        Random seed.
    scale
        Standard deviation.
    nside
        Resolution of the fields, on which the sizes of the windows depend.

    Returns
    -------
    dict
        Parameters by their published names.
    """
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in _shapes(nside).items():
        value = torch.randn(shape, generator=generator) * scale
        norm = name.split(".")[-2].startswith("norm") and name.endswith("weight")
        state[name] = value + 1 if norm else value
    return state


def _shapes(nside: int) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every published parameter."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *weight: int, bias: int | None = None) -> None:
        shapes[name + ".weight"] = weight
        if bias is not None:
            shapes[name + ".bias"] = (bias,)

    layer("patch_embed.proj_surface", 48, 4, PATCH, bias=48)
    layer("patch_embed.proj_upper", 48, 5, 2, PATCH, bias=48)
    for number, (blocks, size, heads) in enumerate(STAGES):
        slots = 2 * window_cells(nside // (4 if size == 48 else 8))
        for index in range(blocks):
            name = f"layers.{number}.blocks.{index}."
            layer(name + "norm1", size, bias=size)
            shapes[name + "attn.earth_position_bias"] = (1, heads, slots, slots)
            layer(name + "attn.qkv", 3 * size, size, bias=3 * size)
            layer(name + "attn.proj", size, size, bias=size)
            layer(name + "norm2", size, bias=size)
            layer(name + "mlp.fc1", 4 * size, size, bias=4 * size)
            layer(name + "mlp.fc2", size, 4 * size, bias=size)
    layer("downsample.reduction", 96, 192)
    layer("downsample.norm", 192, bias=192)
    layer("norm", 96, bias=96)
    layer("upsample.expand", 192, 96)
    layer("upsample.norm", 48, bias=48)
    layer("upsample.linear", 48, 48)
    layer("final_up.conv_surface", 96, 4, PATCH, bias=4)
    layer("final_up.conv_upper", 96, 5, 2, PATCH, bias=5)
    return shapes
