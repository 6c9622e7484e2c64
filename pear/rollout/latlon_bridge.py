"""Channels between HEALPix cells and a latitude-longitude grid, conservatively both ways.

Models of others compute on grids of latitude and longitude. Means over cells keep global means in
both directions; what a field loses there and back is measured by :meth:`LatLonBridge.error`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pear.datasets.fields import regrid_field
from pear.errors import InputError
from pear.sphere.latlon import LatLonGrid
from pear.sphere.regrid import apply, apply_wind, healpix_to_latlon_conservative
from pear.sphere.source_grids import area_shares, frames_of
from pear.sphere.vectors import cell_frames
from pear.typing import Float32, Float64
from pear.variables import Layout, wind_pair, wind_partner


@dataclass(frozen=True)
class LatLonBridge:
    """Both ways between the cells of a layout and a grid.

    Attributes
    ----------
    layout, nside
        Channels and HEALPix resolution on one side.
    grid
        Grid of latitude and longitude on the other side.

    Examples
    --------
    >>> from pear.rollout.latlon_bridge import LatLonBridge
    >>> from pear.sphere.latlon import global_grid
    >>> bridge = LatLonBridge(Layout(("2m_temperature",), (), ()), 8, global_grid(19, 36))
    >>> fields = np.full((1, 768), 280.0, dtype=np.float32)
    >>> bridge.to_grid(fields).shape, bridge.to_cells(bridge.to_grid(fields)).shape
    ((1, 684), (1, 768))
    """

    layout: Layout
    nside: int
    grid: LatLonGrid

    def to_grid(self, fields: Float32) -> Float32:
        """Return the means over the cells of the grid.

        Parameters
        ----------
        fields
            (channel, cell).

        Returns
        -------
        ndarray
            (channel, point).
        """
        out = np.empty((len(fields), self.grid.size), dtype=np.float32)
        for row, (name, _) in enumerate(self.layout.channels):
            if wind_pair(name) is None:
                weights = healpix_to_latlon_conservative(self.nside, self.grid)
                out[row] = apply(weights, fields[row])
        weights = healpix_to_latlon_conservative(self.nside, self.grid, vector=True)
        for east, north in self._winds():
            pair = fields[east], fields[north]
            frames = cell_frames(self.nside), frames_of(self.grid)
            out[east], out[north] = apply_wind(weights, *pair, *frames)
        return out

    def to_cells(self, points: Float32) -> Float32:
        """Return the means over HEALPix cells.

        Parameters
        ----------
        points
            (channel, point).

        Returns
        -------
        ndarray
            (channel, cell).
        """
        partners = {a: b for pair in self._winds() for a, b in (pair, pair[::-1])}
        rows = []
        for row, (name, _) in enumerate(self.layout.channels):
            beside = points[partners[row]] if row in partners else None
            field = points[row], beside
            rows.append(regrid_field(field, self.grid, self.nside, "conservative", name))
        return np.stack(rows)

    def error(self, points: Float32) -> Float64:
        """Return what fields of the grid lose on the way to the cells and back.

        Parameters
        ----------
        points
            (channel, point).

        Returns
        -------
        ndarray
            (channel,), root mean square difference over the area, in the units of each channel.
        """
        lost = self.to_grid(self.to_cells(points)).astype(np.float64) - points
        return np.asarray(np.sqrt((lost**2 * area_shares(self.grid)).sum(axis=1)))

    def _winds(self) -> list[tuple[int, int]]:
        """Return the rows of the two components of each wind."""
        channels = list(self.layout.channels)
        found = []
        for row, (name, level) in enumerate(channels):
            pair, other = wind_pair(name), wind_partner(name)
            if pair is None or other is None or name != pair[0]:
                if pair is not None and (pair[0], level) not in channels:
                    raise InputError(f"{name} comes without {pair[0]}", field="layout")
                continue
            if (other, level) not in channels:
                raise InputError(f"{name} comes without {other}", field="layout")
            found.append((row, channels.index((other, level))))
        return found
