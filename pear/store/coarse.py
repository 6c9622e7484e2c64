"""Fields on a coarser grid: means over cells, of winds as vectors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pear.sphere.healpix import coarsen, nside_from_cells
from pear.sphere.vectors import coarsen_wind
from pear.typing import Array
from pear.variables import Layout, wind_pair, wind_partner


def coarsen_field(name: str, values: Array, nside: int, partner: Array | None = None) -> Array:
    """Average a field over the cells of a coarser grid.

    East and north differ from cell to cell, so the components of a wind are averaged as one vector
    (:func:`pear.sphere.vectors.coarsen_wind`) wherever both are whole.

    Parameters
    ----------
    name
        Canonical name.
    values
        (…, cell), nested.
    nside
        Resolution of the result.
    partner
        The other component of a wind, in the same shape; None for anything else.

    Returns
    -------
    ndarray
        (…, coarse cell), in the dtype of the values.

    Examples
    --------
    >>> from pear.sphere.vectors import cell_frames
    >>> u, v = cell_frames(16).from_cartesian(np.array([20.0, 0.0, 0.0])[:, None])
    >>> east = coarsen_field("u_component_of_wind", u, 8, v)  # of a wind across the pole
    >>> north = coarsen_field("v_component_of_wind", v, 8, u)
    >>> bool(np.hypot(east, north)[63] > 19.7)  # beside the pole
    True
    >>> bool(np.hypot(*(coarsen_field("temperature", part, 8) for part in (u, v)))[63] > 19.5)
    False
    """
    means = coarsen(values, nside)
    pair, own = wind_pair(name), nside_from_cells(values.shape[-1])
    if partner is None or pair is None or own == nside:
        return means
    flat, beside = (part.reshape(-1, part.shape[-1]) for part in (values, partner))
    whole = np.isfinite(flat).all(axis=-1) & np.isfinite(beside).all(axis=-1)
    if not whole.any():
        return means
    u, v = (flat, beside) if name == pair[0] else (beside, flat)
    out = means.reshape(-1, means.shape[-1]).copy()
    out[whole] = coarsen_wind(u[whole], v[whole], nside)[pair.index(name)]
    return out.reshape(means.shape)


def coarsen_fields(fields: Mapping[str, Array], nside: int) -> dict[str, Array]:
    """Average the fields of a state over the cells of a coarser grid, winds as vectors.

    Parameters
    ----------
    fields
        (…, cell) by canonical name; both components of a wind have one shape.
    nside
        Resolution of the result.

    Returns
    -------
    dict
        (…, coarse cell) by canonical name.

    Examples
    --------
    >>> sorted(coarsen_fields({"2m_temperature": np.full(192, 280.0)}, 1))
    ['2m_temperature']
    """
    return {
        name: coarsen_field(name, values, nside, fields.get(str(wind_partner(name))))
        for name, values in fields.items()
    }


def coarsen_channels(fields: Array, layout: Layout, nside: int) -> Array:
    """Average all channels of a state over the cells of a coarser grid, winds as vectors.

    Parameters
    ----------
    fields
        (channel, cell), channels as in ``layout.channels``.
    layout
        Names of the channels.
    nside
        Resolution of the result.

    Returns
    -------
    ndarray
        (channel, coarse cell).

    Examples
    --------
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> coarsen_channels(np.full((1, 192), 280.0), layout, 1).shape
    (1, 12)
    """
    rows = {channel: row for row, channel in enumerate(layout.channels)}
    return np.stack(
        [
            coarsen_field(name, fields[row], nside, fields[partner])
            if (partner := rows.get((str(wind_partner(name)), level))) is not None
            else coarsen_field(name, fields[row], nside)
            for (name, level), row in rows.items()
        ]
    )
