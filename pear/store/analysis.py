"""Analyses: read fields at given valid times from a store or an open Dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside, nside_from_cells
from pear.store.coarse import coarsen_field
from pear.store.dataset import dataset_layout
from pear.store.reader import open_store
from pear.store.replacement import read_consistent
from pear.store.schema import overview_name
from pear.times import as_utc, to_iso
from pear.typing import Float32, StrPath, Times, TimesLike
from pear.variables import BY_NAME, Layout, wind_partner


class Analysis:
    """Analyses of one layout and grid, read one time after the other.

    Parameters
    ----------
    source
        Analysis store, or a Dataset as :func:`pear.open_analysis` returns it.
    layout
        Channels to read; default: all.
    nside
        Grid to read on, a finer source is averaged over its cells, winds as vectors; default: that
        of the source.
    name
        Name for messages; default: that of the store.

    Attributes
    ----------
    path
        The store; None for a Dataset.
    times
        (time,) valid times, ``datetime64[s]``.

    Raises
    ------
    InputError
        If there is no such store, or it holds forecasts.

    Examples
    --------
    >>> import pear
    >>> from pear.store.analysis import Analysis
    >>> analysis = Analysis(pear.sample_analysis(nside=4))
    >>> analysis.times.size, analysis.read(analysis.times[0]).shape
    (25, (69, 192))
    """

    def __init__(
        self,
        source: StrPath | xr.Dataset,
        layout: Layout | None = None,
        nside: int | None = None,
        name: str | None = None,
    ) -> None:
        self.path = None if isinstance(source, xr.Dataset) else Path(source)
        self.name = name or (self.path.stem if self.path else "analysis")
        self._data = source if isinstance(source, xr.Dataset) else open_store(source)
        _require_analysis(self._data, self.name)
        self.layout = dataset_layout(self._data) if layout is None else layout
        self.nside = nside_from_cells(self._data.sizes["cell"]) if nside is None else nside
        self.times: Times = as_utc(self._data["time"].values)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the store or Dataset."""
        return self._data.attrs

    def read(self, time: np.datetime64) -> Float32:
        """Return the fields of one time; raises as :func:`read_fields`.

        Parameters
        ----------
        time
            Valid time, UTC.

        Returns
        -------
        ndarray
            (channel, cell), float32, physical units, channels as in ``layout.channels``.
        """
        parts = read_fields(self._data, time, self.layout, self.nside, f"analysis {self.name}")
        return np.concatenate([part[0].reshape(-1, part.shape[-1]) for part in parts])

    def inits(self, lead: np.timedelta64, step: np.timedelta64) -> Times:
        """Return the times from which all steps up to a lead time can be verified.

        Parameters
        ----------
        lead, step
            Forecast length and time step.

        Returns
        -------
        ndarray
            (init,) ``datetime64[s]``.
        """
        offsets = np.arange(step, lead + np.timedelta64(1, "s"), step)
        held = [bool(np.isin(time + offsets, self.times).all()) for time in self.times]
        found: Times = self.times[np.array(held, dtype=bool)]
        return found


def open_overview(path: StrPath, nside: int | None = None) -> xr.Dataset:
    """Open a store at a resolution if it keeps overviews of it, else at its own."""
    kept = nside is not None and (Path(path) / overview_name(nside)).is_dir()
    return open_store(path, nside=nside if kept else None)


def read_fields(
    dataset: xr.Dataset,
    times: TimesLike,
    layout: Layout,
    nside: int | None = None,
    name: str = "the dataset",
) -> tuple[Float32, Float32]:
    """Read the fields of a layout at some times of an analysis.

    Parameters
    ----------
    dataset
        Analysis on HEALPix, as :func:`pear.open_analysis` returns it.
    times
        Valid times, UTC.
    layout
        Channels, in the order wanted.
    nside
        Resolution; a finer dataset is averaged to it, winds as vectors. Default: that of the
        dataset.
    name
        Name of the dataset, for messages.

    Returns
    -------
    surface, upper : ndarray
        (time, surface variable, cell) and (time, upper variable, level, cell), float32, physical
        units.

    Raises
    ------
    InputError
        If a time, a variable or a level is not in the dataset, a value is not finite, the
        dataset is coarser than wanted or holds forecasts.

    Examples
    --------
    >>> import pear
    >>> from pear.store.analysis import read_fields
    >>> layout = pear.Layout(("2m_temperature",), ("geopotential",), (500, 850))
    >>> surface, upper = read_fields(pear.sample_analysis(nside=4), "2006-11-01", layout)
    >>> surface.shape, upper.shape
    ((1, 1, 192), (1, 1, 2, 192))
    """
    _require_analysis(dataset, name)
    times = as_utc(times)
    index = _positions(dataset, times, name)
    _require_fields(dataset, layout, name)
    source = nside_from_cells(dataset.sizes["cell"])
    target = source if nside is None else nside
    if target > source:
        raise InputError(
            f"{name} is at nside {source}, coarser than the requested nside {target}",
            field="nside",
            hint="ingest or regrid the data at the finer nside",
        )
    cells = cells_of_nside(target)
    surface = np.empty((times.size, len(layout.surface), cells), dtype=np.float32)
    upper = np.empty((times.size, len(layout.upper), len(layout.levels), cells), dtype=np.float32)

    def read() -> None:
        reader = _FieldReader(dataset, index, layout, target)
        for place, variable in enumerate(layout.surface):
            surface[:, place] = reader.read(variable)
        for place, variable in enumerate(layout.upper):
            upper[:, place] = reader.read(variable)

    read_consistent(dataset, read)
    _require_finite(surface, upper, layout, times, name)
    return surface, upper


