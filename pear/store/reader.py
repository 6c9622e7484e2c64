"""Open stores, checked against the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import Store

from pear.addresses import (
    RemoteError,
    is_address,
    reading,
    storage_options,
    with_access,
    without_secrets,
)
from pear.errors import InputError
from pear.grib_library import import_before_xarray
from pear.sphere.healpix import cells_of_nside, nside_from_cells
from pear.store import manifest, metadata, schema
from pear.store.climatology import Climatology
from pear.store.dataset import make_layout
from pear.store.fetched import StoreUnavailableError
from pear.store.manifest import DamagedStoreError
from pear.store.ranged import RangedStore
from pear.store.replacement import SOURCE
from pear.store.time_status import channel_names
from pear.store.verified import VerifiedStore
from pear.typing import StrPath
from pear.variables import BY_NAME, Layout
from pear.variables.layout import find_derived_row
from pear.variables.own import adopt_definitions

Chunks: TypeAlias = int | dict[str, int] | Literal["auto"] | None
"""As ``chunks`` of :func:`xarray.open_zarr`: None for lazy reads without dask."""


def open_analysis(path: StrPath, *, nside: int | None = None, chunks: Chunks = None) -> xr.Dataset:
    """Open an analysis store lazily.

    A path that is not such a store is an :class:`~pear.errors.InputError`.

    Parameters
    ----------
    path
        Folder of the store, as ``pear ingest`` writes it, or the address of a published copy,
        ``s3://bucket/analyses/era5.zarr``.
    nside
        Resolution of an overview that the store keeps; default: that of the store.
    chunks
        None for lazy reads without dask; ``{}`` or sizes for dask arrays.

    Returns
    -------
    xarray.Dataset
        (time, level, cell), HEALPix cells in nested order, canonical names and units.
    """
    text = str(path)
    if is_address(text):
        return _open_remote(text, "analysis", chunks, nside)
    return _require_kind(open_store(path, chunks, nside), "analysis", text)


def open_forecast(path_or_url: StrPath, *, chunks: Chunks = None) -> xr.Dataset:
    """Open a forecast store lazily, on disk, from a running service or from object storage.

    What is not a forecast store is an :class:`~pear.errors.InputError`.

    Parameters
    ----------
    path_or_url
        Folder of the store, or its address, ``http://HOST/v1/forecasts/ID/zarr`` or
        ``s3://bucket/forecasts/ID.zarr``.
    chunks
        None for lazy reads without dask; ``{}`` or sizes for dask arrays.

    Returns
    -------
    xarray.Dataset
        (time, prediction_timedelta, level, cell), where ``time`` is the init time.
    """
    text = str(path_or_url)
    if is_address(text):
        return _open_remote(text, "forecast", chunks)
    return _require_kind(open_store(path_or_url, chunks), "forecast", text)


def _open_remote(
    address: str, kind: str, chunks: Chunks = None, nside: int | None = None
) -> xr.Dataset:
    """Open a store at an address, with the user's credentials or without any."""
    from zarr.storage import FsspecStore

    def ask(*, anonymous: bool) -> xr.Dataset:
        options = storage_options(address, anonymous=anonymous)
        store = FsspecStore.from_url(address, storage_options=options, read_only=True)
        return _open_zarr(RangedStore(store), chunks=chunks)

    shown = without_secrets(address)
    try:
        with reading(address):
            dataset, anonymous = with_access(address, ask)
            _require_kind(dataset, kind, shown)
            if nside not in (None, nside_from_cells(dataset.sizes["cell"])):
                options = storage_options(address, anonymous=anonymous)
                store = FsspecStore.from_url(address, storage_options=options, read_only=True)
                group = schema.overview_name(int(nside or 0))
                dataset = _open_zarr(RangedStore(store), chunks=chunks, group=group)
    except (RemoteError, OSError) as error:
        raise InputError(
            f"{shown} cannot be opened: {error}",
            field="url",
            hint="give the address of a published store, or http://HOST/v1/forecasts/ID/zarr",
        ) from error
    return dataset


