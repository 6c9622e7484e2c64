"""Regridding of Datasets from any grid that PEAR reads to nested HEALPix cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from pear.datasets.base import Scan, ScanOptions, SourceVariable
from pear.datasets.fields import FieldSource, Method, regrid_field, with_partner
from pear.datasets.healpix import find_cells
from pear.datasets.repetition import FieldRegister, Place, digest
from pear.datasets.units import RELATIVE_HUMIDITY
from pear.datasets.xarray import InMemory, scan_dataset
from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside, check_nside
from pear.store.dataset import build_dataset
from pear.times import to_iso
from pear.typing import Float32, Times
from pear.variables import BY_NAME, LEVELS, wind_pair

_NAME: Final = "the dataset"


def is_healpix(dataset: xr.Dataset) -> bool:
    """Return whether a Dataset lies on HEALPix cells in the schema of the stores.

    HEALPix data of others are not: their cells may come in another order, their variables under
    other names or in other units; :func:`regrid` brings them to the schema.

    Returns
    -------
    bool
        Whether there is a dimension ``cell`` in nested order, with canonical names and units.

    Examples
    --------
    >>> from pear.datasets.regrid import is_healpix
    >>> cells = xr.Dataset({"2m_temperature": ("cell", np.full(48, 280.0))})
    >>> is_healpix(cells), is_healpix(cells.rename(cell="points"))
    (True, False)
    >>> ring = {"healpix_nside": 2, "healpix_order": "ring"}
    >>> is_healpix(cells.assign_attrs(ring)), is_healpix(cells.rename({"2m_temperature": "tas"}))
    (False, False)
    """
    if not has_nested_cells(dataset):
        return False
    fields = [array for array in dataset.data_vars.values() if "cell" in array.dims]
    if "pear_kind" in dataset.attrs or not fields:
        return True
    known = [array for array in fields if array.name in BY_NAME]
    return bool(known) and all(
        array.attrs.get("units", BY_NAME[str(array.name)].units) == BY_NAME[str(array.name)].units
        for array in known
    )


def has_nested_cells(dataset: xr.Dataset) -> bool:
    """Return whether a Dataset lies on HEALPix cells in nested order, whatever its variables are.

    Returns
    -------
    bool
        Whether there is a dimension ``cell``, and nothing in the Dataset says another order.

    Examples
    --------
    >>> from pear.datasets.regrid import has_nested_cells
    >>> cells = xr.Dataset({"speed": ("cell", np.ones(48))})
    >>> ring = {"healpix_nside": 2, "healpix_order": "ring"}
    >>> has_nested_cells(cells), has_nested_cells(cells.assign_attrs(ring))
    (True, False)
    """
    if "cell" not in dataset.dims:
        return False
    if "pear_kind" in dataset.attrs:
        index = dataset.indexes.get("cell")
        return index is None or np.array_equal(index, np.arange(dataset.sizes["cell"]))
    fields = [array for array in dataset.data_vars.values() if "cell" in array.dims]
    if not fields:
        return True
    try:
        found = find_cells(dataset, fields[0], _NAME)
    except InputError:
        return False
    return found is None or found.order.permutation(dataset, _NAME) is None


def regrid(
    dataset: xr.Dataset,
    nside: int,
    *,
    method: Method = "bilinear",
    levels: Sequence[int] | None = None,
    member: int | str | None = None,
) -> xr.Dataset:
    """Regrid analyses from any grid that PEAR reads to nested HEALPix cells.

    Grids are global: of latitude and longitude, or HEALPix of any resolution, in nested or ring
    order, whose cells are reordered, averaged or interpolated.

    Variables are recognised by name and units, as an ingestion does it: WeatherBench2, ECMWF, CDS
    and NCEP names, levels in hPa or Pa, any order of axes, longitudes from 0 or -180 degrees,
    °C, gpm, g/kg and so on. Specific humidity is computed from relative humidity if need be. Other
    variables are dropped.

    An :class:`~pear.errors.InputError` is raised if no variable can be used, the grid is none
    of those or not global, units are unknown, or two variables give the same field; when a field is
    used, if it is missing or out of range.

    Parameters
    ----------
    dataset
        Dated fields on a global grid.
    nside
        HEALPix resolution, a power of two.
    method
        ``bilinear`` interpolates point values; ``conservative`` takes area means. From finer
        HEALPix cells both take the mean.
    levels
        Pressure levels to keep in hPa; default: those of the published layout.
    member
        Number or name of the ensemble member to take, if the Dataset has several.

    Returns
    -------
    xarray.Dataset
        (time, level, cell) in the schema of the analysis stores, lazy: a field is read, checked
        and regridded when it is used.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> lat, lon = np.linspace(90, -90, 19), np.arange(0, 360, 10)
    >>> celsius = xr.DataArray(
    ...     15.0 + np.sin(np.arange(19 * 36)).reshape(1, 19, 36),
    ...     {"time": [np.datetime64("2019-01-01", "s")], "latitude": lat, "longitude": lon},
    ...     ["time", "latitude", "longitude"],
    ...     attrs={"units": "degC"},
    ... )
    >>> cells = regrid(xr.Dataset({"t2m": celsius}), nside=4)
    >>> round(float(cells["2m_temperature"].mean()))
    288
    """
    check_nside(nside)
    scan = scan_dataset(InMemory(dataset), _NAME, "xarray", ScanOptions(member))
    if scan.faults:
        raise scan.faults[0]
    sources = _group(scan, LEVELS if levels is None else levels)
    sources |= {
        name: with_partner(sources, name, nside, method) for name in sources if wind_pair(name)
    }
    everything = [source.variable for many in sources.values() for source in many]
    times = np.unique(np.concatenate([variable.times for variable in everything]))
    held = sorted({level for variable in everything for level in variable.levels})
    register = FieldRegister()
    fields = {
        name: indexing.LazilyIndexedArray(
            _RegriddedArray(name, sources[name], times, held, nside, method, register)
        )
        for name in BY_NAME
        if name in sources
    }
    about = {"title": "Analyses regridded to HEALPix", "regridding_method": method}
    if scan.origin:
        about["source"] = scan.origin
    if scan.simulated:
        about["simulated"] = "true"
    return build_dataset(fields, held, times, attributes=about)


def _group(scan: Scan, levels: Sequence[int]) -> dict[str, list[FieldSource]]:
    """Return the sources of each canonical variable."""
    by_name: dict[str, list[SourceVariable]] = {}
    for variable in scan.variables:
        kept = variable.select_levels(levels)
        if kept is not None:
            by_name.setdefault(kept.quantity.name, []).append(kept)
    sources = {name: [FieldSource(v) for v in many] for name, many in by_name.items()}
    relative = sources.pop(RELATIVE_HUMIDITY, [])
    if relative and "specific_humidity" not in sources:
        warmth = by_name.get("temperature", [])
        sources["specific_humidity"] = [
            FieldSource(one.variable, tuple(t for t in warmth if t.grid == one.variable.grid))
            for one in relative
        ]
    if not sources:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(scan.skipped.items())[:3])
        raise InputError(
            f"the dataset has no variable of PEAR ({why or 'no fields on a grid'})",
            field="dataset",
            hint=f"known variables: {', '.join(BY_NAME)}",
        )
    return sources


class _RegriddedArray(BackendArray):
    """Fields of one variable by (time, [level,] cell), regridded when they are read."""

    def __init__(
        self,
        name: str,
        sources: Sequence[FieldSource],
        times: Times,
        levels: Sequence[int],
        nside: int,
        method: Method,
        register: FieldRegister,
    ) -> None:
        self.name, self.nside, self.method, self.register = name, nside, method, register
        upper, cells = BY_NAME[name].kind == "upper", cells_of_nside(nside)
        self.times = times
        self.levels: list[int | None] = list(levels) if upper else [None]
        self.shape = (times.size, len(levels), cells) if upper else (times.size, cells)
        self.dtype = np.dtype("float32")
        self.places: dict[tuple[int, int], tuple[FieldSource, int, int]] = {}
        for source in sources:
            variable = source.variable
            at = np.searchsorted(times, variable.times)
            for row in range(variable.rows):
                column = self.levels.index(variable.level(row))
                for position in np.flatnonzero(variable.present[:, row]):
                    place = int(at[position]), column
                    if place in self.places:
                        raise InputError(
                            f"{name} at {to_iso(times[place[0]])} is given twice, by "
                            f"{self.places[place][0].variable.name} and {variable.name}",
                            field=name,
                            hint="drop one of them",
                        )
                    self.places[place] = source, int(position), row

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Float32:
        found: Float32 = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return found

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        times, *levels, cells = key
        column = levels[0] if levels else 0
        rows = np.arange(len(self.times))[times]
        columns = np.arange(len(self.levels))[column]
        shape = (*np.shape(rows), *np.shape(columns))
        pairs = [(int(r), int(c)) for r in np.atleast_1d(rows) for c in np.atleast_1d(columns)]
        fields = (
            np.stack([self._field(*pair)[cells] for pair in pairs])
            if pairs
            else np.empty((0, *np.arange(self.shape[-1])[cells].shape), dtype=np.float32)
        )
        return fields.reshape(*shape, *fields.shape[1:])

    def _field(self, row: int, column: int) -> Float32:
        level, time = self.levels[column], to_iso(self.times[row])
        where = self.name if level is None else f"{self.name} at {level} hPa"
        if (row, column) not in self.places:
            raise InputError(f"the dataset has no {where} at {time}", field=self.name)
        source, position, index = self.places[row, column]
        try:
            raw = source.read(position, index)
            values = source.convert(raw, level, may_rest=True)
        except InputError as error:
            raise InputError(f"{where} at {time}: {error.message}", field=self.name) from error
        beside = None if source.partner is None else raw[1]
        field = values, beside
        cells = regrid_field(field, source.variable.grid, self.nside, self.method, self.name)
        if not source.variable.idealised:
            place = Place(self.name, level, self.times[row])
            other = self.register.find_equal(digest(cells, self.name), place)
            if other is not None:
                raise InputError(
                    f"{where} at {time} is equal bit for bit to {other}",
                    field=self.name,
                    hint="one of the two is labelled wrongly; an idealised state says so by the "
                    "attribute idealised = 'true' of the dataset",
                )
        return cells
