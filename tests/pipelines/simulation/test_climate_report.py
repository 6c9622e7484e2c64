"""A report on made-up months with a known jet and annual cycle; without JAX."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.typing import Float32
from pear.variables import LEVELS
from pipelines.simulation import files
from pipelines.simulation.climate_report import write_report

LAT, LON = np.linspace(-90, 90, 19), np.arange(24) * 15.0
GRID = files.Grid(LAT, LON)


def fields(month: int) -> dict[str, Float32]:
    """Two days with a northern jet at 40 degrees and 200 hPa, and a wave with 50 m amplitude."""
    levels = np.array(LEVELS, dtype=float)[:, None, None]
    lat = np.radians(LAT)[:, None]
    summer = -np.cos(2 * np.pi * (month - 1) / 12)
    jet = 40.0 * np.exp(-((((LAT - 40.0) / 12.0) ** 2)[:, None]) - (np.log(levels / 200.0)) ** 2)
    wave = 50.0 * np.cos(4 * np.radians(LON))
    upper = np.ones((2, len(LEVELS), LAT.size, LON.size))
    surface = np.ones((2, LAT.size, LON.size))
    warm = 300.0 - 40.0 * np.sin(lat) ** 2 + 15.0 * summer * np.sin(lat)
    sign = np.array([1.0, -1.0])[:, None, None, None]
    return {
        name: values.astype(np.float32)
        for name, values in {
            "z": 9.80665 * (5500.0 + sign * wave) * upper,
            "t": 250.0 * upper,
            "q": 0.005 * upper,
            "u": jet * upper,
            "v": 0.0 * upper,
            "msl": 101_000.0 * surface,
            "u10": 0.0 * surface,
            "v10": 0.0 * surface,
            "t2m": warm * surface,
        }.items()
    }


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, paths = tmp_path_factory.mktemp("months"), []
    for month in range(1, 13):
        start = np.datetime64(f"2001-{month:02}-01", "s")
        paths.append(folder / f"simulated_{month:02}.nc")
        files.write(paths[-1], start + np.arange(2) * 86_400, GRID, fields(month), {})
    return paths


def test_a_year_has_its_jet_waves_and_annual_cycle(months: list[Path], tmp_path: Path) -> None:
    notes: list[str] = []
    found = write_report(months, tmp_path, lambda advance=1, note="": notes.append(note))
    assert len(notes) == 12
    assert found["days"] == 24
    north = found["DJF"]["north"]
    assert (north["jet_hpa"], north["jet_latitude"]) == (200, 40.0)
    assert north["jet_m_s"] == pytest.approx(40.0, abs=0.2)
    assert north["z500_transient_m"] == pytest.approx(2 / np.pi * 50.0, rel=0.1)
    assert found["t2m_annual_range_60_K"] == pytest.approx(30.0 * np.sin(np.radians(60)), abs=0.2)
    assert found["q850_tropics_g_kg"] == pytest.approx(5.0, abs=0.1)
    assert json.loads((tmp_path / "climate.json").read_text()) == found
    for name in ("zonal.png", "maps.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_course_of_the_day_is_told_by_hour(tmp_path: Path) -> None:
    made = fields(6)
    made["t2m"] = np.stack([np.full((LAT.size, LON.size), kelvin) for kelvin in (288.0, 297.5)])
    path, start = tmp_path / "simulated.nc", np.datetime64("2001-06-01", "s")
    files.write(path, start + np.arange(2) * 43_200, GRID, made, {})
    found = write_report([path], tmp_path / "report")
    assert (found["days"], found["hours"]) == (1, [0, 12])
    assert found["t2m_diurnal_range_land_K"] == pytest.approx(9.5, abs=0.01)


def test_part_of_a_year_is_reported_without_plots(months: list[Path], tmp_path: Path) -> None:
    found = write_report(months[3:6], tmp_path)
    assert "t2m_global_K" not in found
    assert not list(tmp_path.glob("*.png"))


def test_a_report_needs_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no simulated files"):
        write_report([], tmp_path)