def open_served(
    store: Store, kind: Literal["analysis", "forecast"], name: str, chunks: Chunks = None
) -> xr.Dataset:
    """Open a store whose files a client of a service reads.

    Parameters
    ----------
    store
        Files of the store.
    kind
        What it must be.
    name
        Address of the store, for messages.
    chunks
        None for lazy reads without dask; ``{}`` or sizes for dask arrays.

    Returns
    -------
    xarray.Dataset
        As :func:`open_forecast` and :func:`open_analysis` open it from disk.
    """
    dataset = _require_kind(_open_zarr(store, chunks=chunks), kind, name)
    adopt_definitions({str(key): value for key, value in dataset.attrs.items()}, name)
    return _present_channels(dataset)


def open_climatology(path: StrPath, *, nside: int | None = None) -> Climatology:
    """Open a climatology store.

    Parameters
    ----------
    path
        Folder of the store, as ``pear climatology`` writes it.
    nside
        Resolution of the fields, not finer than that of the store; default: that of the store.

    Returns
    -------
    Climatology
        Expected fields by valid time.

    Examples
    --------
    >>> import pear
    >>> from pear import resources
    >>> climatology = pear.open_climatology(resources.path("climatology"), nside=4)
    >>> climatology.nside, climatology.hours
    (4, (0,))
    """
    return Climatology.open(path, nside=nside)


def _require_kind(dataset: xr.Dataset, kind: str, name: str) -> xr.Dataset:
    found = dataset.attrs.get("pear_kind")
    if found != kind:
        raise InputError(
            f"{name} is a store of kind {found!r}, not of kind {kind!r}",
            field="store",
            hint=f"open it with pear.open_{found}" if found else "name a store written by PEAR",
        )
    return dataset


def _open_zarr(
    store: Store,
    *,
    chunks: Chunks = None,
    group: str | None = None,
    consolidated: bool = True,
) -> xr.Dataset:
    import_before_xarray()
    dataset: xr.Dataset = xr.open_zarr(
        store,
        group=group,
        chunks=chunks,
        consolidated=consolidated,
        decode_times=xr.coders.CFDatetimeCoder(time_unit="s"),
        decode_timedelta=xr.coders.CFTimedeltaCoder(time_unit="s"),
    )
    for name in (manifest.ATTRIBUTE, metadata.DIGEST):  # of the files, not of the data
        dataset.attrs.pop(name, None)
    return dataset


def open_store(path: StrPath, chunks: Chunks = None, nside: int | None = None) -> xr.Dataset:
    """Open an analysis or forecast store lazily, decoded and checked against the schema.

    Parameters
    ----------
    path
        Folder of the store.
    chunks
        None for lazy reads without dask; ``{}`` or sizes for dask arrays.
    nside
        Resolution of an overview that the store keeps; default: that of the store.

    Returns
    -------
    xarray.Dataset
        Analyses (time, level, cell); forecasts (time, prediction_timedelta, level, cell); time as
        datetime64[s], lead times as timedelta64[s], level in hPa. ``crs`` and ``complete`` are
        coordinates, so that every data variable is a field.

    Raises
    ------
    InputError
        If there is no store, or it breaks the schema.
    DamagedStoreError
        If a file of it is lost or damaged.
    StoreUnavailableError
        If a file of it lies in object storage, which does not respond.
    """
    path = metadata.store_path(path)
    if not path.is_dir():
        raise InputError(f"no store at {path}", field="store", hint="make one with `pear ingest`")
    kind, _, own = stored_layout(path)
    group = None if nside in (None, own) else schema.overview_name(int(nside or own))
    if group is not None and not (path / group).is_dir():
        raise InputError(
            f"{path} has no overview at nside {nside}", field="nside", hint=f"it is at nside {own}"
        )
    try:
        # A copy that xarray wrote need not have consolidated metadata.
        whole = bool(metadata.read(path).get(metadata.INSIDE))
        dataset = _open_zarr(VerifiedStore(path), chunks=chunks, group=group, consolidated=whole)
    except (DamagedStoreError, StoreUnavailableError):
        raise
    except (ValueError, KeyError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}", field="store") from error
    dataset.encoding[SOURCE] = str(path.resolve())
    _check(dataset, kind, nside or own, path)
    return _present_channels(dataset)


