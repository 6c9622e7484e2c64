"""Drag, heating and moisture: one implicit step after the dynamics, in JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from pipelines.sources.simulate import recipe


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

    lat: recipe.Floats
    land: recipe.Floats


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


def equilibrium(pressure: Any, sigma: recipe.Floats, surface: Surface, season: Any) -> Any:
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
    swing = recipe.season_amplitude(surface.lat) * sine
    low = np.maximum(0.0, (sigma - 0.5) / 0.5)
    continents = 9.0 * surface.land * np.tanh(3.0 * sine) * low
    warm = 315.0 - 60.0 * sine**2 + (swing + continents) * season
    column = ratio**recipe.KAPPA * (warm - 10.0 * jnp.log(ratio) * (1.0 - sine**2))
    floor = 200.0 + 8.0 * sine * season * np.maximum(0.0, 1.0 - sigma / 0.3)
    return jnp.maximum(floor, column)


def moist_step(
    temperature: Any,
    humidity: Any,
    target_temperature: Any,
    pressure: Any,
    dt: float,
    rates: tuple[recipe.Floats, recipe.Floats, recipe.Floats],
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
    """  # fmt: skip
    heating, moistening, relative = rates
    temperature = (temperature + dt * heating * target_temperature) / (1.0 + dt * heating)
    saturated = saturation(temperature, pressure)
    humidity = (humidity + dt * moistening * relative * saturated) / (1.0 + dt * moistening)
    rain = 0.3 * jnp.maximum(humidity - saturated, 0.0)
    warming = recipe.LATENT_HEAT / recipe.HEAT_CAPACITY * jnp.minimum(rain, 1e-3)
    return temperature + warming, humidity - rain