class _FieldReader:
    """Reads variables at some times; both components of a wind, of which the mean is one."""

    def __init__(
        self, dataset: xr.Dataset, index: Sequence[int], layout: Layout, nside: int
    ) -> None:
        self._dataset, self._index, self._layout = dataset, list(index), layout
        self._nside = nside
        self._coarse = nside != nside_from_cells(dataset.sizes["cell"])
        self._winds: dict[str, Float32] = {}

    def read(self, name: str) -> Float32:
        """Return a variable (time, [level,] cell) at the resolution."""
        partner = wind_partner(name)
        if not self._coarse or partner is None or partner not in self._dataset:
            return np.asarray(coarsen_field(name, self._own(name), self._nside))
        for each in (name, partner):
            if each not in self._winds:
                self._winds[each] = self._own(each)
        u_or_v, other = self._winds[name], self._winds[partner]
        return np.asarray(coarsen_field(name, u_or_v, self._nside, other))

    def _own(self, name: str) -> Float32:
        array = self._dataset[name].isel(time=self._index)
        if BY_NAME[name].kind == "upper":
            # Chunks hold all levels, so the levels are selected in memory.
            array = array.load().sel(level=list(self._layout.levels))
        return np.asarray(array.values)


def _require_analysis(dataset: xr.Dataset, name: str) -> None:
    if "prediction_timedelta" in dataset.dims:
        raise InputError(
            f"{name} holds forecasts, not analyses",
            field="store",
            hint="name an analysis as the source of initial states",
        )
    for dim in ("time", "cell"):
        if dim not in dataset.dims:
            raise InputError(
                f"{name} has no dimension {dim!r} (its dimensions: "
                f"{', '.join(map(str, dataset.dims))})",
                field=dim,
                hint="open an analysis with pear.open_analysis, or regrid a latitude-longitude "
                "dataset with pear.regrid",
            )


def _positions(dataset: xr.Dataset, times: Times, name: str) -> list[int]:
    axis = as_utc(dataset["time"].values)
    if axis.size == 0:
        raise InputError(f"{name} holds no times", field="time")
    found = np.searchsorted(axis, times)
    for position, time in zip(found, times, strict=True):
        if position == axis.size or axis[position] != time:
            nearest = axis[int(np.abs(axis - time).argmin())]
            raise InputError(
                f"{name} has no state at {to_iso(time)}",
                field="time",
                hint=f"it holds {axis.size} times from {to_iso(axis[0])} to {to_iso(axis[-1])}; "
                f"the nearest is {to_iso(nearest)}",
            )
    return [int(position) for position in found]


def _require_fields(dataset: xr.Dataset, layout: Layout, name: str) -> None:
    present = [str(variable) for variable in dataset.data_vars]
    missing = [variable for variable in layout.names if variable not in present]
    if missing:
        raise InputError(
            f"{name} lacks {', '.join(missing)}",
            field="variable",
            hint=f"it holds {', '.join(present) or 'no variables'}",
        )
    if layout.upper:
        levels = [int(level) for level in dataset["level"].values]
        absent = [level for level in layout.levels if level not in levels]
        if absent:
            raise InputError(
                f"{name} lacks the levels {', '.join(map(str, absent))} hPa",
                field="level",
                hint=f"it holds {', '.join(map(str, levels))}",
            )


def _require_finite(
    surface: Float32, upper: Float32, layout: Layout, times: Times, name: str
) -> None:
    for variables, fields in ((layout.surface, surface[:, :, None]), (layout.upper, upper)):
        bad = np.argwhere(~np.isfinite(fields.sum(axis=-1)))
        for time, variable, level in bad:
            values = fields[time, variable, level]
            count = int((~np.isfinite(values)).sum())
            where = f" at {layout.levels[level]} hPa" if fields is upper else ""
            raise InputError(
                f"{name}: {variables[variable]}{where} has {count} values that are not finite "
                f"at {to_iso(times[time])}",
                field=variables[variable],
            )