def _present_channels(dataset: xr.Dataset) -> xr.Dataset:
    """Leave out of the completeness of an analysis the variables that it does not have."""
    if schema.COMPLETE in dataset.coords:
        names = dataset[schema.COMPLETE].attrs["channels"]
        present = [i for i, name in enumerate(names) if name.split("@")[0] in dataset.data_vars]
        dataset = dataset.isel(channel=present)
        dataset[schema.COMPLETE].attrs["channels"] = [names[i] for i in present]
    return dataset


def _check(dataset: xr.Dataset, kind: str, nside: int, path: Path) -> None:
    """Raise unless grid, axes and units of a store are those of the schema."""
    lead = ("time", "prediction_timedelta") if kind == "forecast" else ("time",)
    if dataset.sizes.get("cell") != cells_of_nside(nside):
        raise InputError(
            f"{path} has {dataset.sizes.get('cell')} cells, nside {nside} has "
            f"{cells_of_nside(nside)}",
            field="store",
        )
    for axis in lead:
        values = dataset[axis].values
        if values.size > 1 and not (np.diff(values) > np.timedelta64(0, "s")).all():
            raise DamagedStoreError(path, axis, "does not increase")
    for name, array in dataset.data_vars.items():
        share = schema.PROBABILITY in dataset.attrs
        row = BY_NAME.get(str(name)) or (find_derived_row(str(name)) if share else None)
        if row is None or array.attrs.get("units") != ("1" if share else row.units):
            raise InputError(
                f"{path}: {name} in {array.attrs.get('units')} is not a variable of the schema",
                field="store",
            )
        dims = (*lead, "level", "cell") if row.kind == "upper" else (*lead, "cell")
        if array.dims != dims:
            raise InputError(
                f"{path}: {name} has dimensions {array.dims}, must be {dims}", field="store"
            )


def stored_layout(path: StrPath) -> tuple[str, Layout, int]:
    """Return kind, layout and nside of a store without reading its fields.

    Parameters
    ----------
    path
        Analysis or forecast store.

    Returns
    -------
    kind, layout, nside
        Levels in published order.

    Raises
    ------
    InputError
        If it is not a store written by PEAR.
    DamagedStoreError
        If a file of it is lost or damaged.
    StoreUnavailableError
        If a file of it lies in object storage, which does not respond.
    """
    try:
        metadata.require_root(Path(path))
        group = schema.open_group(path)
        attributes: dict[str, Any] = dict(group.attrs)
        kind = str(attributes["pear_kind"])
        nside = 2 ** int(attributes["dggs"]["refinement_level"])
        names = set(group.array_keys())
        present = _levels(group) if "level" in names else []
        adopt_definitions(attributes, str(path))
    except (DamagedStoreError, InputError, StoreUnavailableError):
        raise
    except (KeyError, OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a store written by PEAR",
            field="store",
            hint="make one with `pear ingest`; `pear inspect` describes a store",
        ) from error
    is_probability = schema.PROBABILITY in attributes
    return kind, make_layout(names, present, is_probability=is_probability), nside


def _levels(group: zarr.Group) -> list[int]:
    """Read the levels in hPa; from the completeness if their own array is damaged."""
    try:
        return [int(level) for level in np.asarray(schema.get_array(group, "level")[:])]
    except (OSError, ValueError, RuntimeError):
        if schema.COMPLETE not in group:
            raise
        channels = channel_names(schema.get_array(group, schema.COMPLETE))
        return sorted({int(name.split("@")[1]) for name in channels if "@" in name})
