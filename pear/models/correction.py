"""What is done to the fields after each step of a network, so that long forecasts stay sound.

A network that was trained on single steps writes noise at the edge of the scales that its data
resolve, and has a small mean error at each place and season. Both add up in a rollout. A
:class:`Correction` is stored with a checkpoint and applied by its forecaster, in this order:

1. *Filter.* Every field is expanded in spherical harmonics of degree l ≤ L and each coefficient is
   multiplied by exp(−s (l(l+1) / L(L+1))^p), implicit hyperdiffusion of order 2p (as in spectral
   atmospheric models, e.g. Jablonowski and Williamson, 2011, doi 10.1007/978-3-642-11640-7_13);
   what lies above L is removed. Winds are filtered as vectors: by their Cartesian components.
2. *Bias.* The mean error of one filtered step at the valid time's season is subtracted; a mean of
   degree ≤ L and harmonics of the year of lower degrees, fitted by
   :mod:`pipelines.training.correction`.
3. *Floor.* Values below the floor of their variable (0 for humidity) are raised to it, and the
   excess of the others over the floor is scaled by one factor, so that the mean over the globe
   stays; a field whose mean is below the floor becomes the floor everywhere.
4. *Hydrostatic balance*, if it was chosen. Geopotential, temperature and pressure at sea level are
   changed together, cell by cell (:mod:`pear.models.hydrostatic`).
5. *Dry air*, if it was chosen. The pressure at mean sea level is shifted by one number, so that
   the mass of dry air is that of the state before the step (:mod:`pear.models.dry_air`).

All of it is differentiable. The bias belongs to places on the Earth, as orography does; the
others keep the symmetries of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

import numpy as np
import torch
from torch import Tensor, nn

from pear.errors import InputError
from pear.models.dry_air import DryAirMass
from pear.models.harmonic_transform import HarmonicTransform
from pear.models.hydrostatic import HydrostaticBalance
from pear.sphere.vectors import cell_frames
from pear.times import year_phase
from pear.typing import Float64, TensorPair, Times
from pear.variables import BY_NAME, Layout, wind_pair

LARGEST_NSIDE: Final = 32
"""The harmonics of a finer grid are too large for a table (3 GB at nside 64)."""
CORRECTION: Final = "correction"
"""Attribute of a forecast: what was done after each step of the network, in words."""


@dataclass(frozen=True)
class CorrectionConfig:
    """Settings of a correction; stored in the checkpoint's document.

    Attributes
    ----------
    degree
        L, the highest degree that is kept; at most twice the nside.
    strength
        s: exp(−s) is left of degree L after a step; 0 for a sharp cut at L.
    order
        p, the power of the Laplacian.
    bias_degree
        Highest degree of the mean bias; None if no bias is removed.
    harmonics
        Harmonics of the year in the bias.
    seasonal_degree
        Highest degree of these harmonics.
    dry_mass
        Whether a step keeps the mass of dry air.
    hydrostatic
        Whether hydrostatic balance is restored after a step.

    Raises
    ------
    InputError
        If a number is out of its range.

    Examples
    --------
    >>> CorrectionConfig(degree=32).damping()[-1].round(3)
    np.float64(0.497)
    """

    degree: int
    strength: float = 0.7
    order: int = 4
    bias_degree: int | None = None
    harmonics: int = 2
    seasonal_degree: int = 10
    dry_mass: bool = False
    hydrostatic: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("degree", 1, 2 * LARGEST_NSIDE),
            ("strength", 0.0, 50.0),
            ("order", 1, 16),
            ("bias_degree", 0, self.degree),
            ("harmonics", 0, 4),
            ("seasonal_degree", 0, self.degree),
        ):
            value = getattr(self, name)
            if self.bias_degree is None and name.endswith("_degree"):
                continue
            if not low <= value <= high:
                raise InputError(
                    f"{name} {value} of the correction is outside {low:g} … {high:g}", field=name
                )

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Read settings as :meth:`to_dict` writes them; InputError names an unknown one."""
        known = {field.name for field in fields(cls)}
        for name in given:
            if name not in known:
                raise InputError(
                    f"unknown setting {name!r} of a correction",
                    field="correction",
                    hint="the checkpoint was written by a later version of PEAR",
                )
        try:
            return cls(**given)
        except TypeError as error:
            raise InputError(
                f"the settings of a correction cannot be read: {error}", field="correction"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return asdict(self)

    def damping(self) -> Float64:
        """Return what a step leaves of each coefficient, ((degree + 1)²,)."""
        degree = _degrees(self.degree)
        scaled = degree * (degree + 1.0) / (self.degree * (self.degree + 1.0))
        return np.exp(-self.strength * scaled**self.order)


class Correction(nn.Module):
    """The correction of one checkpoint: filter, bias, floor, balance and dry air.

    Parameters
    ----------
    config
        Settings.
    layout, nside
        Channels and grid of the fields.
    provenance
        Data that the bias and the balance were fitted on; JSON.

    Attributes
    ----------
    scale
        (field,) units of the bias; fields as in :meth:`to_fields`.
    mean
        (field, (bias_degree + 1)²) coefficients of the mean bias over ``scale``.
    season
        (2 · harmonics, field, (seasonal_degree + 1)²), cos and sin of each harmonic of the year.
    balance
        Hydrostatic balance; None if it is not restored.

    Raises
    ------
    InputError
        If the grid does not resolve the degree or is too fine, a wind lacks a component, or the
        mass of dry air or the hydrostatic balance a channel.

    Examples
    --------
    >>> layout = Layout(("2m_temperature",), ("specific_humidity",), (850,))
    >>> correction = Correction(CorrectionConfig(degree=8), layout, nside=4)
    >>> surface, upper = torch.full((1, 1, 192), 280.0), torch.rand(1, 1, 1, 192) - 0.2
    >>> after = correction(surface, upper, np.array(["2001-01-01"], dtype="datetime64[s]"))
    >>> bool((after[1] >= 0).all()), round(float(after[0].mean()), 3)
    (True, 280.0)
    """

    scale: Tensor
    mean: Tensor
    season: Tensor
    _damping: Tensor
    _frames: Tensor

    def __init__(
        self,
        config: CorrectionConfig,
        layout: Layout,
        nside: int,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if nside > LARGEST_NSIDE or config.degree > 2 * nside:
            most = 2 * min(nside, LARGEST_NSIDE)
            raise InputError(
                f"a correction of degree {config.degree} does not fit nside {nside}",
                field="degree",
                hint=f"choose at most {most}"
                if nside <= LARGEST_NSIDE
                else f"corrections exist up to nside {LARGEST_NSIDE}",
            )
        self.config, self.layout, self.nside = config, layout, nside
        self.provenance = dict(provenance or {})
        self._scalars, self._pairs = _split(layout)
        count = len(self._scalars) + 3 * len(self._pairs)
        mean = 0 if config.bias_degree is None else (config.bias_degree + 1) ** 2
        waves = 2 * config.harmonics if mean else 0
        self.register_buffer("scale", torch.ones(count))
        self.register_buffer("mean", torch.zeros(count, mean))
        self.register_buffer("season", torch.zeros(waves, count, (config.seasonal_degree + 1) ** 2))
        self._transform = HarmonicTransform(nside, config.degree)
        self.balance = HydrostaticBalance(layout) if config.hydrostatic else None
        self._dry_air = DryAirMass(layout) if config.dry_mass else None
        frames = cell_frames(nside)
        directions = np.stack([frames.sin_lat, frames.cos_lat, frames.sin_lon, frames.cos_lon])
        for name, table in (("_damping", config.damping()), ("_frames", directions)):
            self.register_buffer(name, torch.tensor(table, dtype=torch.float32), persistent=False)

    @property
    def text(self) -> str:
        """The correction in words, for the provenance of a forecast."""
        config = self.config
        parts = [
            f"degrees to {config.degree} times exp(-{config.strength:g} "
            f"(l(l+1)/{config.degree * (config.degree + 1)})^{config.order})"
        ]
        if config.bias_degree is not None:
            period = self.provenance.get("period")
            of = f" of {' to '.join(str(end)[:10] for end in period)}" if period else ""
            parts.append(f"mean one-step error{of} removed")
        if any(BY_NAME[name].floor is not None for name in self.layout.names):
            parts.append("values kept at or above their floor, means kept")
        if config.hydrostatic:
            parts.append("hydrostatic balance restored")
        if config.dry_mass:
            parts.append("mass of dry air kept")
        return "; ".join(parts)

    def forward(
        self,
        surface: Tensor,
        upper: Tensor,
        valid_time: Times,
        before: TensorPair | None = None,
    ) -> TensorPair:
        """Correct the fields of one step.

        Parameters
        ----------
        surface
            (batch, surface variable, cell), physical units.
        upper
            (batch, upper variable, level, cell), physical units.
        valid_time
            (batch,) of these fields.
        before
            Surface and upper fields that the step started from; needed to keep dry air.

        Returns
        -------
        tuple of Tensor
            Of the same shapes and units.

        Raises
        ------
        InputError
            If dry air is to be kept and the fields before the step are not given.
        """
        fields = self.to_fields(surface, upper)
        # The mean of a field stays as it is, but for the bias: rounding it at each step would add
        # up to a drift.
        centre = fields.mean(dim=-1, keepdim=True)
        coefficients = self._transform.analyse(fields - centre) * self._damping
        if self.mean.shape[1]:
            coefficients = coefficients - self.bias(valid_time)
        surface, upper = self.from_fields(centre + self._transform.synthesise(coefficients))
        after: TensorPair = (
            _raise_to_floor(surface, self.layout.surface),
            _raise_to_floor(upper, self.layout.upper),
        )
        if self.balance is not None:
            after = self.balance(*after)
        if self._dry_air is None:
            return after
        if before is None:
            raise InputError("to keep dry air needs the fields before the step", field="before")
        kept: TensorPair = self._dry_air(after, before)
        return kept

    def error(self, forecast: TensorPair, truth: TensorPair) -> Tensor:
        """Return the error of a filtered step.

        Parameters
        ----------
        forecast
            Surface and upper fields of a step, not corrected, as for :meth:`forward`.
        truth
            Those of the analysis at the same time.

        Returns
        -------
        Tensor
            (batch, field, (degree + 1)²) coefficients, physical units.
        """
        before, wanted = self.to_fields(*forecast), self.to_fields(*truth)
        centre = wanted.mean(dim=-1, keepdim=True)  # so that small errors are not rounded off
        before, wanted = (self._transform.analyse(fields - centre) for fields in (before, wanted))
        return before * self._damping - wanted

    def bias(self, valid_time: Times) -> Tensor:
        """Return the coefficients of the bias, (batch, field, (degree + 1)²), physical units."""
        angle = (
            2 * np.pi * year_phase(valid_time)[:, None] * np.arange(1, 1 + len(self.season) // 2)
        )
        waves = np.stack([np.cos(angle), np.sin(angle)], axis=-1).reshape(len(angle), -1)
        weights = torch.as_tensor(waves).to(self.season)
        season = torch.einsum("bk,kfc->bfc", weights, self.season)
        out = self.mean.new_zeros(len(weights), len(self.scale), len(self._damping))
        out[..., : self.mean.shape[1]] += self.mean
        if len(self.season):
            out[..., : season.shape[-1]] += season
        return out * self.scale[:, None]

    def to_fields(self, surface: Tensor, upper: Tensor) -> Tensor:
        """Return scalar fields: scalars as they are, and winds by their Cartesian components.

        Parameters
        ----------
        surface, upper
            As for :meth:`forward`.

        Returns
        -------
        Tensor
            (batch, field, cell): first the scalar channels in the order of the layout, then x, y
            and z of each wind.
        """
        channels = torch.cat([surface, upper.flatten(1, 2)], dim=1)
        parts = [channels[:, self._scalars]]
        if self._pairs:
            east, north = (channels[:, [pair[i] for pair in self._pairs]] for i in (0, 1))
            sin_lat, cos_lat, sin_lon, cos_lon = self._frames
            inward = north * sin_lat
            x = -east * sin_lon - inward * cos_lon
            y = east * cos_lon - inward * sin_lon
            parts.append(torch.stack([x, y, north * cos_lat], dim=2).flatten(1, 2))
        return torch.cat(parts, dim=1)

    def from_fields(self, fields: Tensor) -> TensorPair:
        """Return surface and upper fields; inverse of :meth:`to_fields` on horizontal winds.

        Parameters
        ----------
        fields
            (batch, field, cell).

        Returns
        -------
        tuple of Tensor
            (batch, surface variable, cell) and (batch, upper variable, level, cell).
        """
        batch, _, cells = fields.shape
        count = len(self._scalars)
        out = fields.new_empty(batch, count + 2 * len(self._pairs), cells)
        out[:, self._scalars] = fields[:, :count]
        if self._pairs:
            x, y, z = fields[:, count:].reshape(batch, -1, 3, cells).unbind(dim=2)
            sin_lat, cos_lat, sin_lon, cos_lon = self._frames
            out[:, [pair[0] for pair in self._pairs]] = y * cos_lon - x * sin_lon
            north = z * cos_lat - (x * cos_lon + y * sin_lon) * sin_lat
            out[:, [pair[1] for pair in self._pairs]] = north
        split = len(self.layout.surface)
        shape = batch, len(self.layout.upper), len(self.layout.levels), cells
        return out[:, :split], out[:, split:].reshape(shape)

    def document(self) -> dict[str, Any]:
        """Return what a checkpoint's document holds of the correction."""
        return {"config": self.config.to_dict(), "provenance": self.provenance}

    @classmethod
    def from_document(cls, document: object, layout: Layout, nside: int) -> Correction:
        """Return the correction that :meth:`document` describes, with an empty bias.

        Parameters
        ----------
        document
            Read from a checkpoint.
        layout, nside
            Of the checkpoint's network.

        Returns
        -------
        Correction
            Its tensors are to be loaded.

        Raises
        ------
        InputError
            If the document does not describe a correction for such fields.
        """
        if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
            raise InputError("the correction of the checkpoint cannot be read", field="checkpoint")
        return cls(
            CorrectionConfig.from_dict(document["config"]),
            layout,
            nside,
            document.get("provenance"),
        )


def describe_correction(correction: Correction | None, *, applied: bool) -> str:
    """Return the correction of a checkpoint in words, or that there is none.

    Parameters
    ----------
    correction
        The checkpoint's.
    applied
        Whether the forecast applies it.

    Returns
    -------
    str
        For the attributes of a forecast.

    Examples
    --------
    >>> describe_correction(None, applied=False)
    'none'
    """
    if correction is None:
        return "none"
    return correction.text if applied else "none: switched off"


def _degrees(lmax: int) -> Float64:
    """Return the degree of each coefficient, ((lmax + 1)²,)."""
    return np.floor(np.sqrt(np.arange((lmax + 1) ** 2)))


def _split(layout: Layout) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the channels of scalars, and those of each wind, eastward and northward."""
    channels = list(layout.channels)
    scalars, pairs = [], []
    for index, (name, level) in enumerate(channels):
        pair = wind_pair(name)
        if pair is None:
            scalars.append(index)
            continue
        for part in pair:
            if (part, level) not in channels:
                raise InputError(f"the wind {name} lacks its component {part}", field="layout")
        if name == pair[0]:
            pairs.append((index, channels.index((pair[1], level))))
    return scalars, pairs


def _raise_to_floor(values: Tensor, names: tuple[str, ...]) -> Tensor:
    """Raise values (batch, variable, …, cell) to their variables' floors, keeping global means."""
    floors = {row: BY_NAME[name].floor for row, name in enumerate(names)}
    bounded = {row: floor for row, floor in floors.items() if floor is not None}
    if not bounded:
        return values
    parts = list(values.unbind(dim=1))
    for row, floor in bounded.items():
        excess = parts[row] - floor
        above = excess.clamp(min=0.0)
        total = above.mean(dim=-1, keepdim=True)
        wanted = excess.mean(dim=-1, keepdim=True).clamp(min=0.0)
        # Where nothing is below the floor the two are equal, and the factor is exactly 1.
        factor = torch.where(total > 0, wanted / total.clamp(min=torch.finfo(values.dtype).tiny), 0)
        some = (excess < 0).any(dim=-1, keepdim=True)
        parts[row] = torch.where(some, above * factor + floor, parts[row])
    return torch.stack(parts, dim=1)
