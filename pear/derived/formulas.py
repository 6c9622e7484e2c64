"""Formulas of moist air and winds, in SI units and float64.

Constants and saturation vapour pressure are those of the IFS (IFS Documentation Cy47r3, part IV:
Physical processes, chapters 7 and 12), so that humidity is that of ECMWF's own products.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pear.typing import Float64

GAS_CONSTANT: Final = 287.0597
"""Of dry air, J kg⁻¹ K⁻¹."""
EPSILON: Final = GAS_CONSTANT / 461.5250
"""Gas constant of dry air over that of water vapour."""
KAPPA: Final = 2.0 / 7.0
"""Gas constant of dry air over its heat capacity at constant pressure (IFS part IV, 12.1)."""
EARTH_RADIUS: Final = 6_371_229.0
"""Radius of the sphere on which the IFS and GRIB 2's shape of the earth 6 compute, m."""
TRIPLE_POINT: Final = 273.16
"""Temperature of the triple point of water, K."""
_A1, _WATER_3, _WATER_4, _ICE_3, _ICE_4 = 611.21, 17.502, 32.19, 22.587, -0.7
_ALL_ICE: Final = 250.16


def saturation_pressure(temperature: npt.ArrayLike) -> Float64:
    """Return the saturation vapour pressure over water, ice, or a mixture from -23 to 0 °C.

    IFS part IV, 7.4.2: Tetens' formula with the coefficients of Buck (1981) over water and of
    AERKi (Alduchov and Eskridge 1996) over ice.

    Parameters
    ----------
    temperature
        K.

    Returns
    -------
    ndarray
        Pa.

    Examples
    --------
    >>> from pear.derived.formulas import saturation_pressure
    >>> round(float(saturation_pressure(293.15)))  # WMO: 2339 Pa at 20 °C
    2336
    """
    t = np.asarray(temperature, dtype=np.float64)
    water = _A1 * np.exp(_WATER_3 * (t - TRIPLE_POINT) / (t - _WATER_4))
    ice = _A1 * np.exp(_ICE_3 * (t - TRIPLE_POINT) / (t - _ICE_4))
    share = np.clip((t - _ALL_ICE) / (TRIPLE_POINT - _ALL_ICE), 0.0, 1.0) ** 2
    return np.asarray(share * water + (1.0 - share) * ice)


def vapour_pressure(humidity: npt.ArrayLike, pressure: npt.ArrayLike) -> Float64:
    """Return the vapour pressure, e = q p / (ε + (1 - ε) q).

    Parameters
    ----------
    humidity
        Specific humidity, kg kg-1; negative values, which only numerics make, count as 0.
    pressure
        Pa.

    Returns
    -------
    ndarray
        Pa.
    """
    q = np.maximum(np.asarray(humidity, dtype=np.float64), 0.0)
    return np.asarray(q * np.asarray(pressure) / (EPSILON + (1.0 - EPSILON) * q))


def relative_humidity(
    humidity: npt.ArrayLike, temperature: npt.ArrayLike, pressure: npt.ArrayLike
) -> Float64:
    """Return the relative humidity, 100 e / e_s(T), as in the IFS (part IV, 7.4.2).

    Parameters
    ----------
    humidity, temperature, pressure
        kg kg-1, K, Pa.

    Returns
    -------
    ndarray
        %; above 100 in supersaturated air.

    Examples
    --------
    >>> from pear.derived.formulas import relative_humidity
    >>> round(float(relative_humidity(0.0145, 293.15, 100_000.0)), 1)
    98.9
    """
    e = vapour_pressure(humidity, pressure)
    return np.asarray(100.0 * e / saturation_pressure(temperature))


def dewpoint(humidity: npt.ArrayLike, pressure: npt.ArrayLike) -> Float64:
    """Return the dew point: the temperature at which the vapour saturates over water.

    The inverse of Tetens' formula over water at all temperatures (WMO-No. 8, annex 4.B).

    Parameters
    ----------
    humidity, pressure
        kg kg-1, Pa.

    Returns
    -------
    ndarray
        K; of the driest air that float32 can tell from none where the humidity is 0 or less.

    Examples
    --------
    >>> from pear.derived.formulas import dewpoint
    >>> round(float(dewpoint(0.0145, 100_000.0)) - 273.15, 1)
    19.8
    """
    return _dewpoint(vapour_pressure(np.maximum(humidity, _DRIEST), pressure))


_DRIEST: Final = 1e-8  # kg kg-1, a hundredth of the stratosphere's


def _dewpoint(e: Float64) -> Float64:
    x = np.log(e / _A1)
    return np.asarray((_WATER_3 * TRIPLE_POINT - _WATER_4 * x) / (_WATER_3 - x))


def relative_humidity_of_dewpoint(dew: npt.ArrayLike, temperature: npt.ArrayLike) -> Float64:
    """Return the relative humidity over water of a temperature and its dew point.

    Parameters
    ----------
    dew, temperature
        K.

    Returns
    -------
    ndarray
        %, e_w(T_d) / e_w(T).

    Examples
    --------
    >>> from pear.derived.formulas import relative_humidity_of_dewpoint
    >>> round(float(relative_humidity_of_dewpoint(283.15, 293.15)), 1)
    52.5
    """

    def over_water(kelvin: npt.ArrayLike) -> Float64:
        t = np.asarray(kelvin, dtype=np.float64)
        return np.asarray(np.exp(_WATER_3 * (t - TRIPLE_POINT) / (t - _WATER_4)))

    return np.asarray(100.0 * over_water(dew) / over_water(temperature))


def potential_temperature(temperature: npt.ArrayLike, pressure: npt.ArrayLike) -> Float64:
    """Return the potential temperature, θ = T (1000 hPa / p)^κ (Bolton 1980, eq. 7, for dry air).

    Parameters
    ----------
    temperature, pressure
        K, Pa.

    Returns
    -------
    ndarray
        K.

    Examples
    --------
    >>> from pear.derived.formulas import potential_temperature
    >>> round(float(potential_temperature(250.0, 50_000.0)), 1)
    304.8
    """
    t = np.asarray(temperature, dtype=np.float64)
    return np.asarray(t * (100_000.0 / np.asarray(pressure)) ** KAPPA)


def wind_direction(east: npt.ArrayLike, north: npt.ArrayLike) -> Float64:
    """Return the direction from which the wind blows, clockwise from north (WMO-No. 8, 5.1).

    Parameters
    ----------
    east, north
        Components; any unit.

    Returns
    -------
    ndarray
        Degrees in [0, 360).

    Examples
    --------
    >>> from pear.derived.formulas import wind_direction
    >>> float(wind_direction(5.0, 0.0))  # a west wind
    270.0
    """
    u, v = (np.asarray(one, dtype=np.float64) for one in (east, north))
    turned = np.mod(270.0 - np.degrees(np.arctan2(v, u)), 360.0)
    return np.asarray(np.where(turned >= 360.0, 0.0, turned))
