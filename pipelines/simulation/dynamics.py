"""The engine: dinosaur's spectral primitive equations with our physics, one jitted day at a time.

Imports JAX; nothing that serves or forecasts imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from dinosaur import (
    coordinate_systems,
    primitive_equations,
    sigma_coordinates,
    spherical_harmonic,
    time_integration,
    units,
)

from pear.resources.idealised import mountain_height
from pear.resources.natural_earth import land_fraction
from pear.variables import STANDARD_GRAVITY
from pipelines.simulation import parameters, physics

HUMIDITY = "specific_humidity"


RADIUS = 6.37122e6


OMEGA = 7.292e-5


SECOND = 2.0 * OMEGA


"""One second in the engine's units of time."""


SPEED = RADIUS * 2.0 * OMEGA


"""The engine's unit of speed in m/s."""


Spectral = Any


class Engine:
    """The equations on one grid, ready to step.

    Spectral states are dinosaur's: vorticity and divergence in the engine's units (radius of the
    Earth, half the period of its rotation over 2π), temperature as the difference from 288 K,
    and the logarithm of surface pressure over 1000 hPa; ``(layer, m, l)``.

    Parameters
    ----------
    truncation
        ``T21``, ``T31`` or ``T42``.
    """

    def __init__(self, truncation: str = "T31") -> None:
        size = parameters.resolution(truncation)
        self.truncation = truncation
        self.size = size
        self.grid = spherical_harmonic.Grid.construct(size.wavenumber, size.gaussian_nodes)
        vertical = sigma_coordinates.SigmaCoordinates(np.array(parameters.INTERFACES))
        self.coords = coordinate_systems.CoordinateSystem(self.grid, vertical)
        self.sigma = np.asarray(vertical.centers, dtype=np.float64)
        self.dt = parameters.DAY / size.steps_per_day
        lon, sine = self.grid.nodal_mesh
        self.lon = np.degrees(lon)
        self.lat = np.degrees(np.arcsin(sine))
        self.height = self._spectral_height()
        self.surface = physics.Surface(self.lat[None], self._land()[None])
        self._rates = self._relaxation()
        self._rest_pressure = self._isothermal_pressure()
        weight = np.asarray(self.grid.quadrature_weights)
        self._mass = float((self._rest_pressure[0] * weight).sum() / weight.sum())
        self._step = self._stepper()
        self.day = jax.jit(self._day)

    def _damping(self, strength: float) -> parameters.Floats:
        _, total = self.grid.modal_axes
        return np.asarray(np.exp(-strength * (total / self.size.wavenumber) ** 4))

    def _spectral_height(self) -> Any:
        """Height of the ground, (m, l) metres: truncated and damped against Gibbs ripples."""
        nodal = mountain_height(self.lon, self.lat)
        modal = self.grid.to_modal(jnp.asarray(nodal)) * self._damping(3.0)
        return self.grid.clip_wavenumbers(modal)

    def _land(self) -> parameters.Floats:
        """Land fraction on the Gaussian grid, smoothed like the mountains, in [0, 1]."""
        lat, lon, fraction = land_fraction()
        half = 90.0 / self.size.gaussian_nodes / 2.0
        boxes = np.zeros(self.lat.shape)
        for i, east in enumerate(self.lon[:, 0]):
            near_lon = np.abs((lon - east + 180.0) % 360.0 - 180.0) <= half
            for j, north in enumerate(self.lat[0]):
                near = np.ix_(np.abs(lat - north) <= half, near_lon)
                boxes[i, j] = fraction[near].mean()
        smooth = self.grid.to_nodal(self.grid.to_modal(jnp.asarray(boxes)) * self._damping(3.0))
        return np.clip(np.asarray(smooth, dtype=np.float64), 0.0, 1.0)

    def _stepper(self) -> Callable[[Spectral], Spectral]:
        equations = primitive_equations.PrimitiveEquationsSigma(
            np.full(self.sigma.size, parameters.REFERENCE_TEMPERATURE),
            self.height / RADIUS,
            self.coords,
            units.SimUnits.from_si(),
        )
        dt = self.dt * SECOND
        diffuse = time_integration.horizontal_diffusion_step_filter(
            self.grid, dt, parameters.DIFFUSION_HOURS * 3600.0 * SECOND, order=4
        )
        step = time_integration.imex_rk_sil3(equations, dt)
        return cast(
            Callable[[Spectral], Spectral],
            time_integration.step_with_filters(step, [diffuse]),
        )

    def _forced(self, state: Spectral, season: Any) -> Spectral:
        """Apply one implicit step of drag, heating and moisture."""
        sigma = self.sigma[:, None, None]
        pressure = sigma * 1e5 * jnp.exp(self.grid.to_nodal(state.log_surface_pressure))
        before = (
            parameters.REFERENCE_TEMPERATURE + self.grid.to_nodal(state.temperature_variation),
            self.grid.to_nodal(state.tracers[HUMIDITY]),
        )
        after = physics.moist_step(
            *before,
            physics.equilibrium(pressure, sigma, self.surface, season),
            pressure,
            self.dt,
            self._rates,
        )
        # Only the increments pass through the transform, so what physics leaves alone stays exact.
        warming, moistening = (
            self.grid.clip_wavenumbers(self.grid.to_modal(new - old))
            for old, new in zip(before, after, strict=True)
        )
        slower = 1.0 / (1.0 + self.dt * parameters.drag_rate(sigma))
        return state.replace(
            vorticity=state.vorticity * slower,
            divergence=state.divergence * slower,
            temperature_variation=state.temperature_variation + warming,
            tracers={HUMIDITY: state.tracers[HUMIDITY] + moistening},
        )

    def _relaxation(self) -> tuple[parameters.Floats, parameters.Floats, parameters.Floats]:
        sigma = self.sigma[:, None, None]
        return (
            parameters.relaxation_rate(sigma, self.lat[None]),
            parameters.moistening_rate(sigma),
            parameters.relative_humidity(sigma, self.lat[None], self.surface.land),
        )

    def _day(self, state: Spectral, day_of_year: Any) -> Spectral:
        def one(carry: Spectral, index: Any) -> tuple[Spectral, None]:
            day = day_of_year + index / self.size.steps_per_day
            angle = 2.0 * jnp.pi * (day - parameters.SOLSTICE_DAY) / parameters.YEAR_DAYS
            return self._forced(self._step(carry), jnp.cos(angle)), None

        state, _ = jax.lax.scan(one, state, jnp.arange(self.size.steps_per_day))
        return self._conserve_mass(state)

    def _conserve_mass(self, state: Spectral) -> Spectral:
        """Return the mean surface pressure to its first value: log-pressure dynamics drift."""
        log_pressure = state.log_surface_pressure
        pressure = jnp.exp(self.grid.to_nodal(log_pressure))
        mean = self.grid.integrate(pressure)[0] / (4.0 * jnp.pi)
        # A constant field of 1 has the coefficient sqrt(4 pi) of the orthonormal Y00.
        fix = jnp.sqrt(4.0 * jnp.pi) * jnp.log(self._mass / mean)
        return state.replace(log_surface_pressure=log_pressure.at[0, 0, 0].add(fix))

    def _isothermal_pressure(self) -> parameters.Floats:
        """Surface pressure over 1000 hPa of an isothermal atmosphere at rest, (1, lon, lat)."""
        height = np.asarray(self.grid.to_nodal(self.height), dtype=np.float64)
        scale_height = parameters.DRY_AIR * parameters.REFERENCE_TEMPERATURE / STANDARD_GRAVITY
        return (parameters.MEAN_PRESSURE / 1e5 * np.exp(-height / scale_height))[None]

    def rest(self, seed: int, day_of_year: float) -> Spectral:
        """Air at rest over the mountains at its equilibrium temperature, plus a whisper of noise.

        Parameters
        ----------
        seed
            Of the vorticity noise that tells two simulations apart.
        day_of_year
            Season of the equilibrium.
        """
        sigma = self.sigma[:, None, None]
        pressure = sigma * 1e5 * self._rest_pressure
        season = float(parameters.season(day_of_year))
        warm = physics.equilibrium(jnp.asarray(pressure), sigma, self.surface, season)
        wet = self._rates[2] * physics.saturation(warm, pressure)
        noise = np.random.default_rng(seed).standard_normal((self.sigma.size, *self.lat.shape))
        modal = self.grid.to_modal
        clip = self.grid.clip_wavenumbers
        return primitive_equations.State(
            vorticity=clip(modal(jnp.asarray(1e-4 * noise))).at[:, 0, 0].set(0.0),
            divergence=jnp.zeros(self.coords.modal_shape),
            temperature_variation=clip(modal(warm - parameters.REFERENCE_TEMPERATURE)),
            log_surface_pressure=clip(modal(jnp.log(jnp.asarray(self._rest_pressure)))),
            tracers={HUMIDITY: clip(modal(wet))},
        )


