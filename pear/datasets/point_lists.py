"""Grids that are a list of points or cells, and not HEALPix: recognised by name, for messages."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, Final

import numpy as np
import xarray as xr

_FACES: Final = ("face", "faces", "tile", "tiles", "nf", "panel", "cubed_sphere_face", "ncube")
_KEYS: Final = (
    *("GRIB_gridType", "gridType", "CDI_grid_type", "grid_type", "ek_grid_spec", "gridspec"),
    *("grid", "title", "uuidOfHGrid", "grid_file_uri", "number_of_grid_used", "source"),
)
_GAUSSIAN_SPEC: Final = re.compile(r"(?<![A-Za-z])([NO]\d+)(?!\w)")


def describe_points(array: xr.DataArray, dataset: xr.Dataset, dim: Hashable) -> str:
    """Return what kind of grid a list of points is.

    Parameters
    ----------
    array
        A variable on it.
    dataset
        Its Dataset.
    dim
        Dimension of the points.

    Returns
    -------
    str
        As part of a sentence: "an unstructured grid of ICON (triangles)".

    Examples
    --------
    >>> from pear.datasets.point_lists import describe_points
    >>> data = xr.Dataset({"t": ("ncells", np.zeros(320))}, {"clat": ("ncells", np.zeros(320))})
    >>> describe_points(data["t"], data, "ncells")
    'an unstructured grid of ICON (triangles, R2B1)'
    """
    names = {str(name).lower() for name in (*dataset.variables, *dataset.dims)}
    stated = _stated(array, dataset)
    count = array.sizes[dim]
    other = [
        str(each.attrs["grid_name"])
        for each in dataset.variables.values()
        if str(each.attrs.get("grid_name", "healpix")).lower() != "healpix"
    ]
    if other:
        return f"cells of the grid {other[0]!r}"
    if spec := _gaussian_name(stated):
        return f"a reduced Gaussian grid ({spec})"
    if "reduced_gg" in stated or "reduced_points" in names or "reduced gaussian" in stated:
        return "a reduced Gaussian grid"
    if names & {"latcell", "nedgesoncell", "verticesoncell"}:
        return "an unstructured grid of MPAS (Voronoi cells)"
    if names & {"nod2", "elem"}:
        return "an unstructured grid of FESOM"
    if _is_icon(names, stated):
        found = _icon_resolution(count)
        return f"an unstructured grid of ICON (triangles{f', {found}' if found else ''})"
    if any(each.attrs.get("cf_role") == "mesh_topology" for each in dataset.variables.values()):
        return "an unstructured mesh (UGRID)"
    if "ne" in dataset.attrs or (str(dim).lower() == "ncol" and _is_cubed_sphere(count)):
        return "a cubed sphere (spectral elements)"
    if str(dim).lower() in ("station", "stations", "location", "locations"):
        return "a list of stations"
    return _by_rows(array, dataset, dim) or "a list of points"


def describe_faces(array: xr.DataArray) -> str | None:
    """Return what kind of grid of several square faces a variable is on, or None.

    Returns
    -------
    str or None
        A cubed sphere, or HEALPix as twelve faces.

    Examples
    --------
    >>> from pear.datasets.point_lists import describe_faces
    >>> describe_faces(xr.DataArray(np.zeros((6, 4, 4)), dims=("tile", "y", "x")))
    "a cubed sphere (6 faces along 'tile')"
    """
    for dim, size in array.sizes.items():
        if str(dim).lower() not in _FACES:
            continue
        if size == 6:
            return f"a cubed sphere (6 faces along {str(dim)!r})"
        if size == 12:
            return f"HEALPix cut into 12 faces along {str(dim)!r}, with an order of its own"
    return None


def _stated(array: xr.DataArray, dataset: xr.Dataset) -> str:
    """Return what attributes say of the grid, one statement after another."""
    found: list[Any] = [
        f"{key} {part.attrs[key]}"
        for part in (array, dataset)
        for key in _KEYS
        if key in part.attrs
    ]
    return " | ".join(map(str, found))


def _gaussian_name(stated: str) -> str:
    for part in stated.split(" | "):
        if part.lower().startswith(("ek_grid_spec", "gridspec", "grid ")):
            found = _GAUSSIAN_SPEC.search(part)
            if found:
                return found[1]
    return ""


def _is_icon(names: set[str], stated: str) -> bool:
    lower = stated.lower()
    return bool(
        names & {"clat", "clon", "clat_vertices", "clon_vertices", "clat_bnds", "ncells"}
    ) or any(word in lower for word in ("uuidofhgrid", "number_of_grid_used", "icon_grid"))


def _icon_resolution(count: int) -> str:
    """Return the name RnBk of ICON's triangles, of which a grid has 20 n² 4^k."""
    for k in range(14, -1, -1):
        for n in (2, 3, 5, 7):
            if 20 * n**2 * 4**k == count:
                return f"R{n}B{k}"
    return ""


def _is_cubed_sphere(count: int) -> bool:
    """Return whether a grid of spectral elements has so many points, 6 ne² 9 + 2."""
    ne = round(((count - 2) / 54) ** 0.5)
    return bool(ne > 0 and 54 * ne**2 + 2 == count)


def _by_rows(array: xr.DataArray, dataset: xr.Dataset, dim: Hashable) -> str:
    """Recognise a reduced Gaussian grid by its rows of points of equal latitude."""
    for name, coordinate in dataset.variables.items():
        if coordinate.dims == (dim,) and str(name).lower() in ("lat", "latitude", "latitudes"):
            lat, count = np.unique(np.round(coordinate.values.astype(float), 4), return_counts=True)
            if lat.size > 8 and lat.size % 2 == 0 and np.array_equal(count, count[::-1]):
                number = lat.size // 2
                steps = np.diff(count[:number])
                if count[0] == 20 and (steps == 4).all():
                    return f"a reduced Gaussian grid (O{number})"
                if (steps >= 0).all() and count[0] < count[number - 1]:
                    return f"a reduced Gaussian grid (N{number}, by its rows)"
    return ""
