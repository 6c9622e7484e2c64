"""The atmosphere itself: resting air, exact synthesis, resumption, and its static fields."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("dinosaur", reason="needs the extra [simulate]")
    from pear.progress import ProgressCallback
from pear.store.static_fields import read_static_fields
from pear.variables import STANDARD_GRAVITY
from pipelines.ingestion.ingest import ingest
from pipelines.simulation import diagnostics, dynamics, parameters, physics, run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def atmosphere() -> Iterator[dynamics.Atmosphere]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield dynamics.Atmosphere("T21")


@pytest.fixture(scope="module")
def diagnostic(atmosphere: dynamics.Atmosphere) -> diagnostics.PressureLevelDiagnostics:
    return diagnostics.PressureLevelDiagnostics(atmosphere, 7.5)


def test_saturation_is_boltons(atmosphere: dynamics.Atmosphere) -> None:
    # 6.112 hPa over melting ice, 42.4 hPa at 30 °C (Bolton, 1980, table 1 within 0.1 %).
    for kelvin, vapour in ((273.15, 611.2), (303.15, 4243.0)):
        wanted = 0.622 * vapour / (1e5 - 0.378 * vapour)
        assert float(physics.saturation(kelvin, 1e5)) == pytest.approx(wanted, rel=2e-3)


def test_solid_rotation_has_its_wind_at_every_latitude_and_none_at_the_poles(
    atmosphere: dynamics.Atmosphere, diagnostic: diagnostics.PressureLevelDiagnostics
) -> None:
    # u = U cos(lat) has vorticity 2 U sin(lat) / a: one coefficient in, one field out.
    speed = 20.0
    sine = np.sin(np.radians(atmosphere.lat))
    vorticity = 2.0 * speed / dynamics.SPEED * sine
    state = atmosphere.rest(0, 80.0)
    layers = atmosphere.sigma.size
    modal = np.asarray(atmosphere.grid.to_modal(np.broadcast_to(vorticity, (layers, *sine.shape))))
    u, v = diagnostic._wind(state.replace(vorticity=modal, divergence=0.0 * modal))
    wanted = speed * np.cos(np.radians(diagnostic.lat))
    np.testing.assert_allclose(u[3].mean(axis=0), wanted, atol=2e-3)
    assert float(np.abs(v).max()) < 2e-3


def test_wind_across_the_pole_is_one_vector(
    atmosphere: dynamics.Atmosphere, diagnostic: diagnostics.PressureLevelDiagnostics
) -> None:
    state = atmosphere.run_day(atmosphere.rest(0, 80.0), 80.0)
    surface, upper = (np.asarray(part) for part in diagnostic.fields(state))
    assert np.isfinite(surface).all()
    assert np.isfinite(upper).all()
    angle = np.radians(diagnostic.lon)
    for row in (0, -1):
        wind = upper[3, 5, row]
        waves = np.stack([np.cos(angle), np.sin(angle)])
        fit = (2.0 / angle.size * waves @ wind) @ waves
        np.testing.assert_allclose(wind, fit, atol=1e-3)


def test_heights_are_hydrostatic(
    atmosphere: dynamics.Atmosphere, diagnostic: diagnostics.PressureLevelDiagnostics
) -> None:
    state = atmosphere.run_day(atmosphere.rest(0, 80.0), 80.0)
    _, upper = (np.asarray(part, dtype=np.float64) for part in diagnostic.fields(state))
    pressure = np.array([500.0, 400.0])
    thickness = upper[0, 6] - upper[0, 5]
    warmth = 0.5 * (upper[2, 5] + upper[2, 6])
    wanted = parameters.DRY_AIR * warmth * np.log(pressure[0] / pressure[1])
    # A layer lies between the two levels, so the trapezoid over both is only near.
    np.testing.assert_allclose(thickness, wanted, rtol=1.2e-2)
    assert thickness.mean() == pytest.approx(wanted.mean(), rel=3e-3)


def test_mass_is_kept_and_seeds_tell_runs_apart(atmosphere: dynamics.Atmosphere) -> None:
    states = [atmosphere.rest(seed, 80.0) for seed in (0, 0, 1)]
    for _ in range(2):
        states = [atmosphere.run_day(state, 80.0) for state in states]
    first, again, other = (np.asarray(state.vorticity) for state in states)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    weight = np.asarray(atmosphere.grid.quadrature_weights)
    pressure = np.exp(np.asarray(atmosphere.grid.to_nodal(states[0].log_surface_pressure)))[0]
    mean = (pressure * weight).sum() / weight.sum()
    assert mean == pytest.approx(atmosphere._mass, rel=1e-5)


def test_a_stopped_simulation_goes_on_bit_for_bit(tmp_path: Path) -> None:
    plan = run.SimulationConfig("2000-01-30", 7.5, truncation="T21", spin_up=1)

    announced: list[int] = []
    days: list[str] = []

    def announce(total: int) -> ProgressCallback:
        announced.append(total)
        return stop

    def stop(advance: float = 1, note: str = "") -> None:
        days.append(note)
        if note.startswith("2000-02-02"):
            raise KeyboardInterrupt

    whole = run.simulate(tmp_path / "whole", plan, 5)
    with pytest.raises(KeyboardInterrupt):
        run.simulate(tmp_path / "broken", plan, 5, announce)
    assert (announced, len(days)) == ([6], 5), "a day of spin-up and five; stopped at the fifth"
    resumed = run.simulate(tmp_path / "broken", plan, 5)
    assert [path.name for path in whole] == [path.name for path in resumed]
    for a, b in zip(whole, resumed, strict=True):
        with xr.open_dataset(a) as one, xr.open_dataset(b) as two:
            xr.testing.assert_identical(one, two)
            assert one.attrs["simulated"] == "true"
    longer = run.simulate(tmp_path / "broken", plan, 7)
    assert len(longer) == 2
    with xr.open_dataset(longer[-1]) as february:
        assert february.sizes["valid_time"] == 5
    assert len(list((tmp_path / "broken").glob("simulated_*.nc"))) == 2


def test_a_store_of_simulated_files_has_the_simulated_surface(tmp_path: Path) -> None:
    config = run.SimulationConfig("2000-01-30", 7.5, truncation="T21", spin_up=1)
    files = run.simulate(tmp_path, config, 3)
    with xr.open_dataset(files[0]) as january:
        surface = january["geopotential_at_surface"]
        assert surface.dims == ("latitude", "longitude")
        assert 1500 < float(surface.max()) / STANDARD_GRAVITY < 5000
    for file in files:  # after a day of spin-up it is not yet the climate of an atmosphere
        with netCDF4.Dataset(file, "a") as open_file:
            open_file.idealised = "true"
    report = ingest(files, tmp_path / "a.zarr", nside=8)
    assert report.static == ["geopotential_at_surface", "land_sea_mask"]
    fields = read_static_fields(tmp_path / "a.zarr", 8)
    idealised = read_static_fields(None, 8)
    for name, field in fields.items():
        assert 0.8 < np.corrcoef(field, idealised[name])[0, 1] < 1.0 - 1e-6


def test_the_sun_warms_by_day_and_leaves_the_mean(atmosphere: dynamics.Atmosphere) -> None:
    hour = np.linspace(0.0, 2.0 * np.pi, 240, endpoint=False) - np.pi
    lat = np.array([[-80.0], [-30.0], [0.0], [45.0], [80.0]])
    summer = np.radians(parameters.OBLIQUITY)
    anomaly, growth = (np.asarray(part) for part in physics.sunshine(lat, summer, hour))
    np.testing.assert_allclose(anomaly.mean(axis=1), 0.0, atol=1e-6)
    np.testing.assert_allclose(growth, np.gradient(anomaly, hour, axis=1), atol=5e-3)
    warmest = 12.0 + hour[anomaly.argmax(axis=1)] * 12.0 / np.pi
    assert ((warmest[1:4] > 13.5) & (warmest[1:4] < 15.5)).all()
    swing = np.ptp(anomaly, axis=1)
    assert swing[0] < 1e-6, "polar night"
    assert swing[3] > 2.0 * swing[4], "under the sun of midnight the day is flat"


@pytest.mark.nightly
def test_parts_of_a_day_are_the_day(atmosphere: dynamics.Atmosphere) -> None:
    start = atmosphere.rest(0, 80.0)
    whole = atmosphere.run_day(start, 80.0)
    state = start
    for hour in (0, 6, 12, 18):
        state = atmosphere.run_hours(state, 80.0, hour, 6)
    for name, values in dynamics.pack(whole).items():
        np.testing.assert_allclose(dynamics.pack(state)[name], values, rtol=1e-4, atol=2e-3)


def test_six_hourly_files_have_a_course_of_the_day_on_land(tmp_path: Path) -> None:
    daily = run.SimulationConfig("2000-03-20", 7.5, truncation="T21", spin_up=1)
    sixth = replace(daily, step_hours=6, diurnal=True)
    (path,) = run.simulate(tmp_path / "six", sixth, 2)
    with xr.open_dataset(path) as found:
        times = found["valid_time"].values
        assert (np.diff(times) == np.timedelta64(6, "h")).all()
        assert times.size == 8
        assert "every 6 h, with a diurnal cycle" in found.attrs["title"]
        static = found["land_sea_mask"].values
        swing = np.ptp(found["t2m"].values[4:], axis=0)
    tropics = np.abs(np.linspace(90, -90, swing.shape[0]))[:, None] < 25
    land, sea = swing[tropics & (static > 0.9)], swing[tropics & (static < 0.05)]
    assert 5.0 < land.mean() < 14.0
    # From rest the air of the sea is still adjusting; later it swings by less than 1 K.
    assert sea.mean() < 0.5 * land.mean()
