"""Drag, heating and moisture: one implicit step after the dynamics, in JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from pipelines.simulation import parameters


@dataclass(frozen=True)
class Surface:
    """What the air stands on, on the Gaussian grid.

    Attributes
    ----------
    lat
        (1, lon, lat) degrees north.
    land
        (1, lon, lat) land fraction, smoothed.
    """

    lat: parameters.Floats
    land: parameters.Floats


def saturation(temperature: Any, pressure: Any) -> Any:
    """Saturation specific humidity in kg/kg (Bolton, 1980, equation 10).

    Parameters
    ----------
    temperature, pressure
        K and Pa, of shapes that broadcast.
    """
    celsius = jnp.clip(temperature - 273.15, -120.0, 60.0)
    vapour = 611.2 * jnp.exp(17.67 * celsius / (celsius + 243.5))
    # Aloft the vapour pressure of saturation may exceed the pressure; humidity stays bounded.
    vapour = jnp.minimum(vapour, 0.3 * pressure)
    return 0.622 * vapour / (pressure - 0.378 * vapour)


def equilibrium(pressure: Any, sigma: parameters.Floats, surface: Surface, season: Any) -> Any:
    """Temperature that the air relaxes to, K, on (layer, lon, lat).

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
    """
    sine = np.sin(np.radians(surface.lat))
    ratio = pressure / 1e5
    swing = parameters.season_amplitude(surface.lat) * sine
    low = np.maximum(0.0, (sigma - 0.5) / 0.5)
    continents = 9.0 * surface.land * np.tanh(3.0 * sine) * low
    warm = parameters.sea_level_warmth(surface.lat) + (swing + continents) * season
    column = ratio**parameters.KAPPA * (warm - parameters.stability(surface.lat) * jnp.log(ratio))
    night = parameters.polar_night(surface.lat) * sine * np.maximum(0.0, 1.0 - sigma / 0.3)
    return jnp.maximum(parameters.stratosphere(surface.lat) + night * season, column)


def moist_step(
    temperature: Any,
    humidity: Any,
    target_temperature: Any,
    pressure: Any,
    dt: float,
    rates: tuple[parameters.Floats, parameters.Floats, parameters.Floats],
) -> tuple[Any, Any]:
    """Relax temperature and humidity implicitly, then condense what is above saturation.

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
    (temperature, humidity)
        After the step.
    """
    heating, moistening, relative = rates
    temperature = (temperature + dt * heating * target_temperature) / (1.0 + dt * heating)
    saturated = saturation(temperature, pressure)
    humidity = (humidity + dt * moistening * relative * saturated) / (1.0 + dt * moistening)
    # Rain warms the air and so raises its saturation: the excess that can fall is smaller by the
    # slope of saturation with temperature (Clausius-Clapeyron, from Bolton's formula).
    gain = parameters.LATENT_HEAT / parameters.HEAT_CAPACITY
    slope = saturated * 17.67 * 243.5 / (temperature - 29.65) ** 2
    excess = jnp.maximum(humidity - saturated, 0.0) / (1.0 + gain * slope)
    rain = parameters.CONDENSED_IN_A_STEP * excess
    return temperature + gain * rain, humidity - rain
