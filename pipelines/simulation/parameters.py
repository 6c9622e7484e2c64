"""Numbers of the simulated atmosphere: layers, resolution, drag, relaxation and moisture.

Dry primitive-equation dynamics, moisture as a tracer, and the simplest physics that sustain
weather for years: Rayleigh drag and Newtonian relaxation in the manner of Held and Suarez (1994,
doi:10.1175/1520-0477(1994)075<1825:APFTIO>2.0.CO;2) with seasons, land and mountains added, and
humidity relaxed to a prescribed relative humidity with large-scale condensation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.times import YEAR_SECONDS
from pear.typing import Float64

INTERFACES: Final = (
    0.0,
    0.03,
    0.07,
    0.115,
    0.16,
    0.21,
    0.265,
    0.325,
    0.395,
    0.47,
    0.55,
    0.63,
    0.71,
    0.79,
    0.87,
    0.94,
    1.0,
)
"""Sigma at the 17 interfaces of the 16 layers, top first."""

REFERENCE_TEMPERATURE: Final = 288.0
MEAN_PRESSURE: Final = 101_325.0
DRY_AIR: Final = 287.0
HEAT_CAPACITY: Final = 1004.0
LATENT_HEAT: Final = 2.501e6
KAPPA: Final = 2.0 / 7.0
LAPSE: Final = 6.5e-3
DIFFUSION_HOURS: Final = 10.0
"""Time scale of the eighth-order diffusion at the shortest wave."""
DAY_SECONDS: Final = 86_400.0
CONDENSED_IN_A_STEP: Final = 0.8
"""Fraction of the excess over saturation that rains out in one time step."""
YEAR_DAYS: Final = YEAR_SECONDS / DAY_SECONDS
SOLSTICE_DAY: Final = 185.0
"""Day of the year of the warmest northern equilibrium, some days after the solstice."""

SUN_DAY: Final = 172.0
"""Day of the year on which the sun stands highest in the north."""
OBLIQUITY: Final = 23.44
"""Inclination of the Earth's axis, degrees."""
DIURNAL_LAND: Final = 18.0
"""Swing of the lowest layer over land, K, for each unit of the sun's first harmonic: under the sun
of an equinox at the equator, 5.5 K up and down."""
DIURNAL_SEA: Final = 0.9
"""The same over the sea, whose heat capacity leaves it a twentieth."""
DIURNAL_SECONDS: Final = 3.0 * 3600.0
"""Time in which the air near the ground returns to its daily mean; the warmest hour is 14:30."""


@dataclass(frozen=True)
class Resolution:
    """Spectral truncation and time step.

    Attributes
    ----------
    wavenumber
        Largest total wavenumber.
    gaussian_nodes
        Gaussian latitudes between the equator and a pole.
    steps_per_day
        Time steps per day.
    """

    wavenumber: int
    gaussian_nodes: int
    steps_per_day: int


RESOLUTIONS: Final = {
    "T21": Resolution(21, 16, 24),
    "T31": Resolution(31, 24, 32),
    "T42": Resolution(42, 32, 40),
}


