"""Hydrostatic balance of a forecast: geopotential, temperature and pressure at sea level agree.

The thickness of the layer between the pressures p₁ > p₂ is R T̄ ln(p₁/p₂), where R is the gas
constant of dry air and T̄ the mean virtual temperature (e.g. Holton and Hakim, *An Introduction to
Dynamic Meteorology*, 5th edition, section 1.4.1). Analyses keep to it but for what the mean over
two levels leaves out; a network that forecasts each field by itself does not. The difference
therefore tells of the error of its forecast, and :class:`HydrostaticBalance` removes that part of
the error, as an analysis removes what an observation tells of (the best linear unbiased estimate,
e.g. Kalnay, *Atmospheric Modeling, Data Assimilation and Predictability*, section 5.3).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pear.derived.formulas import EPSILON, GAS_CONSTANT
from pear.errors import InputError
from pear.models.dry_air import HUMIDITY, PRESSURE
from pear.typing import TensorPair
from pear.variables import Layout

_GEOPOTENTIAL, _TEMPERATURE = "geopotential", "temperature"
_PASCALS: Final = 100.0  # in a hectopascal


class HydrostaticBalance(nn.Module):
    """Remove from a forecast the errors that its departure from hydrostatic balance tells of.

    With the residual r of the layers of a column, its mean r̄ in analyses, the covariance S of the
    errors of a step, that of the residual in analyses, R, and the derivative H of the residual by
    the column, the column is changed by −S Hᵀ (H S Hᵀ + R)⁻¹ (r − r̄). All columns are changed by
    the same matrix, so the symmetries of the grid are kept exactly.

    Parameters
    ----------
    layout
        Channels.

    Attributes
    ----------
    gain
        (column, layer) m² s⁻² to the units of a column: geopotential at all levels, temperature at
        all levels, from the ground up, and, if the layout has it, the pressure at sea level. Zero
        until it is loaded or fitted.
    offset
        (layer,) the mean residual in analyses, m² s⁻².

    Raises
    ------
    InputError
        If the layout lacks geopotential and temperature at two levels.

    Examples
    --------
    >>> layout = Layout((), ("geopotential", "temperature"), (1000, 500))
    >>> upper = torch.tensor([0.0, 54_000.0, 280.0, 260.0]).reshape(1, 2, 2, 1)
    >>> HydrostaticBalance(layout).residual(torch.zeros(1, 0, 1), upper).round().flatten().tolist()
    [277.0]
    """

    gain: Tensor
    offset: Tensor
    _logs: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        held = {_GEOPOTENTIAL, _TEMPERATURE} <= set(layout.upper)
        if not held or len(layout.levels) < 2:
            raise InputError(
                f"hydrostatic balance needs {_GEOPOTENTIAL} and {_TEMPERATURE} at two levels or "
                "more",
                field="hydrostatic",
                hint="leave the balance as it is, or train with these channels",
            )
        self._rows = [layout.upper.index(name) for name in (_GEOPOTENTIAL, _TEMPERATURE)]
        self._humidity = layout.upper.index(HUMIDITY) if HUMIDITY in layout.upper else None
        self._pressure = layout.surface.index(PRESSURE) if PRESSURE in layout.surface else None
        self._order = [int(index) for index in np.argsort(layout.levels)[::-1]]
        levels = [layout.levels[index] for index in self._order]
        logs = [GAS_CONSTANT * np.log(below / above) for below, above in pairwise(levels)]
        self._lowest = _PASCALS * levels[0]
        ground = self._pressure is not None
        columns, layers = 2 * len(levels) + ground, len(levels) - 1 + ground
        self.register_buffer("_logs", torch.tensor(logs), persistent=False)
        self.register_buffer("gain", torch.zeros(columns, layers))
        self.register_buffer("offset", torch.zeros(layers))

    def columns(self, surface: Tensor, upper: Tensor) -> Tensor:
        """Return what the balance may change of each column.

        Parameters
        ----------
        surface
            (batch, surface variable, cell), physical units.
        upper
            (batch, upper variable, level, cell), physical units.

        Returns
        -------
        Tensor
            (batch, column, cell), in the order of :attr:`gain`.
        """
        parts = [upper[:, row][:, self._order] for row in self._rows]
        if self._pressure is not None:
            parts.append(surface[:, [self._pressure]])
        return torch.cat(parts, dim=1)

    def residual(self, surface: Tensor, upper: Tensor) -> Tensor:
        """Return thickness less that of the mean virtual temperature.

        Parameters
        ----------
        surface, upper
            As of :meth:`columns`.

        Returns
        -------
        Tensor
            (batch, layer, cell) m² s⁻²: layers between levels from the ground up, and, if the
            layout has the pressure at sea level, that between the sea level and the lowest level,
            with the temperature of the latter.
        """
        return self._residual(self.columns(surface, upper), self._moist(upper))

    def _moist(self, upper: Tensor) -> Tensor:
        """Return virtual over actual temperature, (batch, level, cell)."""
        if self._humidity is None:
            return torch.ones_like(upper[:, 0][:, self._order])
        return 1.0 + (1.0 / EPSILON - 1.0) * upper[:, self._humidity][:, self._order]

    def _residual(self, columns: Tensor, moist: Tensor) -> Tensor:
        count = len(self._order)
        height, virtual = columns[:, :count], columns[:, count : 2 * count] * moist
        mean = 0.5 * (virtual[:, :-1] + virtual[:, 1:])
        out = [height.diff(dim=1) - self._logs.to(mean)[:, None] * mean]
        if self._pressure is not None:
            depth = torch.log(columns[:, -1] / self._lowest)
            out.append((height[:, 0] - GAS_CONSTANT * virtual[:, 0] * depth)[:, None])
        return torch.cat(out, dim=1)

    def derivative(self, surface: Tensor, upper: Tensor) -> Tensor:
        """Return the derivative of the residual by the column.

        Parameters
        ----------
        surface, upper
            As of :meth:`columns`; one mean state of one cell.

        Returns
        -------
        Tensor
            H, (layer, column).
        """
        moist = self._moist(upper)

        def of(column: Tensor) -> Tensor:
            return self._residual(column[None, :, None], moist)[0, :, 0]

        found: Tensor = torch.func.jacrev(of)(self.columns(surface, upper)[0, :, 0])
        return found

    def forward(self, surface: Tensor, upper: Tensor) -> TensorPair:
        """Return the fields in balance.

        Parameters
        ----------
        surface, upper
            As of :meth:`columns`.

        Returns
        -------
        tuple of Tensor
            Of the same shapes and units.
        """
        departure = self.residual(surface, upper) - self.offset[:, None]
        change = torch.einsum("ck,bkx->bcx", self.gain, departure)
        count = len(self._order)
        back = torch.as_tensor(self._order).argsort().tolist()
        rows = list(upper.unbind(dim=1))
        for place, row in enumerate(self._rows):
            rows[row] = rows[row] - change[:, place * count : (place + 1) * count][:, back]
        if self._pressure is not None:
            fields = list(surface.unbind(dim=1))
            fields[self._pressure] = fields[self._pressure] - change[:, -1]
            surface = torch.stack(fields, dim=1)
        return surface, torch.stack(rows, dim=1)


def optimal_gain(derivative: Tensor, errors: Tensor, scatter: Tensor) -> Tensor:
    """Return the gain of the best linear unbiased estimate, S Hᵀ (H S Hᵀ + R)⁻¹.

    Parameters
    ----------
    derivative
        H, (layer, column).
    errors
        S, (column, column), the covariance of the errors of a forecast.
    scatter
        R, (layer, layer), the covariance of the observed quantity in states without errors.

    Returns
    -------
    Tensor
        (column, layer).

    Examples
    --------
    >>> one = torch.eye(1, dtype=torch.float64)
    >>> optimal_gain(one, 3 * one, one).item()
    0.75
    """
    told = derivative @ errors
    gain: Tensor = torch.linalg.solve(told @ derivative.T + scatter, told).T
    return gain
