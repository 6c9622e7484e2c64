"""The figures of a counterfactual: how large the change is, where, and what is to say of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from pear.counterfactual.chart import Chart
from pear.sphere.healpix import angular_power, centres, nside_from_cells
from pear.typing import Bool, Float64
from pear.variables import BY_NAME

Coordinates = Literal["chart", "cells"]
NEAR_KM: Final = 4000.0
LABEL: Final = "a model's sensitivity, not a cause"
"""What a counterfactual is; shown wherever one is."""
_EARTH_KM: Final = 6371.0
_SHOWN: Final = 5


class ChangeFigures(TypedDict):
    """What :func:`measure_change` finds; see :class:`Figures`."""

    size: float
    near: float
    small_scales: float
    off_chart: float
    largest: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Figures:
    """What a counterfactual says, as plain numbers.

    Attributes
    ----------
    event, description, units
        The event as text, in words, and its units.
    lead_hours, valid_time
        When it happens.
    threshold, factual, counterfactual
        The value to pass, and the values of both forecasts, in the units.
    coordinates
        Where the change was sought.
    length, probability
        |z| and Φ(-|z|), the first-order estimate under the climate; the probability is None for
        cells, which have none.
    converged, gradients, evaluations
        Whether it is the smallest within the tolerances, and what the search cost.
    size
        Root mean square of the change over that of an anomaly, by mass.
    near
        Share of the change, in squares by mass, within 4000 km of where the event looks.
    small_scales
        Share of its power beyond degree nside.
    off_chart
        Share of it, in squares by mass, that the chart does not hold.
    raised
        Share of the values that were kept at 0 where the change would have made them negative.
    largest
        Channels that change most in standard deviations: name, level, root mean square and largest
        change, units.
    chart
        What the chart was fitted on: analysis, states, directions, share of variance, period.
    notes
        What to know of the result, in sentences.
    """

    event: str
    description: str
    units: str
    lead_hours: int
    valid_time: str
    threshold: float
    factual: float
    counterfactual: float
    coordinates: Coordinates
    length: float
    probability: float | None
    converged: bool
    gradients: int
    evaluations: int
    size: float
    near: float
    small_scales: float
    off_chart: float
    raised: float
    largest: tuple[dict[str, Any], ...]
    chart: dict[str, Any]
    notes: tuple[str, ...]
    label: str = LABEL

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        found = asdict(self)
        return {**found, "largest": list(self.largest), "notes": list(self.notes)}


def measure_change(change: Tensor, chart: Chart, cells: Bool) -> ChangeFigures:
    """Measure a change of a state.

    Parameters
    ----------
    change
        (channel, cell), physical units.
    chart
        Gives scales, weights and directions.
    cells
        (cell,) True where the event looks.

    Returns
    -------
    ChangeFigures
        Of a change that is 0 everywhere all shares are 0.
    """
    weighted = chart.weighted(change).double()
    squares = weighted.square()
    total = max(float(squares.sum()), 1e-300)
    rest = weighted - chart.weighted(chart.change(chart.encode(change))).double()
    standard = (change / chart.scale.to(change)[:, None]).double()
    rows = standard.square().mean(dim=1).sqrt()
    near = torch.from_numpy(within(cells, NEAR_KM))
    return ChangeFigures(
        size=float(squares.sum(dim=0).mean().sqrt()),
        near=float(squares[:, near].sum()) / total,
        small_scales=small_scale_share(weighted.numpy()),
        off_chart=min(1.0, float(rest.square().sum()) / total),
        largest=tuple(
            _channel(change, chart, int(row)) for row in rows.argsort(descending=True)[:_SHOWN]
        ),
    )


def _channel(change: Tensor, chart: Chart, row: int) -> dict[str, Any]:
    name, level = chart.layout.channels[row]
    values = change[row].double()
    extreme = values[values.abs().argmax()]
    return {
        "variable": name,
        "level": level,
        "units": BY_NAME[name].units,
        "rms": float(values.square().mean().sqrt()),
        "largest": float(extreme),
    }


def within(cells: Bool, kilometres: float) -> Bool:
    """Return which cells lie within a distance of some cells.

    Parameters
    ----------
    cells
        (cell,) True for those; at least one.
    kilometres
        Great-circle distance of the centres.

    Returns
    -------
    ndarray
        (cell,).

    Examples
    --------
    >>> one = np.arange(48) == 7
    >>> int(within(one, 1.0).sum()), int(within(one, 21_000.0).sum())
    (1, 48)
    """
    latitude, longitude = (np.deg2rad(each) for each in centres(nside_from_cells(cells.size)))
    east = np.cos(latitude)
    xyz = np.stack([east * np.cos(longitude), east * np.sin(longitude), np.sin(latitude)])
    cosine = (xyz.T @ xyz[:, cells]).max(axis=1)
    near: Bool = np.arccos(np.clip(cosine, -1, 1)) * _EARTH_KM <= kilometres
    return near


def small_scale_share(fields: Float64) -> float:
    """Return the share of the power of fields beyond degree nside.

    Parameters
    ----------
    fields
        (channel, cell).

    Returns
    -------
    float
        0 to 1, over degrees 1 to 2 nside; a change of the global mean does not count.
    """
    nside = nside_from_cells(fields.shape[-1])
    power = angular_power(np.asarray(fields, dtype=np.float64))
    variance = (power * (2 * np.arange(power.shape[-1]) + 1)).sum(axis=0)[1:]
    total = float(variance.sum())
    return float(variance[nside:].sum()) / total if total > 0 else 0.0
