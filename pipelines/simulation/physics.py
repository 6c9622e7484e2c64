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
