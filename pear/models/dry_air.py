"""Mass of dry air in a state: pressure at sea level less the weight of the water vapour.

A state holds neither the pressure at the ground nor its height, so the pressure at mean sea level
stands for that of the ground: the number is a proxy that the weather itself changes by some tenths
of a hectopascal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pear.errors import InputError
from pear.typing import Float64, TensorPair
from pear.variables import Layout

PRESSURE, HUMIDITY = "mean_sea_level_pressure", "specific_humidity"


def layer_weights(levels: Sequence[float]) -> Float64:
    """Return the weights of a vertical mean by the trapezoidal rule.

    Parameters
    ----------
    levels
        Pressures in any order, hPa; two or more.

    Returns
    -------
    ndarray
        (level,) hPa; their sum is the distance of the outermost levels. Σ w q is the weight of the
        vapour between these, hPa, where q is the specific humidity in kg/kg.

    Examples
    --------
    >>> layer_weights((500, 850, 1000)).tolist()
    [175.0, 250.0, 75.0]
    """
    order = np.argsort(levels)
    halves = np.diff(np.asarray(levels, dtype=np.float64)[order]) / 2
    weights = np.zeros(len(levels))
    weights[order[:-1]] += halves
    weights[order[1:]] += halves
    return weights


class DryAirMass(nn.Module):
    """Shift the pressure so that a step keeps the mean over the globe of the mass of dry air.

    One number is added to a whole field, so the symmetries of the grid are kept exactly.

    Parameters
    ----------
    layout
        Channels.

    Raises
    ------
    InputError
        If the layout lacks mean sea level pressure, or specific humidity at two levels.

    Examples
    --------
    >>> layout = Layout(("mean_sea_level_pressure",), ("specific_humidity",), (1000, 500))
    >>> before = torch.full((1, 1, 12), 101_000.0), torch.full((1, 1, 2, 12), 0.01)
    >>> surface, _ = DryAirMass(layout)((before[0], before[1] + 0.001), before)
    >>> round(float(surface.mean()))  # the air holds more vapour: 500 hPa · .001
    101050
    """

    _weights: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        held = PRESSURE in layout.surface and HUMIDITY in layout.upper
        if not held or len(layout.levels) < 2:
            raise InputError(
                f"the mass of dry air needs {PRESSURE}, and {HUMIDITY} at two levels or more",
                field="dry_mass",
                hint="leave dry air as it is, or train with these channels",
            )
        self._pressure = layout.surface.index(PRESSURE)
        self._humidity = layout.upper.index(HUMIDITY)
        weights = torch.tensor(100.0 * layer_weights(layout.levels), dtype=torch.float32)
        self.register_buffer("_weights", weights, persistent=False)

    def forward(self, after: TensorPair, before: TensorPair) -> TensorPair:
        """Return the fields of a step with the mass of dry air that they started from.

        Parameters
        ----------
        after
            Surface (batch, variable, cell) and upper (batch, variable, level, cell) fields of a
            step, physical units.
        before
            Those that the step started from.

        Returns
        -------
        tuple of Tensor
            ``after``, with the pressure of each batch entry shifted by one number.
        """
        # Differences first: the mean of a float32 pressure is known to a pascal only.
        pressure, humidity = (
            (one[:, row] - other[:, row]).mean(dim=-1)
            for one, other, row in zip(after, before, (self._pressure, self._humidity), strict=True)
        )
        change = pressure - humidity @ self._weights
        shift = torch.zeros_like(after[0][:, :, :1])
        shift[:, self._pressure, 0] = change
        return after[0] - shift, after[1]
