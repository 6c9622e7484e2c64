"""What Datasets state of HEALPix cells, by every convention in use.

The grid mapping of CF and of easygems, the cell numbers of xdggs, the group attribute ``dggs`` of
Zarr, the grid specification of earthkit and mir, GRIB keys, and keywords of FITS.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.store.attributes import read_json

_PLAIN_NAMES: Final = re.compile(
    r"cell_?ids?|healpix(_?(index|id|ids|cells?))?|i?pix(els?)?|hp_?id"
)
CELL_AXES: Final = re.compile(
    r"n?cells?|values|i?pix(els?)?|npix|healpix\w*|hpx|ncol|points?|index"
)
_LEVEL_KEYS: Final = ("refinement_level", "level", "depth", "zoom", "zoom_level", "resolution")
_ORDER_KEYS: Final = ("indexing_scheme", "ordering", "pixel_ordering", "orderingconvention")
_ANY_KEY: Final = re.compile("(?:healpix_)?(.+)", re.IGNORECASE)
_PREFIXED_KEY: Final = re.compile("healpix_(.+)", re.IGNORECASE)
_GRIB_KEYS: Final = re.compile("GRIB_(nside|ordering|orderingConvention)", re.IGNORECASE)
_FITS_KEYS: Final = re.compile("(NSIDE|ORDERING)", re.IGNORECASE)
_GRID_SPECS: Final = ("ek_grid_spec", "gridspec", "grid_spec", "gridSpec", "grid")
_WORDS: Final = {"nest": "nested", "unique": "nuniq", "uniq": "nuniq"}


@dataclass(frozen=True)
class Statement:
    """One thing that a Dataset states of its cells.

    Attributes
    ----------
    what
        ``name``, ``nside``, ``order`` or ``ellipsoid``.
    value
        An int, or a word.
    where
        Where and in which words, for messages.

    Examples
    --------
    >>> from pear.datasets.cell_statements import Statement
    >>> Statement("nside", 8, "crs says refinement_level 3").value
    8
    """

    what: str
    value: int | str
    where: str


def find_numbers(dataset: xr.Dataset, array: xr.DataArray, where: str) -> Hashable | None:
    """Return the coordinate with the numbers of the cells of a variable.

    Parameters
    ----------
    dataset
        The Dataset.
    array
        A variable of it.
    where
        Name of the source and of the variable, for messages.

    Returns
    -------
    hashable or None
        Name of the coordinate; None for none.

    Raises
    ------
    InputError
        If two coordinates say that they are the numbers, and differ.

    Examples
    --------
    >>> from pear.datasets.cell_statements import find_numbers
    >>> data = xr.Dataset({"t2m": ("cell", np.zeros(12)), "cell_ids": ("cell", np.arange(12))})
    >>> find_numbers(data, data["t2m"], "a.nc: t2m")
    'cell_ids'
    """
    found: list[tuple[int, Hashable]] = []
    stated = read_json(dataset.attrs.get("dggs")).get("coordinate")
    for name, coordinate in dataset.variables.items():
        if coordinate.ndim != 1 or coordinate.dims[0] not in array.dims or name == array.name:
            continue
        plain, is_axis = str(name).lower(), name == coordinate.dims[0]
        rank = (
            _names_healpix(_attributes(dataset, name)) or name == stated,
            _PLAIN_NAMES.fullmatch(plain) is not None,
            is_axis and CELL_AXES.fullmatch(plain) is not None,
            True,
        ).index(True)
        other = str(_attributes(dataset, name).get("grid_name", "healpix")).lower() != "healpix"
        if rank < 3 and coordinate.dtype.kind in "iuf" and not other:
            found.append((rank, name))
    found.sort(key=lambda one: one[0])
    named = [name for rank, name in found if rank == 0]
    for name in named[1:]:
        if not np.array_equal(dataset.variables[name].values, dataset.variables[named[0]].values):
            raise InputError(
                f"{where}: {named[0]} and {name} are both the numbers of its cells, and differ",
                field="grid",
                hint="remove the wrong one",
            )
    return found[0][1] if found else None


def read_statements(
    dataset: xr.Dataset, array: xr.DataArray, ids: Hashable | None
) -> Iterator[Statement]:
    """Read everything that is stated of the cells of a variable.

    Parameters
    ----------
    dataset
        The Dataset.
    array
        A variable of it.
    ids
        Coordinate with the numbers of its cells, if there is one.

    Yields
    ------
    Statement
        Among them one of the name where anything says HEALPix.

    Examples
    --------
    >>> from pear.datasets.cell_statements import read_statements
    >>> data = xr.Dataset({"t2m": ("cell", np.zeros(48), {"ek_grid_spec": '{"grid": "H2"}'})})
    >>> [(one.what, one.value) for one in read_statements(data, data["t2m"], None)]
    [('nside', 2), ('order', 'ring')]
    """
    for name in _grid_mappings(dataset, array):
        yield Statement("name", "healpix", f"{name} says healpix")
        yield from _read(dataset.variables[name].attrs, str(name))
    for name, coordinate in dataset.variables.items():
        if coordinate.ndim != 1 or coordinate.dims[0] not in array.dims or name == array.name:
            continue
        if _names_healpix(_attributes(dataset, name)):
            yield Statement("name", "healpix", f"{name} says healpix")
        if _names_healpix(_attributes(dataset, name)) or name == ids:
            yield from _read(_attributes(dataset, name), str(name))
    stated = read_json(dataset.attrs.get("dggs"))
    if str(stated.get("name", "")).lower() == "healpix":
        yield Statement("name", "healpix", "the attribute dggs says healpix")
        yield from _read(stated, "the attribute dggs")
    yield from _of_attributes(array.attrs, str(array.name))
    yield from _of_attributes(dataset.attrs, "the dataset")


def _of_attributes(attributes: Mapping[Any, Any], where: str) -> Iterator[Statement]:
    """Yield what the attributes of a variable or of a Dataset state."""
    yield from _read(attributes, where, _PREFIXED_KEY)
    if str(attributes.get("GRIB_gridType", "")).lower() == "healpix":
        yield Statement("name", "healpix", f"{where} says GRIB_gridType healpix")
        yield from _read(attributes, where, _GRIB_KEYS)
    if str(attributes.get("PIXTYPE", "")).upper() == "HEALPIX":
        yield Statement("name", "healpix", f"{where} says PIXTYPE HEALPIX")
        yield from _read(attributes, where, _FITS_KEYS)
    for key in _GRID_SPECS:
        if key in attributes:
            yield from _read_grid_spec(attributes[key], f"{where} says {key}")


def _attributes(dataset: xr.Dataset, name: Hashable) -> Mapping[Any, Any]:
    """Return the attributes of a coordinate; xdggs keeps those that it decodes in its index."""
    found = dict(dataset.variables[name].attrs)
    grid = getattr(dataset.xindexes.get(name), "grid_info", None)
    if grid is not None and hasattr(grid, "to_dict"):
        found |= grid.to_dict()
    return found


def _grid_mappings(dataset: xr.Dataset, array: xr.DataArray) -> Iterator[Hashable]:
    """Yield the HEALPix grid mappings of a variable: those it names, or all if it names none."""
    named = str(array.attrs.get("grid_mapping", array.encoding.get("grid_mapping", "")))
    there = [name.rstrip(":") for name in named.split() if name.rstrip(":") in dataset.variables]
    names: Iterable[Hashable] = there or dataset.variables
    for name in names:
        kind = dataset.variables[name].attrs.get("grid_mapping_name", "")
        if str(kind).lower() == "healpix":
            yield name


def _read(
    attributes: Mapping[Any, Any], where: str, keys: re.Pattern[str] = _ANY_KEY
) -> Iterator[Statement]:
    """Yield what attributes state under keys of some form."""
    for key, value in attributes.items():
        if found := keys.fullmatch(str(key)):
            yield from _interpret(found[1].lower(), value, f"{where} says {key} {_shown(value)}")


def _interpret(key: str, value: Any, where: str) -> Iterator[Statement]:  # noqa: ANN401
    """Yield what one attribute states."""
    value = value.decode() if isinstance(value, bytes) else value
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    number = _as_int(value)
    if key == "nside" and number is not None:
        yield Statement("nside", number, where)
    elif key in (*_LEVEL_KEYS, "order") and number is not None:
        yield Statement("nside", 2**number if 0 <= number <= 29 else -1, where)
    elif key == "nest" and (number in (0, 1) or isinstance(value, bool | np.bool_)):
        yield Statement("order", "nested" if value else "ring", where)
    elif key in (*_ORDER_KEYS, "order") and isinstance(value, str):
        word = value.strip().lower()
        yield Statement("order", _WORDS.get(word, word), where)
    elif key == "ellipsoid":
        name = value.get("name", value) if isinstance(value, dict) else value
        yield Statement("ellipsoid", str(name), where)


def _read_grid_spec(value: object, where: str) -> Iterator[Statement]:
    """Yield what a grid specification of earthkit or mir states: ``{"grid": "H128", …}``."""
    spec = read_json(value)
    grid = spec.get("grid", value if isinstance(value, str) else "")
    found = re.fullmatch(r"[Hh]([NnRr]?)(\d+)", str(grid).strip())
    if found is None:
        return
    where = f"{where} {_shown(value)}"
    yield Statement("nside", int(found[2]), where)
    # In eckit the order is that of rings unless stated otherwise.
    order = spec.get("order", spec.get("ordering", {"n": "nested"}.get(found[1].lower(), "ring")))
    word = str(order).strip().lower()
    yield Statement("order", _WORDS.get(word, word), where)


def _as_int(value: object) -> int | None:
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\s*\d+\s*", value) else None
    if isinstance(value, int | float | np.integer | np.floating) and float(value).is_integer():
        return int(value)
    return None


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _names_healpix(attributes: Mapping[Any, Any]) -> bool:
    named = (attributes.get("grid_mapping_name"), attributes.get("grid_name"))
    return "healpix" in [str(name).lower() for name in named] or (
        attributes.get("standard_name") == "healpix_index"
    )
