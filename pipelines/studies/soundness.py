"""Soundness of forecast fields: means, mass, energy, balance, moisture and the print of the grid.

Each is one number of a state, which a forecast keeps close to that of an analysis of the season.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import torch

from pear.models.dry_air import layer_weights
from pear.models.hydrostatic import HydrostaticBalance
from pear.sphere.healpix import neighbours
from pear.typing import Channel, Float64, Int64
from pear.variables import Layout

MEANS: Final[Mapping[str, Channel]] = {
    "mean_z500": ("geopotential", 500),
    "mean_t850": ("temperature", 850),
    "mean_t2m": ("2m_temperature", None),
}
_Z, _T, _Q = "geopotential", "temperature", "specific_humidity"
_U, _V = "u_component_of_wind", "v_component_of_wind"


@dataclass(frozen=True)
class Fields:
    """Fields of one state, float64, with their names.

    Attributes
    ----------
    values
        (channel, cell), physical units.
    layout
        Names of the channels.

    Examples
    --------
    >>> layout = Layout(("2m_temperature",), ("specific_humidity",), (850, 500))
    >>> values = np.array([[280.0] * 12, [-0.001] * 6 + [0.002] * 6, [0.001] * 12])
    >>> found = describe(Fields(values, layout), patch=4)
    >>> sorted(found), found["negative_humidity"]
    (['mean_t2m', 'negative_humidity'], 0.25)
    """

    values: Float64
    layout: Layout

    def has(self, *channels: Channel) -> bool:
        """Return whether all of these channels are there."""
        return all(channel in self.layout.channels for channel in channels)

    def at(self, name: str, level: int | None) -> Float64:
        """Return one field, (cell,)."""
        return np.asarray(self.values[self.layout.channels.index((name, level))])


def describe(fields: Fields, patch: int) -> dict[str, float]:
    """Return all numbers that the channels allow.

    Parameters
    ----------
    fields
        One state.
    patch
        Cells of a patch of the network, whose borders may show.

    Returns
    -------
    dict
        ``mean_z500`` (m² s⁻²), ``mean_t850``, ``mean_t2m`` (K): global means. ``dry_mass`` (hPa):
        mean sea level pressure less the weight of the water vapour. ``negative_humidity``: share of
        values. ``kinetic_energy`` (m² s⁻²): mean over levels and cells. ``hydrostatic`` (m² s⁻²):
        root mean square over cells and layers of thickness less that of the mean virtual
        temperature. ``imprint``: of z500, jumps between cells across the borders of patches over
        those inside, root mean squares.
    """
    makers: dict[str, Callable[[Fields], float | None]] = {
        "dry_mass": _dry_mass,
        "negative_humidity": _negative_humidity,
        "kinetic_energy": _kinetic_energy,
        "hydrostatic": _hydrostatic,
        "imprint": lambda each: _imprint(each, patch),
    }
    out = {
        name: float(fields.at(*channel).mean())
        for name, channel in MEANS.items()
        if fields.has(channel)
    }
    for name, make in makers.items():
        value = make(fields)
        if value is not None:
            out[name] = value
    return out


def _levels(fields: Fields, *names: str) -> tuple[int, ...]:
    """Return the pressure levels with all of some variables, from the ground up, hPa."""
    held = [level for level in fields.layout.levels if fields.has(*((n, level) for n in names))]
    return tuple(sorted(held, reverse=True))


def _dry_mass(fields: Fields) -> float | None:
    levels = _levels(fields, _Q)
    if len(levels) < 2 or not fields.has(("mean_sea_level_pressure", None)):
        return None
    humidity = np.array([fields.at(_Q, level).mean() for level in levels])
    vapour = humidity @ layer_weights(levels)
    return float(fields.at("mean_sea_level_pressure", None).mean() / 100.0 - vapour)


def _negative_humidity(fields: Fields) -> float | None:
    levels = _levels(fields, _Q)
    if not levels:
        return None
    return float(np.mean([fields.at(_Q, level) < 0 for level in levels]))


def _kinetic_energy(fields: Fields) -> float | None:
    levels = _levels(fields, _U, _V)
    if not levels:
        return None
    squares = [fields.at(name, level) ** 2 for level in levels for name in (_U, _V)]
    return float(np.sum(np.mean(squares, axis=1)) / (2 * len(levels)))


def _hydrostatic(fields: Fields) -> float | None:
    levels = _levels(fields, _Z, _T)
    if len(levels) < 2:
        return None
    held = tuple(name for name in (_Z, _T, _Q) if fields.has(*((name, level) for level in levels)))
    columns = np.array([[fields.at(name, level) for level in levels] for name in held])
    balance = HydrostaticBalance(Layout((), held, levels))
    upper = torch.from_numpy(columns)[None]
    residual = balance.residual(upper.new_zeros(1, 0, upper.shape[-1]), upper)
    return float(residual.square().mean().sqrt())


def _imprint(fields: Fields, patch: int) -> float | None:
    channel = MEANS["mean_z500"]
    nside = round((fields.values.shape[-1] / 12) ** 0.5)
    if patch <= 1 or not fields.has(channel) or patch > nside**2:
        return None
    one, other = _pairs(nside)
    jumps = (fields.at(*channel)[one] - fields.at(*channel)[other]) ** 2
    across = one // patch != other // patch
    inside = float(jumps[~across].mean())
    return float(np.sqrt(jumps[across].mean() / inside)) if inside > 0 else None


@lru_cache(maxsize=4)
def _pairs(nside: int) -> tuple[Int64, Int64]:
    """Return the pairs of cells that share an edge."""
    edges = neighbours(nside)[:, ::2]  # SW, NW, NE, SE
    one = np.repeat(np.arange(len(edges)), edges.shape[1])
    other = edges.ravel()
    keep = (other > one) & (other >= 0)
    return one[keep], other[keep]
