"""Relative to specific humidity, with the saturation formula of the centre that made the field."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_EPSILON: Final = 287.0597 / 461.5250  # gas constants of dry air and water vapour
_TRIPLE: Final = 273.16


def specific_humidity(
    relative: npt.NDArray[Any], temperature: npt.NDArray[Any], level: int, centre: str = ""
) -> npt.NDArray[np.float32]:
    """Specific humidity in kg kg-1 from relative humidity in % and temperature in K at a level.

    q = εe / (p - (1 - ε)e), e = rh/100 · e_s(T). Negative relative humidity (packing) counts as
    none; supersaturation is kept.

    Parameters
    ----------
    relative, temperature
        Same shape.
    level
        hPa.
    centre
        Where the field comes from: ``kwbc`` (NCEP) measures against its own saturation curve,
        all others are taken to follow the IFS.
    """
    t = np.asarray(temperature, dtype=np.float64)
    saturation = _ncep(t) if centre == "kwbc" else _ifs(t)
    e = np.maximum(np.asarray(relative, dtype=np.float64), 0.0) / 100.0 * saturation
    pressure = 100.0 * level
    e = np.minimum(e, pressure)
    return np.asarray(_EPSILON * e / (pressure - (1.0 - _EPSILON) * e), dtype=np.float32)


def _ifs(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Saturation vapour pressure in Pa over water, ice and their mixture between -23 and 0 °C.

    IFS Documentation Cy47r3, part IV, section 7.4 (Teten's formula; Buck 1981, AERKi 1996).
    """
    water = 611.21 * np.exp(17.502 * (t - _TRIPLE) / (t - 32.19))
    ice = 611.21 * np.exp(22.587 * (t - _TRIPLE) / (t + 0.7))
    share = np.clip((t - 250.16) / (_TRIPLE - 250.16), 0.0, 1.0) ** 2
    return np.asarray(share * water + (1.0 - share) * ice)


def _ncep(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Saturation vapour pressure in Pa as in NCEP's FPVSNEW: a linear mixture from -20 to 0 °C.

    Integrated Clausius-Clapeyron equation with constant heat capacities (NCEPLIBS-fv, funcphys).
    """
    vapour, liquid, solid, gas = 1846.0, 4185.5, 2106.0, 461.5
    evaporation, fusion = 2.5e6, 3.3358e5
    ratio = _TRIPLE / t

    def curve(capacity: float, heat: float) -> npt.NDArray[np.float64]:
        a = -(vapour - capacity) / gas
        b = a + heat / (gas * _TRIPLE)
        return np.asarray(610.78 * ratio**a * np.exp(b * (1.0 - ratio)))

    share = np.clip((t - (_TRIPLE - 20.0)) / 20.0, 0.0, 1.0)
    water, ice = curve(liquid, evaporation), curve(solid, evaporation + fusion)
    return np.asarray(share * water + (1.0 - share) * ice)