def pack(state: Spectral) -> dict[str, npt.NDArray[np.float32]]:
    """Return the arrays of a spectral state, for a restart file."""
    return {
        "vorticity": np.asarray(state.vorticity),
        "divergence": np.asarray(state.divergence),
        "temperature": np.asarray(state.temperature_variation),
        "log_pressure": np.asarray(state.log_surface_pressure),
        "humidity": np.asarray(state.tracers[HUMIDITY]),
    }


def unpack(arrays: Mapping[str, npt.NDArray[np.float32]]) -> Spectral:
    """Return the spectral state of a restart file's arrays."""
    return primitive_equations.State(
        vorticity=jnp.asarray(arrays["vorticity"]),
        divergence=jnp.asarray(arrays["divergence"]),
        temperature_variation=jnp.asarray(arrays["temperature"]),
        log_surface_pressure=jnp.asarray(arrays["log_pressure"]),
        tracers={HUMIDITY: jnp.asarray(arrays["humidity"])},
    )


def use_cache() -> Path:
    """Point JAX at a cache folder of the user (``XDG_CACHE_HOME`` or ``~/.cache``)."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "pear" / "jax"
    folder.mkdir(parents=True, exist_ok=True)
    settings: Any = jax.config
    settings.update("jax_compilation_cache_dir", str(folder))
    settings.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    settings.update("jax_platforms", "cpu")
    return folder
