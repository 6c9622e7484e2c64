"""Drag, heating and moisture: one implicit step after the dynamics, in JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from pear.typing import Float64
from pipelines.simulation import parameters

ArrayLike: TypeAlias = jax.Array | Float64 | float


@dataclass(frozen=True)
class Surface:
    """Surface below the air, on the Gaussian grid.

    Attributes
    ----------
    lat
        (1, lon, lat) degrees north.
    land
        (1, lon, lat) land fraction, smoothed.
    """

    lat: Float64
    land: Float64


def saturation(temperature: ArrayLike, pressure: ArrayLike) -> jax.Array:
    """Return the saturation specific humidity (Bolton, 1980, equation 10).

    Parameters
    ----------
    temperature, pressure
        K and Pa, of shapes that broadcast.

    Returns
    -------
    jax.Array
        kg/kg, of the broadcast shape.
    """
    celsius = jnp.clip(temperature - 273.15, -120.0, 60.0)
    vapour = 611.2 * jnp.exp(17.67 * celsius / (celsius + 243.5))
    # Aloft the saturation vapour pressure may exceed the pressure; humidity stays bounded.
    vapour = jnp.minimum(vapour, 0.3 * pressure)
    return 0.622 * vapour / (pressure - 0.378 * vapour)


def equilibrium(
    pressure: ArrayLike, sigma: Float64, surface: Surface, season: ArrayLike
) -> jax.Array:
    """Return the temperature that the air relaxes to.

    Parameters
    ----------
    pressure
        (layer, lon, lat) Pa.
    sigma
        (layer, 1, 1).
    surface
        Latitude and land fraction.
    season
        1 in northern midsummer, -1 in northern midwinter.

    Returns
    -------
    jax.Array
        (layer, lon, lat) K.
    """
    sine = np.sin(np.radians(surface.lat))
    ratio = pressure / 1e5
    swing = parameters.season_amplitude(surface.lat) * sine
    low = np.maximum(0.0, (sigma - 0.5) / 0.5)
    continents = 9.0 * surface.land * np.tanh(3.0 * sine) * low
    warm = parameters.sea_level_temperature(surface.lat) + (swing + continents) * season
    column = ratio**parameters.KAPPA * (warm - parameters.stability(surface.lat) * jnp.log(ratio))
    night = parameters.polar_night(surface.lat) * sine * np.maximum(0.0, 1.0 - sigma / 0.3)
    return jnp.maximum(parameters.stratosphere(surface.lat) + night * season, column)


def sunshine(
    latitude: Float64, declination: ArrayLike, hour_angle: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """Return what the sun's height does to air near the ground: its anomaly and that one's growth.

    The cosine of the zenith angle, zero at night, is expanded in harmonics of the hour angle
    (e.g. Hartmann, Global Physical Climatology, 2016, section 2.7). Its mean over the day belongs
    to the season and is left out; the first two harmonics drive air that returns to its daily mean
    in :data:`pipelines.simulation.parameters.DIURNAL_SECONDS`.

    Parameters
    ----------
    latitude
        Degrees north.
    declination
        Latitude over which the sun stands, radians.
    hour_angle
        Radians from local noon, of a shape that broadcasts with the latitude.

    Returns
    -------
    anomaly, growth : jax.Array
        The anomaly, and its derivative by the hour angle, per kelvin of
        :func:`pipelines.simulation.parameters.diurnal_swing`; both have a daily mean of zero.
    """
    rise = np.sin(np.radians(latitude)) * jnp.sin(declination)
    swing = np.cos(np.radians(latitude)) * jnp.cos(declination)
    # Polar day and polar night are the ends of the range.
    sunset = jnp.arccos(jnp.clip(-rise / jnp.maximum(swing, 1e-6), -1.0, 1.0))
    once, twice, thrice = (jnp.sin(n * sunset) for n in (1, 2, 3))
    first = 2.0 / jnp.pi * (rise * once + swing * (0.5 * sunset + 0.25 * twice))
    second = 2.0 / jnp.pi * (0.5 * rise * twice + 0.5 * swing * (once + thrice / 3.0))
    damping = parameters.DAY_SECONDS / (2.0 * np.pi * parameters.DIURNAL_SECONDS)
    anomaly, growth = jnp.zeros(()), jnp.zeros(())
    for n, part in ((1, first), (2, second)):
        # The real part of part exp(i n h) / (damping + i n), and its derivative.
        scale = part / (damping**2 + n**2)
        cosine, sine = jnp.cos(n * hour_angle), jnp.sin(n * hour_angle)
        anomaly = anomaly + scale * (damping * cosine + n * sine)
        growth = growth + scale * n * (n * cosine - damping * sine)
    return anomaly, growth


def moist_step(
    temperature: ArrayLike,
    humidity: ArrayLike,
    target_temperature: ArrayLike,
    pressure: ArrayLike,
    dt: float,
    rates: tuple[Float64, Float64, Float64],
) -> tuple[jax.Array, jax.Array]:
    """Relax temperature and humidity implicitly, then condense the excess over saturation.

    Parameters
    ----------
    temperature, humidity
        (layer, lon, lat) K and kg/kg after the dynamics.
    target_temperature, pressure
        (layer, lon, lat) K and Pa.
    dt
        Step in seconds.
    rates
        Thermal relaxation 1/s, moistening 1/s, and target relative humidity.

    Returns
    -------
    temperature, humidity : jax.Array
        (layer, lon, lat) K and kg/kg after the step.
    """
    heating, moistening, relative = rates
    temperature = (temperature + dt * heating * target_temperature) / (1.0 + dt * heating)
    saturated = saturation(temperature, pressure)
    humidity = (humidity + dt * moistening * relative * saturated) / (1.0 + dt * moistening)
    # Rain warms the air and so raises its saturation: the excess that falls is smaller by the
    # slope of saturation with temperature (Clausius-Clapeyron, from Bolton's formula).
    gain = parameters.LATENT_HEAT / parameters.HEAT_CAPACITY
    slope = saturated * 17.67 * 243.5 / (temperature - 29.65) ** 2
    excess = jnp.maximum(humidity - saturated, 0.0) / (1.0 + gain * slope)
    rain = parameters.CONDENSED_IN_A_STEP * excess
    return jnp.asarray(temperature + gain * rain), jnp.asarray(humidity - rain)
