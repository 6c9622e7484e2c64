"""The accessor ``.pear`` of Datasets on HEALPix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack

import xarray as xr

from pear.datasets.latlon import to_latlon
from pear.datasets.points import PointMethod, select_point
from pear.datasets.regrid import has_nested_cells
from pear.derived import derive
from pear.errors import InputError
from pear.sphere.healpix import nside_from_cells
from pear.store.attributes import as_attributes
from pear.store.dataset import dataset_layout
from pear.typing import StrPath, TimesLike
from pear.variables import Layout

if TYPE_CHECKING:
    from cartopy.mpl.geoaxes import GeoAxes

    from pear.plotting.fields import PlotOptions
    from pear.state import State


@xr.register_dataset_accessor("pear")  # type: ignore[no-untyped-call]
class PearAccessor:
    """Maps, points, other grids and states of a Dataset in the schema of the stores.

    Parameters
    ----------
    dataset
        On HEALPix cells in nested order.

    Raises
    ------
    InputError
        If the Dataset is not on HEALPix.

    Examples
    --------
    >>> import pear
    >>> analysis = pear.sample_analysis()
    >>> point = analysis.pear.sel_point(60.2, 24.9)
    >>> sorted(point.sizes)
    ['level', 'time']
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        if not has_nested_cells(dataset):
            raise InputError(
                "the accessor 'pear' needs a Dataset on HEALPix (dimension 'cell')",
                field="dataset",
                hint="use pear.regrid first",
            )
        self._dataset = dataset

    @property
    def nside(self) -> int:
        """HEALPix resolution."""
        return nside_from_cells(self._dataset.sizes["cell"])

    @property
    def layout(self) -> Layout:
        """Variables and levels of the Dataset."""
        return dataset_layout(self._dataset)

    def plot(self, field: str, **options: Unpack[PlotOptions]) -> GeoAxes:
        """Draw one field as a map; see :func:`pear.plot` for the options.

        Parameters
        ----------
        field
            Variable and level, such as ``"z500"`` or ``"t2m"``.
        **options
            ``time``, ``lead``, ``member``, ``projection``, ``ax``, ``cmap``, ``vmin``, ``vmax``.

        Returns
        -------
        cartopy.mpl.geoaxes.GeoAxes
            Axes with the map.
        """
        from pear.plotting import plot  # cartopy and matplotlib are an extra

        return plot(self._dataset, field, **options)

    def derive(self, field: str) -> xr.DataArray:
        """Compute a quantity, such as ``ws10``, ``vo850`` or ``thickness_1000_500``.

        Parameters
        ----------
        field
            Name and level: wind speed and direction, relative humidity, dew point, potential
            temperature, vorticity, divergence, thickness of two levels, or a stored variable.

        Returns
        -------
        xarray.DataArray
            (…, cell).
        """
        return derive(self._dataset, field)

    def sel_point(self, lat: float, lon: float, *, method: PointMethod = "nearest") -> xr.Dataset:
        """Return the fields at a point.

        Parameters
        ----------
        lat, lon
            Degrees north and east, any turn of the circle.
        method
            ``nearest`` takes the cell that contains the point, ``bilinear`` interpolates between
            the four nearest centres. Winds are resolved into east and north at the point; by
            ``bilinear`` both components are interpolated as one vector.

        Returns
        -------
        xarray.Dataset
            Without the dimension ``cell``.

        Raises
        ------
        InputError
            If the latitude is out of range, the method unknown, or one component of a wind is
            missing.
        """
        if not -90 <= lat <= 90:
            raise InputError(f"latitude {lat:g} is outside -90 to 90", field="lat")
        if method not in ("nearest", "bilinear"):
            raise InputError(
                f"unknown method {method!r}", field="method", hint="use nearest or bilinear"
            )
        return select_point(self._dataset, lat, lon, method)

    def to_latlon(
        self, step: float = 1.0, *, method: Literal["bilinear", "conservative"] = "bilinear"
    ) -> xr.Dataset:
        """Regrid to a regular latitude-longitude grid; see :func:`pear.to_latlon`."""
        return to_latlon(self._dataset, step, method=method)

    def to_netcdf(self, path: StrPath) -> None:
        """Write a NetCDF file, with the attributes that are tables as JSON.

        Parameters
        ----------
        path
            File to write.
        """
        plain = self._dataset.copy()
        plain.attrs = as_attributes(plain.attrs)
        plain.to_netcdf(path)

    def to_state(
        self, time: TimesLike | None = None, layout: Layout | None = None, nside: int | None = None
    ) -> State:
        """Return analyses as a state of torch tensors; see :meth:`pear.State.from_xarray`."""
        from pear.state import State  # loads torch

        return State.from_xarray(self._dataset, time, layout, nside)
