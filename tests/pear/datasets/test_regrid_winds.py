"""Winds of latitude-longitude Datasets become winds on cells, poles included."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import xarray as xr

import pear
from pear.datasets.fields import Method
from pear.errors import InputError
from pear.sphere.healpix import centres
from tests.fixtures.winds import AXES, largest_error, rotation

PAIR = ("10m_u_component_of_wind", "10m_v_component_of_wind")


def winds(axis: tuple[float, float, float], step: float, *, poles: bool = True) -> xr.Dataset:
    """Return a rotation on a grid of this spacing."""
    end = 90 - (0 if poles else step / 2)
    lat, lon = np.arange(end, -end - step / 2, -step), np.arange(0, 360, step)
    fields = rotation(axis, *np.meshgrid(lat, lon, indexing="ij"))
    dims = ("time", "latitude", "longitude")
    return xr.Dataset(
        {
            name: (dims, field[None].astype("f4"), {"units": "m s-1"})
            for name, field in zip(PAIR, fields, strict=True)
        },
        {"time": [np.datetime64("2019-01-01", "ns")], "latitude": lat, "longitude": lon},
    )


def error(dataset: xr.Dataset, nside: int, axis: tuple[float, float, float], method: str) -> float:
    cells = pear.regrid(dataset, nside, method=method)
    return largest_error([cells[name].values[0] for name in PAIR], rotation(axis, *centres(nside)))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("poles", [True, False])
@pytest.mark.parametrize(("step", "bound"), [(5.0, 4e-3), (1.5, 4e-4)])
def test_bilinear(
    axis: tuple[float, float, float], step: float, bound: float, *, poles: bool
) -> None:
    assert error(winds(axis, step, poles=poles), 32, axis, "bilinear") < bound


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("poles", [True, False])
def test_means_converge(axis: tuple[float, float, float], *, poles: bool) -> None:
    errors = [
        error(winds(axis, 1.5, poles=poles), nside, axis, "conservative") for nside in (8, 32)
    ]
    assert errors[0] < 0.03
    assert errors[1] < min(0.01, errors[0] / 1.8)


@pytest.mark.parametrize("method", get_args(Method))
def test_what_the_pole_row_says_does_not_matter_if_it_is_no_wind(method: str) -> None:
    axis = AXES[1]
    sound = winds(axis, 3.0)
    for value in (0.0, 7.0):
        spoilt = sound.copy(deep=True)
        for name in PAIR:
            spoilt[name][:, [0, -1]] = value
        bound = error(sound, 32, axis, method) + 1e-3
        assert error(spoilt, 32, axis, method) < bound


def test_means_need_both_components() -> None:
    alone = winds(AXES[1], 5.0)[list(PAIR[:1])]
    cells = pear.regrid(alone, 8, method="conservative")
    with pytest.raises(InputError, match="no 10m_v_component_of_wind at this level and time"):
        cells.load()
    assert error(winds(AXES[0], 5.0), 8, AXES[0], "bilinear") < 4e-3
    assert np.isfinite(pear.regrid(alone, 8)[PAIR[0]]).all()
