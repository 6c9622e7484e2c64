"""Settings of a PEAR network: the published one, PEAR's own, and everything between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from pear.config import Config, check_choice
from pear.equivariant.linear import Symmetry
from pear.errors import InputError
from pear.models.mixing import Mixing, block_kinds, mixing_multiply_adds, parse_mixing
from pear.sphere.harmonics import LARGEST_DEGREE
from pear.sphere.windows import TokenGrid
from pear.variables import Kind, Layout, wind_pair, wind_partner

Shift = Literal["none", "ring_roll", "ring_rotation"]
Padding = Literal["published", "top"]
Mirror = Literal["signed", "unsigned"]
Wind = Literal["geographic", "face", "gauge"]
FORCINGS: Final[dict[str, int]] = {
    "sin_latitude": -1,
    "orography": 1,
    "land_fraction": 1,
    "cos_year": -1,
    "sin_year": -1,
    "cos_hour": 1,
    "sin_hour": 1,
}
"""Forcing fields with their sign under the mirror.

The sine of latitude changes its sign under the mirror and the mirror exchanges the seasons, so that
these fields keep the symmetry. Orography and land move with the state, and so does the local solar
time, of which ``cos_hour`` and ``sin_hour`` are the phase: noon moves with the cells.
"""
HOURLY: Final = ("cos_hour", "sin_hour")
DAILY: Final = tuple(name for name in FORCINGS if name not in HOURLY)
"""Forcings of a model with steps of whole days, which always starts at the same local time."""
LEVELS_IN_PATCH: Final = 2


class UShapedConfig(Config):
    """Base of the settings of networks with four stages, the inner two of twice the width.

    Examples
    --------
    >>> from pear.models.config import PearConfig, UShapedConfig
    >>> config = PearConfig()
    >>> isinstance(config, UShapedConfig)
    True
    >>> config.upper_depths, [config.width(stage) for stage in range(4)]
    (7, [48, 96, 96, 48])
    """

    layout: Layout
    embed: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratio: int

    @property
    def upper_depths(self) -> int:
        """Pairs of levels: an odd number, which the surface makes even."""
        pairs = -(-len(self.layout.levels) // LEVELS_IN_PATCH)
        return pairs + 1 - pairs % 2

    def width(self, stage: int) -> int:
        """Return the features of a stage 0…3."""
        return self.embed * (2 if stage in (1, 2) else 1)

    def count_multiply_adds(self, tokens: Sequence[int], slots: Sequence[int]) -> int:
        """Count the multiply-adds of the blocks for one state: about nine tenths of a step's.

        Parameters
        ----------
        tokens, slots
            Tokens of each stage over all depths, and tokens in a window of each stage.

        Returns
        -------
        int
            Multiply-adds of plain features.
        """
        total = 0
        for stage, (many, window) in enumerate(zip(tokens, slots, strict=True)):
            width = self.width(stage)
            maps = (4 + 2 * self.mlp_ratio) * width**2  # query, key, value, projection, MLP
            total += self.depths[stage] * many * (maps + 2 * window * width)
        return total


def check_heads(heads: Sequence[int], widths: Sequence[int]) -> None:
    """Check that the heads of each stage divide its features.

    Parameters
    ----------
    heads, widths
        Heads and features of each stage.

    Raises
    ------
    InputError
        Naming the stage.

    Examples
    --------
    >>> from pear.models.config import check_heads
    >>> check_heads((3, 6), widths=(48, 96))
    >>> check_heads((5, 6), widths=(48, 96))
    Traceback (most recent call last):
    pear.errors.InputError: heads[0] = 5 does not divide the 48 features of its stage
    """
    for stage, (count, width) in enumerate(zip(heads, widths, strict=True)):
        if count < 1 or width % count:
            raise InputError(
                f"heads[{stage}] = {count} does not divide the {width} features of its stage",
                field="heads",
            )


def check_power(name: str, value: int, base: int) -> None:
    """Check that a setting is a power of ``base``.

    Parameters
    ----------
    name
        The setting.
    value
        Its value.
    base
        2 or 4.

    Raises
    ------
    InputError
        Naming the setting and its value.

    Examples
    --------
    >>> from pear.models.config import check_power
    >>> check_power("window", 64, base=4)
    >>> check_power("window", 32, base=4)
    Traceback (most recent call last):
    pear.errors.InputError: window must be a power of 4, got 32
    """
    if value < 1 or base ** round(math.log(value, base)) != value:
        raise InputError(f"{name} must be a power of {base}, got {value}", field=name)


@dataclass(frozen=True)
class PearConfig(UShapedConfig):
    """Settings that determine a PEAR network but for its weights.

    Attributes
    ----------
    nside
        Resolution of the cells, a power of two.
    layout
        Variables and levels, in order.
    embed
        Features of the outer stages; the inner stages have twice as many.
    depths
        Blocks of the four stages: before merging, two inner stages, after expanding.
    heads
        Heads of the four stages.
    mlp_ratio
        Width of the MLPs over that of their stage.
    patch
        Consecutive nested cells in a token, a power of four.
    window
        Largest number of tokens of one depth in a window, a power of four.
    joined_windows
        On coarse grids let a window hold four base pixels, as the published code does; see
        :class:`pear.sphere.windows.TokenGrid`.
    shift
        Shift of every second block: ``ring_roll`` (published), ``ring_rotation``, ``none``.
    symmetry
        ``"r"``: plain features; exactly equivariant under rotations by 90° unless the shift is
        ``ring_roll`` or windows are joined. ``"c4h"``: under the mirror at the equator as well.
    padding
        Where the levels are padded to pairs: ``published`` pads below the ground and crops at the
        top; ``top`` does both at the top.
    residual
        The network predicts the change over a step in units of ``step_scale``, not the state.
    forcings
        Names from :data:`FORCINGS`, in the order of the forcing's channels.
    mirror
        ``signed``: northward winds change sign under the mirror. ``unsigned``: they do not, which
        is wrong and serves as a control in comparisons.
    depth_embedding
        Add a learned vector for each depth, so that the network knows the level.
    wind
        Frames of the winds inside the network: ``geographic``, east and north; ``face``, those of
        the base pixels, in which a flow across a pole is smooth, see
        :class:`pear.equivariant.wind_frames.FaceFrames`; ``gauge``, none: winds are tokens of their
        own that turn with their frames, see :mod:`pear.equivariant.wind_tokens`. The last two need
        statistics without means of winds, equal for both components, see
        :func:`pear.models.wind_statistics.isotropic`.
    step_hours
        Length of a step in hours.
    mixing
        How blocks mix tokens, see :data:`pear.models.mixing.Mixing`: a name for all stages, or four
        of them. Shifts, windows and heads concern attention alone.

    Raises
    ------
    InputError
        If the settings are inconsistent.
    """

    nside: int = 64
    layout: Layout = field(default_factory=Layout.default)
    embed: int = 48
    depths: tuple[int, ...] = (2, 6, 6, 2)
    heads: tuple[int, ...] = (6, 12, 12, 6)
    mlp_ratio: int = 4
    patch: int = 16
    window: int = 64
    joined_windows: bool = False
    shift: Shift = "ring_rotation"
    symmetry: Symmetry = "r"
    padding: Padding = "top"
    residual: bool = True
    forcings: tuple[str, ...] = ()
    depth_embedding: bool = True
    mirror: Mirror = "signed"
    wind: Wind = "geographic"
    step_hours: int = 24
    mixing: Mixing | tuple[Mixing, ...] = "attention"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "mixing", parse_mixing(self.mixing, stages=4))
        self._check_forcings()
        self._check_sizes()
        self._check_harmonics()
        self._check_symmetry()
        self._check_wind()

    @classmethod
    def published(cls, nside: int = 64, **changes: object) -> Self:
        """Return the published PEAR (arXiv 2505.17720): 4 279 881 parameters at nside ≥ 32.

        Parameters
        ----------
        nside
            Resolution.
        changes
            Settings that differ.

        Returns
        -------
        PearConfig
            The settings.

        Examples
        --------
        >>> PearConfig.published().shift
        'ring_roll'
        """
        settings: dict[str, Any] = {
            "nside": nside,
            "shift": "ring_roll",
            "padding": "published",
            "residual": False,
            "depth_embedding": False,
            "joined_windows": True,
        }
        return cls.from_dict({**settings, **changes})

    @classmethod
    def small(cls, nside: int = 16, **changes: object) -> Self:
        """Return settings for coarse grids and two processor cores; see :meth:`published`."""
        settings: dict[str, Any] = {
            "nside": nside,
            "embed": 96,
            "depths": (2, 2, 2, 2),
            "heads": (4, 6, 6, 4),
            "forcings": DAILY,
        }
        return cls.from_dict({**settings, **changes})

    @classmethod
    def base(cls, nside: int = 64, **changes: object) -> Self:
        """Return PEAR's own network of the published size; see :meth:`published`."""
        settings: dict[str, Any] = {
            "nside": nside,
            "embed": 72,
            "heads": (3, 6, 6, 3),
            "forcings": DAILY,
        }
        return cls.from_dict({**settings, **changes})

    @property
    def padded_levels(self) -> int:
        """Levels added to fill the pairs."""
        return LEVELS_IN_PATCH * self.upper_depths - len(self.layout.levels)

    @property
    def grid(self) -> TokenGrid:
        """Tokens and windows of the outer stages; the inner ones have ``grid.coarser()``."""
        nside = self.nside // math.isqrt(self.patch)
        return TokenGrid(nside, 1 + self.upper_depths, self.window, joined=self.joined_windows)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a step of one state, by which threads are chosen."""
        fine, regular = self.grid, self.symmetry == "c4h"
        coarse, total = fine.coarser(), 0
        for stage, grid in enumerate((fine, coarse, coarse, fine)):
            width = self.width(stage)
            mlp = 2 * self.mlp_ratio * width**2 // (2 if regular else 1)
            for kind in self.blocks(stage):
                mixing = mixing_multiply_adds(kind, width, grid, regular=regular)
                total += grid.tokens * grid.depths * (mixing + mlp)
        return total

    def blocks(self, stage: int) -> tuple[str, ...]:
        """Return what each block of a stage mixes by, as ``pear.models.mixing.block_kinds``."""
        mixing = self.mixing if isinstance(self.mixing, str) else self.mixing[stage]
        return block_kinds(mixing, self.depths[stage])

    def signs(self, kind: Kind) -> tuple[int, ...]:
        """Return the sign of each channel under the mirror that the network keeps."""
        signs = self.layout.mirror_signs(kind)
        return signs if self.mirror == "signed" else (1,) * len(signs)

    def winds(self, kind: Kind) -> list[tuple[int, int]]:
        """Return the channels of the eastward and northward component of each wind of a kind."""
        names = self.layout.surface if kind == "surface" else self.layout.upper
        pairs = ((channel, wind_pair(name)) for channel, name in enumerate(names))
        return [
            (channel, names.index(pair[1]))
            for channel, pair in pairs
            if pair is not None and pair[0] == names[channel] and pair[1] in names
        ]

    def scalar_signs(self, kind: Kind) -> tuple[int, ...]:
        """Return the sign of each channel that is embedded as a scalar; winds are not by gauge."""
        signs = self.signs(kind)
        if self.wind != "gauge":
            return signs
        return tuple(signs[channel] for channel in self.scalars(kind))

    def scalars(self, kind: Kind) -> list[int]:
        """Return the channels of a kind that are not part of a wind of :meth:`winds`."""
        count = len(self.layout.surface if kind == "surface" else self.layout.upper)
        taken = {channel for pair in self.winds(kind) for channel in pair}
        return [channel for channel in range(count) if channel not in taken]

    def _check_wind(self) -> None:
        if self.wind == "geographic":
            return
        if self.mirror == "unsigned":
            raise InputError(
                f"wind {self.wind!r} turns winds, which mirror 'unsigned' takes for scalars",
                field="mirror",
                hint="use mirror 'signed', or wind 'geographic'",
            )
        for name in self.layout.names:
            partner = wind_partner(name)
            if partner is not None and partner not in self.layout.names:
                raise InputError(
                    f"wind {self.wind!r} needs both components of a wind: {name} has no {partner}",
                    field="wind",
                    hint=f"add {partner} to the layout, or use wind 'geographic'",
                )
        for kind in ("surface", "upper") if self.wind == "gauge" else ():
            if not self.scalars(kind):
                raise InputError(
                    f"wind 'gauge' needs a {kind} variable that is not a wind",
                    field="wind",
                    hint="use wind 'face'",
                )
        if not self.winds("surface") and not self.winds("upper"):
            raise InputError(
                f"wind {self.wind!r} needs a wind in the layout, which has none",
                field="wind",
                hint="use wind 'geographic'",
            )

    def _check_forcings(self) -> None:
        for name in self.forcings:
            check_choice("forcing", name, FORCINGS)
        if len(set(self.forcings)) != len(self.forcings):
            raise InputError(f"forcings repeats an entry: {self.forcings}", field="forcings")

    def _check_sizes(self) -> None:
        for name in ("surface", "upper", "levels"):
            if not getattr(self.layout, name):
                raise InputError(f"a model needs at least one entry in {name}", field="layout")
        for name in ("nside", "embed", "mlp_ratio", "patch", "window", "step_hours"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a positive integer, got {value!r}", field=name)
        for name, base in (("nside", 2), ("patch", 4), ("window", 4)):
            check_power(name, getattr(self, name), base)
        for name, least in (("depths", 0), ("heads", 1)):
            values = getattr(self, name)
            if len(values) != 4 or any(not isinstance(v, int) or v < least for v in values):
                raise InputError(f"{name} must be 4 integers ≥ {least}, got {values}", field=name)
        check_heads(self.heads, [self.width(stage) for stage in range(4)])
        least_nside = 2 * math.isqrt(self.patch)
        if self.nside < least_nside:
            raise InputError(
                f"nside {self.nside} is too coarse for patches of {self.patch} cells: merging "
                "needs at least 4 tokens in each base pixel",
                field="nside",
                hint=f"use nside ≥ {least_nside} or smaller patches",
            )

    def _check_harmonics(self) -> None:
        kinds = {kind for stage in range(4) for kind in self.blocks(stage)}
        if self.grid.nside > LARGEST_DEGREE and kinds & {"spectral", "full_spectral"}:
            raise InputError(
                f"mixing 'spectral' transforms tokens of nside {LARGEST_DEGREE} at most; nside "
                f"{self.nside} in patches of {self.patch} cells gives nside {self.grid.nside}",
                field="mixing",
                hint="use larger patches, or another mixing",
            )

    def _check_symmetry(self) -> None:
        if self.symmetry != "c4h":
            return
        if self.joined_windows:
            raise InputError(
                "symmetry 'c4h' needs windows inside base pixels", field="joined_windows"
            )
        if self.shift == "ring_roll":
            raise InputError(
                "symmetry 'c4h' cannot keep the shift 'ring_roll', which moves the polar caps "
                "across their rings",
                field="shift",
                hint="use ring_rotation",
            )
        if self.embed % 2 or any(heads % 2 for heads in self.heads):
            raise InputError(
                f"symmetry 'c4h' pairs features and heads: embed {self.embed} and heads "
                f"{self.heads} must be even",
                field="heads",
            )
