"""HEALPix data of others: every convention, order and resolution; contradictions are quoted."""

from __future__ import annotations

from collections.abc import Callable

import healpy
import numpy as np
import pytest
import xarray as xr

import pear
from pear.datasets.regrid import is_healpix, regrid
from pear.errors import InputError
from tests.fixtures.healpix_sources import (
    CONVENTIONS,
    cells,
    cf,
    easygems,
    flow,
    places,
    warmth,
    xdggs,
)

T2M, U10, V10 = "2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind"


@pytest.mark.parametrize("scheme", ["nested", "ring"])
@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda each: each.__name__)
def test_every_convention_and_order(
    convention: Callable[[int, str], xr.Dataset], scheme: str
) -> None:
    found = regrid(convention(8, scheme), 8)[T2M]
    for day in range(2):
        want = warmth(*places(8, "nested"), day).astype("f4")
        np.testing.assert_array_equal(found.isel(time=day), want)


@pytest.mark.parametrize("scheme", ["nested", "ring"])
def test_coarser_cells_have_the_mean(scheme: str) -> None:
    found = regrid(easygems(16, scheme), 4)[T2M].isel(time=0)
    fine = warmth(*places(16, "nested"))
    want = healpy.ud_grade(fine, 4, order_in="NESTED", order_out="NESTED")
    np.testing.assert_allclose(found, want, rtol=2e-7)


def test_finer_cells_are_interpolated() -> None:
    found = regrid(easygems(8, "ring"), 16)[T2M].isel(time=0)
    theta, phi = healpy.pix2ang(16, np.arange(3072), nest=True)
    want = healpy.get_interp_val(warmth(*places(8, "ring")), theta, phi)
    np.testing.assert_allclose(found, want, rtol=2e-7)


@pytest.mark.parametrize("nside", [6, 48])
def test_ring_of_any_nside(nside: int) -> None:
    data = easygems(nside, "ring")
    found = regrid(data, 8)[T2M].isel(time=0)
    error = np.abs(found.values - warmth(*places(8, "nested"))).max()
    assert error < (0.7 if nside < 8 else 0.35)
    if nside > 8:
        assert abs(float(found.mean()) - float(data["tas"][0].mean())) < 2e-4  # single precision


@pytest.mark.parametrize(("nside", "method"), [(16, "bilinear"), (4, "bilinear"), (6, "bilinear")])
def test_winds_are_vectors(nside: int, method: str) -> None:
    data = easygems(nside, "ring")
    names = ("uas", "vas")
    winds = cells(nside, "ring", names=names).assign_coords(crs=data["crs"])
    found = regrid(winds, 8, method=method).isel(time=0)
    want = flow(*places(8, "nested"))
    for name, values in zip((U10, V10), want, strict=True):
        # Components by themselves would be wrong by up to 10 m/s at the poles.
        assert np.abs(found[name].values - values).max() < {16: 0.25, 4: 0.9, 6: 0.5}[nside]
    alone = regrid(winds.drop_vars("vas"), 8)
    with pytest.raises(InputError, match="the mean of a wind needs both components"):
        alone[U10].load()


def test_the_same_cells_need_no_partner() -> None:
    data = easygems(8, "ring")
    winds = cells(8, "ring", names=("uas",)).assign_coords(crs=data["crs"])
    want = flow(*places(8, "nested"))[0].astype("f4")
    np.testing.assert_array_equal(regrid(winds, 8)[U10].isel(time=0), want)


def _crs(data: xr.Dataset, **about: object) -> xr.Dataset:
    mapping = xr.DataArray(0, attrs=data["crs"].attrs | about)
    return data.drop_vars("crs").assign_coords(crs=mapping)


