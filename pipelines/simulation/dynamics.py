"""Dynamics of the simulated atmosphere: dinosaur's spectral primitive equations, and physics.

This module imports JAX; serving and forecasting do not import it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
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
from pear.typing import Float32, Float64
from pear.variables import STANDARD_GRAVITY
from pipelines.simulation import parameters, physics

HUMIDITY: Final = "specific_humidity"
RADIUS: Final = 6.37122e6
OMEGA: Final = 7.292e-5
SECOND: Final = 2.0 * OMEGA
"""One second in the model's units of time."""
SPEED: Final = RADIUS * 2.0 * OMEGA
"""The model's unit of speed in m/s."""
Spectral: TypeAlias = primitive_equations.State


class Atmosphere:
    """The equations of the atmosphere on one grid.

    Spectral states are dinosaur's, (layer, m, l): vorticity and divergence in units of the Earth's
    radius and half its period of rotation over 2π, temperature as the difference from 288 K, and
    the logarithm of surface pressure over 1000 hPa.

    Parameters
    ----------
    truncation
        ``T21``, ``T31`` or ``T42``.
    diurnal
        Let the sun warm the ground by day (see :meth:`run_hours`).
    """

    def __init__(self, truncation: str = "T31", *, diurnal: bool = False) -> None:
        size = parameters.resolution(truncation)
        self.truncation, self.diurnal = truncation, diurnal
        self.size = size
        self.grid = spherical_harmonic.Grid.construct(size.wavenumber, size.gaussian_nodes)
        vertical = sigma_coordinates.SigmaCoordinates(np.array(parameters.INTERFACES))
        self.coords = coordinate_systems.CoordinateSystem(self.grid, vertical)
        self.sigma = np.asarray(vertical.centers, dtype=np.float64)
        self.dt = parameters.DAY_SECONDS / size.steps_per_day
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
        self.run_day = jax.jit(self._run_day)
        self._run_part = jax.jit(self._run_steps, static_argnames="count")

    def _damping(self, strength: float) -> Float64:
        _, total = self.grid.modal_axes
        return np.asarray(np.exp(-strength * (total / self.size.wavenumber) ** 4))

    def _spectral_height(self) -> jax.Array:
        """Return the height of the ground, (m, l) metres, truncated and damped against ripples."""
        nodal = mountain_height(self.lon, self.lat)
        modal = self.grid.to_modal(jnp.asarray(nodal)) * self._damping(3.0)
        return jnp.asarray(self.grid.clip_wavenumbers(modal))

    def _land(self) -> Float64:
        """Return the land fraction on the Gaussian grid, smoothed like the mountains, in [0, 1]."""
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

    def run_hours(self, state: Spectral, day_of_year: float, first: int, hours: int) -> Spectral:
        """Run a part of a day, with the sun's daily course if the atmosphere has one.

        Parameters
        ----------
        state
            State at ``first`` o'clock UTC.
        day_of_year
            Day of the year at 00 UTC, from 1.
        first
            Hour of the day.
        hours
            Length, a multiple of the time step.

        Returns
        -------
        Spectral
            State ``hours`` later; with ``hours=24`` and no diurnal cycle, that of :attr:`run_day`.
        """
        per_day = self.size.steps_per_day
        begin, count = first * per_day / 24, hours * per_day // 24
        out: Spectral = self._run_part(state, day_of_year, begin, count=count)
        return out

    def _run_steps(
        self, state: Spectral, day_of_year: jax.Array, begin: jax.Array, *, count: int
    ) -> Spectral:
        def step(carry: Spectral, index: jax.Array) -> tuple[Spectral, None]:
            part = (begin + index) / self.size.steps_per_day
            day = day_of_year + part
            angle = 2.0 * jnp.pi * (day - parameters.SOLSTICE_DAY) / parameters.YEAR_DAYS
            warming = self._warm_by_sun(day, part) if self.diurnal else None
            return self._apply_physics(self._step(carry), jnp.cos(angle), warming), None

        state, _ = jax.lax.scan(step, state, jnp.arange(count))
        return self._conserve_mass(state)

    def _warm_by_sun(self, day: jax.Array, part: jax.Array) -> jax.Array:
        """Return the warming by the daily course of the sun in one step, (layer, lon, lat) K."""
        sun = 2.0 * jnp.pi * (day - parameters.SUN_DAY) / parameters.YEAR_DAYS
        declination = np.radians(parameters.OBLIQUITY) * jnp.cos(sun)
        hour_angle = 2.0 * jnp.pi * (part - 0.5) + np.radians(self.lon)
        _, growth = physics.sunshine(self.lat, declination, hour_angle)
        swing = parameters.diurnal_swing(self.sigma[:, None, None], self.surface.land)
        return jnp.asarray(swing * growth * (2.0 * np.pi * self.dt / parameters.DAY_SECONDS))

    def _apply_physics(
        self, state: Spectral, season: jax.Array, warming: jax.Array | None = None
    ) -> Spectral:
        """Apply one implicit step of drag, heating and moisture."""
        sigma = self.sigma[:, None, None]
        pressure = sigma * 1e5 * jnp.exp(self.grid.to_nodal(state.log_surface_pressure))
        before = (
            parameters.REFERENCE_TEMPERATURE + self.grid.to_nodal(state.temperature_variation),
            self.grid.to_nodal(state.tracers[HUMIDITY]),
        )
        warmed = before[0] if warming is None else before[0] + warming
        after = physics.moist_step(
            warmed,
            before[1],
            physics.equilibrium(pressure, sigma, self.surface, season),
            pressure,
            self.dt,
            self._rates,
        )
        # Only the increments are transformed, so what physics leaves unchanged stays exact.
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

    def _relaxation(self) -> tuple[Float64, Float64, Float64]:
        sigma = self.sigma[:, None, None]
        return (
            parameters.relaxation_rate(sigma, self.lat[None]),
            parameters.moistening_rate(sigma),
            parameters.relative_humidity(sigma, self.lat[None], self.surface.land),
        )

    def _run_day(self, state: Spectral, day_of_year: jax.Array) -> Spectral:
        def step(carry: Spectral, index: jax.Array) -> tuple[Spectral, None]:
            day = day_of_year + index / self.size.steps_per_day
            angle = 2.0 * jnp.pi * (day - parameters.SOLSTICE_DAY) / parameters.YEAR_DAYS
            return self._apply_physics(self._step(carry), jnp.cos(angle)), None

        state, _ = jax.lax.scan(step, state, jnp.arange(self.size.steps_per_day))
        return self._conserve_mass(state)

    def _conserve_mass(self, state: Spectral) -> Spectral:
        """Reset the mean surface pressure to its first value, from which the dynamics drift."""
        log_pressure = state.log_surface_pressure
        pressure = jnp.exp(self.grid.to_nodal(log_pressure))
        mean = self.grid.integrate(pressure)[0] / (4.0 * jnp.pi)
        # A constant field of 1 has the coefficient sqrt(4 pi) of the orthonormal Y00.
        fix = jnp.sqrt(4.0 * jnp.pi) * jnp.log(self._mass / mean)
        return state.replace(log_surface_pressure=log_pressure.at[0, 0, 0].add(fix))

    def _isothermal_pressure(self) -> Float64:
        """Return the surface pressure over 1000 hPa of isothermal air at rest, (1, lon, lat)."""
        height = np.asarray(self.grid.to_nodal(self.height), dtype=np.float64)
        scale_height = parameters.DRY_AIR * parameters.REFERENCE_TEMPERATURE / STANDARD_GRAVITY
        return (parameters.MEAN_PRESSURE / 1e5 * np.exp(-height / scale_height))[None]

    def rest(self, seed: int, day_of_year: float) -> Spectral:
        """Return air at rest over the mountains at its equilibrium temperature, with weak noise.

        Parameters
        ----------
        seed
            Random seed of the vorticity noise that distinguishes simulations.
        day_of_year
            Season of the equilibrium.

        Returns
        -------
        dinosaur.primitive_equations.State
            Spectral state.
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


def finished(state: Spectral) -> Spectral:
    """Return a state once it has been computed.

    Parameters
    ----------
    state
        As :attr:`Atmosphere.run_day` returns it, at once.

    Returns
    -------
    Spectral
        The same state.
    """
    wait: Any = jax.block_until_ready  # untyped where jax is installed
    return cast("Spectral", wait(state))


def pack(state: Spectral) -> dict[str, Float32]:
    """Convert a spectral state to the arrays of a restart file."""
    return {
        "vorticity": np.asarray(state.vorticity),
        "divergence": np.asarray(state.divergence),
        "temperature": np.asarray(state.temperature_variation),
        "log_pressure": np.asarray(state.log_surface_pressure),
        "humidity": np.asarray(state.tracers[HUMIDITY]),
    }


def unpack(arrays: Mapping[str, Float32]) -> Spectral:
    """Convert the arrays of a restart file to a spectral state."""
    return primitive_equations.State(
        vorticity=jnp.asarray(arrays["vorticity"]),
        divergence=jnp.asarray(arrays["divergence"]),
        temperature_variation=jnp.asarray(arrays["temperature"]),
        log_surface_pressure=jnp.asarray(arrays["log_pressure"]),
        tracers={HUMIDITY: jnp.asarray(arrays["humidity"])},
    )


def use_cache() -> Path:
    """Let JAX keep compiled code in the user's cache folder; returns the folder."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "pear" / "jax"
    folder.mkdir(parents=True, exist_ok=True)
    update: Callable[[str, object], None] = jax.config.update
    update("jax_compilation_cache_dir", str(folder))
    update("jax_persistent_cache_min_compile_time_secs", 0.5)
    update("jax_platforms", "cpu")
    return folder
