"""ERA5's fields from spectral layers, in JAX: pressure levels, 2 m, 10 m and sea level.

Above the lowest layer temperature, wind and the logarithm of humidity are linear in ln p and the
geopotential is their hydrostatic integral; below it the air warms by 6.5 K/km and keeps its wind
and humidity, so that fields below mountains are smooth, as ERA5's are, and never missing.
"""

from __future__ import annotations

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from dinosaur import spherical_harmonic

from pear.store.static_fields import GROUND, LAND
from pear.typing import Float32
from pear.variables import LEVELS, STANDARD_GRAVITY
from pipelines.simulation import parameters
from pipelines.simulation.dynamics import HUMIDITY, SPEED, Atmosphere, Spectral

SURFACE: Final = ("msl", "u10", "v10", "t2m")
UPPER: Final = ("z", "q", "t", "u", "v")
HUMIDITY_FLOOR: Final = 1e-7


class PressureLevelDiagnostics:
    """Fields on a regular latitude-longitude grid with poles, by exact spectral synthesis.

    Parameters
    ----------
    atmosphere
        Atmosphere whose states are read.
    spacing
        Degrees between grid points; must divide 180 into an even number of rows.

    Attributes
    ----------
    lat, lon
        Degrees north ascending and degrees east from 0.
    static
        Surface geopotential in m² s⁻² and land fraction by name, (lat, lon).
    """

    def __init__(self, atmosphere: Atmosphere, spacing: float) -> None:
        rows = round(180.0 / spacing)
        size = atmosphere.size
        self.grid = spherical_harmonic.Grid(
            longitude_wavenumbers=size.wavenumber + 1,
            total_wavenumbers=size.wavenumber + 2,
            longitude_nodes=2 * rows,
            latitude_nodes=rows + 1,
            latitude_spacing="equiangular_with_poles",
        )
        self.atmosphere = atmosphere
        self.lat = np.linspace(-90.0, 90.0, rows + 1)
        self.lon = np.arange(2 * rows) * 180.0 / rows
        self.height = jnp.maximum(self.grid.to_nodal(atmosphere.height), 0.0)
        land = atmosphere.grid.to_modal(jnp.asarray(atmosphere.surface.land[0]))
        self.land = jnp.clip(self.grid.to_nodal(land), 0.0, 1.0)
        self.static: dict[str, Float32] = {
            name: np.asarray(field.T, dtype=np.float32)
            for name, field in ((GROUND, STANDARD_GRAVITY * self.height), (LAND, self.land))
        }
        self.fields = jax.jit(self._fields)

    def _wind(self, state: Spectral) -> tuple[jax.Array, jax.Array]:
        """Return eastward and northward wind in m/s, (layer, lon, lat)."""
        scaled = spherical_harmonic.get_cos_lat_vector(
            state.vorticity, state.divergence, self.atmosphere.grid, clip=False
        )
        cosine = np.cos(np.radians(self.lat))
        cosine[[0, -1]] = 1.0
        angle = np.radians(self.lon)
        waves = np.stack([np.cos(angle), np.sin(angle)])
        project = 2.0 / self.lon.size * waves.T @ waves  # pole rows have zonal wavenumber 1 alone
        winds = []
        for part in scaled:
            wind = self.grid.to_nodal(part) * SPEED / cosine
            wind = wind.at[..., 0].set(wind[..., 1] @ project)
            winds.append(wind.at[..., -1].set(wind[..., -2] @ project))
        return winds[0], winds[1]

    def _fields(self, state: Spectral) -> tuple[jax.Array, jax.Array]:
        """Return surface (4, lat, lon) and upper (5, level, lat, lon) fields, ERA5 units."""
        # Rows run from south to north; variables in the order of SURFACE and UPPER, levels in that
        # of pear.variables.LEVELS.
        u, v = self._wind(state)
        temperature = parameters.REFERENCE_TEMPERATURE + self.grid.to_nodal(
            state.temperature_variation
        )
        humidity = jnp.maximum(self.grid.to_nodal(state.tracers[HUMIDITY]), HUMIDITY_FLOOR)
        pressure = 1e5 * jnp.exp(self.grid.to_nodal(state.log_surface_pressure))[0]
        ground = STANDARD_GRAVITY * self.height
        warm = temperature[-1] * self.atmosphere.sigma[-1] ** (
            -parameters.DRY_AIR * parameters.LAPSE / STANDARD_GRAVITY
        )
        layers = jnp.stack([jnp.log(humidity), temperature, u, v])
        upper = self._to_levels(layers, pressure, ground, warm)
        sea_level = pressure * jnp.exp(
            ground / (parameters.DRY_AIR * (warm + 0.5 * parameters.LAPSE * self.height))
        )
        friction = 0.8 - 0.2 * self.land
        surface = jnp.stack([sea_level, u[-1] * friction, v[-1] * friction, warm])
        return jnp.swapaxes(surface, -1, -2), jnp.swapaxes(upper, -1, -2)

    def _to_levels(
        self,
        layers: jax.Array,
        pressure: jax.Array,
        ground: jax.Array,
        warm: jax.Array,
    ) -> jax.Array:
        """Interpolate ln q, t, u, v (4, layer, lon, lat) to z, q, t, u, v on pressure levels."""
        temperature = layers[1]
        log_sigma = np.log(self.atmosphere.sigma)
        thickness = parameters.DRY_AIR * np.diff(log_sigma)[:, None, None]
        lowest = ground - parameters.DRY_AIR * 0.5 * (warm + temperature[-1]) * log_sigma[-1]
        steps = thickness * 0.5 * (temperature[1:] + temperature[:-1])
        above = lowest + jnp.cumsum(steps[::-1], axis=0)[::-1]
        geopotential = jnp.concatenate([above, lowest[None]])
        stacked = jnp.concatenate([geopotential[None], layers])
        wanted = jnp.log(jnp.asarray(LEVELS) * 100.0)[:, None, None] - jnp.log(pressure)
        at_most = jnp.asarray(log_sigma)[:, None, None, None]
        upper = jnp.clip(jnp.sum(wanted >= at_most, axis=0) - 1, 0, log_sigma.size - 2)
        high, low = (
            jnp.take_along_axis(stacked, (upper + shift)[None], axis=1) for shift in (0, 1)
        )
        log_low = jnp.asarray(log_sigma)[upper + 1]
        part = (wanted - log_low) / (jnp.asarray(log_sigma)[upper] - log_low)
        linear = low + jnp.clip(part, 0.0, None) * (high - low)
        kelvin = linear[2]
        # Hydrostatic between the layer below and the level, with temperature linear in ln p.
        height = low[0] + parameters.DRY_AIR * 0.5 * (low[2] + kelvin) * (log_low - wanted)
        # Below the lowest layer: hypsometric with the standard lapse rate.
        power = parameters.DRY_AIR * parameters.LAPSE / STANDARD_GRAVITY
        ratio = jnp.exp(power * (wanted - log_sigma[-1]))
        below = wanted > log_sigma[-1]
        kelvin = jnp.where(below, temperature[-1] * ratio, kelvin)
        sunk = lowest - STANDARD_GRAVITY / parameters.LAPSE * temperature[-1] * (ratio - 1.0)
        height = jnp.where(below, sunk, height)
        humidity = jnp.maximum(jnp.exp(linear[1]), HUMIDITY_FLOOR)
        return jnp.stack([height, humidity, kelvin, linear[3], linear[4]])