CONTRADICTIONS: dict[str, tuple[xr.Dataset, str]] = {
    "order against numbers": (
        _crs(xdggs(4, "nested").assign_coords(crs=cf(4, "nested")["crs"]), indexing_scheme="ring"),
        "crs says indexing_scheme 'ring', but cell_ids says indexing_scheme 'nested'",
    ),
    "nside against length": (
        easygems(4, "ring").assign_coords(crs=easygems(8, "ring")["crs"]),
        "healpix_nside 8, which means 768 cells, but its dimension cell has 192, as many as nside",
    ),
    "level against numbers": (
        _crs(cf(4, "nested"), refinement_level=3, nside=4),
        "refinement_level 3, but crs says nside 4",
    ),
    "region": (
        easygems(8, "nested").isel(cell=slice(100, 200)),
        r"has 100 of the 768 cells of HEALPix with nside 8 \(13 %\): a region",
    ),
    "region without nside": (
        cells(4).isel(cell=slice(100)).assign_attrs(healpix_order="nest"),
        "has 100 cells of HEALPix, which are not all cells",
    ),
    "no order": (_crs(cf(4, "ring"), indexing_scheme=1), "nothing states the order"),
    "unknown order": (_crs(cf(4, "ring"), indexing_scheme="xy"), "'xy', which is not an order"),
    "nested of any": (
        easygems(6, "ring").assign_coords(
            crs=xr.DataArray(0, attrs={"grid_mapping_name": "healpix", "healpix_order": "nest"})
        ),
        "432 cells mean nside 6, and only powers of two have a nested order",
    ),
    "a cell twice": (
        xdggs(4, "ring").assign_coords(
            cell_ids=("cells", np.r_[0, np.arange(191)], xdggs(4, "ring")["cell_ids"].attrs)
        ),
        "cell_ids has cell 0 twice and 1 cells of nside 4 not at all",
    ),
    "a number too large": (
        xdggs(4, "ring").assign_coords(
            cell_ids=("cells", np.arange(192) + 5, xdggs(4, "ring")["cell_ids"].attrs)
        ),
        "has the number 192, and the cells of nside 4 in ring order are 0…191",
    ),
    "order against places": (
        easygems(4, "ring").assign_coords(
            lat=("cell", places(4, "nested")[0]), lon=("cell", places(4, "nested")[1])
        ),
        "the ring order is stated, but a cell lies at latitude",
    ),
    "ellipsoid": (_crs(cf(4, "ring"), ellipsoid="WGS84"), "cells of an ellipsoid"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_are_quoted(case: str) -> None:
    data, words = CONTRADICTIONS[case]
    with pytest.raises(InputError, match=words):
        regrid(data, 4)


def _points(count: int, dim: str, **more: object) -> xr.Dataset:
    values = 280 + np.sin(np.arange(2.0 * count)).reshape(2, count)
    data = xr.Dataset({"tas": (("time", dim), values, {"units": "K"})}, {"time": cells(1)["time"]})
    return data.assign_coords(more)


def _octahedral(number: int) -> xr.Dataset:
    rows = [20 + 4 * row for row in range(number)]
    lat = np.repeat(np.linspace(88, -88, 2 * number), rows + rows[::-1])
    return _points(lat.size, "values", latitude=("values", lat), longitude=("values", lat))


OTHERS: dict[str, tuple[xr.Dataset, str]] = {
    "icon": (
        _points(1280, "ncells", clat=("ncells", np.zeros(1280)), clon=("ncells", np.zeros(1280))),
        "unstructured grid of ICON .triangles, R2B2",
    ),
    "octahedral": (_octahedral(16), r"reduced Gaussian grid .O16."),
    "spec": (
        _points(6114, "values").assign_attrs(ek_grid_spec='{"grid": "N32"}'),
        r"reduced Gaussian grid .N32.",
    ),
    "h3": (
        _points(122, "cell", cell_ids=("cell", np.arange(122), {"grid_name": "h3", "level": 0})),
        "cells of the grid 'h3'",
    ),
    "tiles": (
        xr.Dataset(
            {"tas": (("time", "tile", "y", "x"), np.ones((2, 6, 4, 4)), {"units": "K"})},
            {"time": cells(1)["time"]},
        ),
        "cubed sphere .6 faces along 'tile'",
    ),
    "faces": (
        xr.Dataset(
            {"tas": (("time", "face", "height", "width"), np.ones((2, 12, 4, 4)), {"units": "K"})},
            {"time": cells(1)["time"]},
        ),
        "HEALPix cut into 12 faces",
    ),
    "elements": (_points(54 * 16 + 2, "ncol"), "cubed sphere .spectral elements"),
    "unstated": (_points(768, "cell"), "as many as HEALPix of nside 8 has, but nothing says"),
    "stations": (_points(7, "station"), "a list of stations"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_cells_that_are_not_healpix_are_named(case: str) -> None:
    data, words = OTHERS[case]
    with pytest.raises(InputError, match=words):
        regrid(data, 4)


def test_ring_order_is_not_the_schema_of_stores() -> None:
    foreign = easygems(4, "ring").rename(tas=T2M)
    assert not is_healpix(foreign)
    own = regrid(foreign, 4)
    assert is_healpix(own)
    assert not is_healpix(own.isel(cell=np.arange(192)[::-1]))
    np.testing.assert_allclose(regrid(own, 2)[T2M].mean(), own[T2M].mean(), rtol=1e-6)


def test_models_forecast_from_data_of_others() -> None:
    persistence = pear.Persistence(pear.Layout((T2M,), (), ()), nside=4)
    found = persistence.forecast(easygems(8, "ring"), init="2020-01-01", lead="1d")
    want = healpy.ud_grade(warmth(*places(8, "nested")), 4, order_in="NESTED", order_out="NESTED")
    np.testing.assert_allclose(found[T2M][0, 1], want, rtol=2e-7)


def test_what_xdggs_decoded_is_in_its_index() -> None:
    xdggs_package = pytest.importorskip("xdggs")
    decoded = xdggs_package.decode(xdggs(8, "nested"))
    assert not decoded["cell_ids"].attrs
    found = regrid(decoded, 8)[T2M].isel(time=0)
    np.testing.assert_array_equal(found, warmth(*places(8, "nested")).astype("f4"))


def test_numbers_of_a_name_that_the_group_states() -> None:
    order = np.random.default_rng(1).permutation(768)
    about = {"name": "healpix", "refinement_level": 3, "indexing_scheme": "ring"}
    data = cells(8, "ring", "zone").isel(zone=order).assign_coords(zone_number=("zone", order))
    data = data.assign_attrs(
        dggs=about | {"spatial_dimension": "zone", "coordinate": "zone_number"}
    )
    found = regrid(data, 8)[T2M].isel(time=0)
    np.testing.assert_array_equal(found, warmth(*places(8, "nested")).astype("f4"))