def resolution(name: str) -> Resolution:
    """Look up a spectral truncation.

    Parameters
    ----------
    name
        One of :data:`RESOLUTIONS`.

    Returns
    -------
    Resolution
        Its numbers.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    if name not in RESOLUTIONS:
        raise InputError(
            f"unknown truncation {name!r}",
            field="truncation",
            hint="known: " + ", ".join(RESOLUTIONS),
        )
    return RESOLUTIONS[name]


def season(day_of_year: Float64 | float) -> Float64:
    """Return the phase of the season: 1 in northern midsummer, -1 in northern midwinter."""
    angle = 2.0 * np.pi * (np.asarray(day_of_year) - SOLSTICE_DAY) / YEAR_DAYS
    return np.asarray(np.cos(angle))


def boundary_weight(sigma: Float64) -> Float64:
    """Return the weight of the boundary layer: 0 above sigma 0.7, 1 at the ground."""
    return np.maximum(0.0, (sigma - 0.7) / 0.3)


def drag_rate(sigma: Float64) -> Float64:
    """Return the Rayleigh drag on the wind in 1/s: 1.35 days at the ground."""
    # A little weaker than the one day of Held and Suarez, for livelier storms on a coarse grid.
    return boundary_weight(sigma) / (1.35 * DAY_SECONDS)


def relaxation_rate(sigma: Float64, lat: Float64) -> Float64:
    """Return the relaxation of temperature in 1/s: 40 days aloft, 4 at the tropical ground."""
    # The deep tropics relax in 12 days up to the tropopause: convection, which keeps them near the
    # moist adiabat, is not resolved.
    cosine = np.cos(np.radians(lat))
    slow, fast = 1.0 / (40.0 * DAY_SECONDS), 1.0 / (4.0 * DAY_SECONDS)
    ground = (fast - slow) * boundary_weight(sigma) * cosine**4
    convection = cosine**8 * np.clip((sigma - 0.1) / 0.15, 0.0, 1.0) / (17.0 * DAY_SECONDS)
    return np.asarray(slow + np.maximum(ground, convection))


def sea_level_temperature(lat: Float64) -> Float64:
    """Return the equilibrium temperature at 1000 hPa without season and land, K."""
    # The 315 K of Held and Suarez at the equator gave 2 m temperatures of 306 K there.
    squared = np.sin(np.radians(lat)) ** 2
    return np.asarray(308.6 - 60.0 * squared + 8.0 * squared**2)


def stability(lat: Float64) -> Float64:
    """Return the rise of equilibrium potential temperature per unit of -ln p, K."""
    # At the equator that of a moist adiabat.
    return np.asarray(23.0 * np.cos(np.radians(lat)) ** 5)


def stratosphere(lat: Float64) -> Float64:
    """Return the lowest equilibrium temperature, K."""
    # Warmer at the poles, which closes the jets at 200 hPa.
    return np.asarray(198.0 + 16.0 * np.sin(np.radians(lat)) ** 2)


def polar_night(lat: Float64) -> Float64:
    """Return the seasonal swing of the stratosphere's equilibrium per unit of sin(latitude), K."""
    # Larger in the south, whose winter vortex few mountains disturb: it draws the southern winter
    # jet from 30 to 40 degrees and gives it the westerlies at the surface.
    return np.where(lat < 0.0, 17.0, 9.0)


def season_amplitude(lat: Float64) -> Float64:
    """Return the seasonal swing of the equilibrium temperature per unit of sin(latitude), K."""
    # The southern oceans store heat: with the northern amplitude the southern cycle came out three
    # times too large, hence the factor 0.4.
    return np.where(lat < 0.0, 0.4 * 14.5, 14.5)


def relative_humidity(sigma: Float64, lat: Float64, land: Float64) -> Float64:
    """Return the relative humidity that moisture is relaxed to, in [0, 1]."""
    # A profile in sigma, drier over land and in the subtropical descent near the ground. The deep
    # tropics are drier around 850 hPa, where the plain profile came out 60 % too moist.
    profile = np.interp(sigma, (0.0, 0.1, 0.3, 0.6, 0.9, 1.0), (0.02, 0.05, 0.45, 0.65, 0.85, 0.85))
    near_ground = np.clip((sigma - 0.5) / 0.4, 0.0, 1.0)
    belt = 0.35 * np.exp(-(((np.abs(lat) - 25.0) / 9.0) ** 2))
    tropics = 0.38 * np.exp(-((lat / 18.0) ** 2)) * np.exp(-(((sigma - 0.88) / 0.16) ** 2))
    return np.asarray(
        profile * (1.0 - 0.35 * land * near_ground) * (1.0 - belt * near_ground) * (1.0 - tropics)
    )


def moistening_rate(sigma: Float64) -> Float64:
    """Return the relaxation of humidity in 1/s: 15, 8, 2 and 0.6 days at sigma 0, .5, .85 and 1."""
    return np.asarray(
        1.0 / (DAY_SECONDS * np.interp(sigma, (0.0, 0.5, 0.85, 1.0), (15.0, 8.0, 2.0, 0.6)))
    )


def diurnal_swing(sigma: Float64, land: Float64) -> Float64:
    """Return the swing by sunshine in K: that of the ground, fading out at sigma 0.75."""
    # Linear in sigma: a shallower layer of warm air would overturn, which is not resolved.
    shallow = np.clip((sigma - 0.75) / (0.97 - 0.75), 0.0, 1.0)
    return np.asarray(shallow * (DIURNAL_SEA + (DIURNAL_LAND - DIURNAL_SEA) * land))
