"""Open stores, checked against the schema, and describe their contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypedDict

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
from pear.store.attributes import as_attributes, read_json
from pear.store.climatology import Climatology
from pear.store.dataset import make_layout
from pear.store.fetched import StoreUnavailableError
from pear.store.manifest import DamagedStoreError
from pear.store.ranged import RangedStore
from pear.store.replacement import SOURCE
from pear.store.verified import VerifiedStore
from pear.times import as_utc, to_iso
from pear.typing import Int64, StrPath, Times, TimesLike
from pear.variables import BY_NAME, Layout
from pear.variables.layout import find_derived_row
from pear.variables.own import adopt_definitions

Chunks: TypeAlias = int | dict[str, int] | Literal["auto"] | None
"""As ``chunks`` of :func:`xarray.open_zarr`: None for lazy reads without dask."""
_MOST_NAMED: Final = 20
_INTERNAL_ATTRIBUTES: Final = ("dggs", "zarr_conventions", metadata.DIGEST)


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
    dataset.attrs = as_attributes(dataset.attrs)  # stores of earlier versions hold tables
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


def describe(path: StrPath) -> dict[str, Any]:
    """Describe the contents of a store as JSON-serialisable values.

    Parameters
    ----------
    path
        Analysis or forecast store.

    Returns
    -------
    dict
        kind, grid, times (count, first, last, step in hours, gaps), lead times, levels, variables,
        completeness, preliminary times (count, and periods from first to last), bytes on disk and
        the root's attributes.
    """
    path = Path(path)
    dataset = open_store(path)
    kind, layout, nside = stored_layout(path)
    group = schema.open_group(path)
    files = [file for file in path.rglob("*") if file.is_file()]
    found: dict[str, Any] = {
        "path": str(path),
        "kind": kind,
        "grid": {
            "name": "HEALPix",
            "nside": nside,
            "refinement_level": schema.refinement_level(nside),
            "order": "nested",
            "cells": cells_of_nside(nside),
            "coarser": list(schema.overviews(group)),
        },
        "times": describe_times(dataset["time"].values),
        "levels": list(layout.levels),
        "variables": {
            name: _describe_variable(schema.get_array(group, name)) for name in layout.names
        },
        "bytes": sum(file.stat().st_size for file in files),
        "files": len(files),
        "attributes": {
            name: read_json(value) or value
            for name, value in dataset.attrs.items()
            if name not in _INTERNAL_ATTRIBUTES
        },
    }
    if kind == "forecast":
        leads = dataset["prediction_timedelta"].values / np.timedelta64(1, "h")
        found["lead_hours"] = [float(lead) for lead in leads]
        found["completeness"] = {"complete": True, "fraction": 1.0, "missing": []}
    else:
        found["completeness"] = _describe_completeness(path)
        found["preliminary"] = describe_flagged(dataset["time"].values, read_preliminary(path))
    return found


def describe_flagged(
    times: TimesLike, flags: np.typing.NDArray[np.bool_]
) -> dict[str, int | list[dict[str, Any]]]:
    """Summarise the times that carry a flag: their number, and the runs of neighbours.

    Parameters
    ----------
    times
        (time,) increasing.
    flags
        (time,) True for those to summarise.

    Returns
    -------
    dict
        ``count``, and ``periods`` with ``first``, ``last`` and ``count`` of each run.

    Examples
    --------
    >>> times = ["2019-01-01", "2019-01-02", "2019-01-03"]
    >>> describe_flagged(times, np.array([False, True, True]))["periods"]
    [{'first': '2019-01-02T00:00:00Z', 'last': '2019-01-03T00:00:00Z', 'count': 2}]
    """
    axis, marked = as_utc(times), np.flatnonzero(flags)
    runs = np.split(marked, np.flatnonzero(np.diff(marked) > 1) + 1) if marked.size else []
    periods = [
        {"first": to_iso(axis[run[0]]), "last": to_iso(axis[run[-1]]), "count": int(run.size)}
        for run in runs
    ]
    return {"count": int(marked.size), "periods": periods}


def _describe_variable(array: zarr.Array[Any]) -> dict[str, Any]:
    return {
        "units": array.attrs["units"],
        "standard_name": array.attrs.get("standard_name", ""),  # a probability has none
        "dims": list(getattr(array.metadata, "dimension_names", None) or ()),
        "shape": list(array.shape),
        "chunks": list(array.chunks),
        "shards": list(array.shards or ()),
    }


class TimeAxis(TypedDict):
    """Summary of a time axis."""

    count: int
    first: str | None
    last: str | None
    step_hours: float | None
    gaps: list[dict[str, Any]]


def describe_times(times: TimesLike) -> TimeAxis:
    """Summarise a time axis: number, first, last, usual step and gaps.

    Parameters
    ----------
    times
        (time,) increasing.

    Returns
    -------
    dict
        ``step_hours`` is the median step; gaps are steps in which at least one time is missing.

    Examples
    --------
    >>> describe_times(["2019-01-01", "2019-01-02", "2019-01-03", "2019-01-05"])["gaps"]
    [{'after': '2019-01-03T00:00:00Z', 'before': '2019-01-05T00:00:00Z', 'missing': 1}]
    """
    axis: Times = as_utc(times)
    if axis.size == 0:
        return {"count": 0, "first": None, "last": None, "step_hours": None, "gaps": []}
    steps, gaps, hours = np.diff(axis), [], None
    if steps.size:
        step = np.median(steps.astype(np.int64)).astype("timedelta64[s]")
        hours = float(step / np.timedelta64(1, "h"))
        missing = np.rint(steps / step).astype(np.int64) - 1
        gaps = [
            {
                "after": to_iso(axis[i]),
                "before": to_iso(axis[i + 1]),
                "missing": int(missing[i]),
            }
            for i in np.flatnonzero(missing > 0)
        ]
    first, last = to_iso(axis[0]), to_iso(axis[-1])
    return {"count": axis.size, "first": first, "last": last, "step_hours": hours, "gaps": gaps}


def _describe_completeness(path: Path) -> dict[str, Any]:
    times, flags, names = read_completeness(path)
    holes = np.argwhere(flags == 0)
    return {
        "complete": holes.size == 0,
        "fraction": float(flags.mean()) if flags.size else 1.0,
        "missing": [{"time": to_iso(times[t]), "field": names[c]} for t, c in holes[:_MOST_NAMED]],
        "missing_count": len(holes),
    }


def read_completeness(
    root: StrPath, *, all_channels: bool = False
) -> tuple[Times, np.typing.NDArray[np.uint8], tuple[str, ...]]:
    """Read which fields an analysis store holds.

    Parameters
    ----------
    root
        Analysis store.
    all_channels
        Include the channels of variables that the store does not have.

    Returns
    -------
    times, flags, names
        (time,) committed times; (time, channel), 1 where a field is present; channel names as
        ``variable`` or ``variable@level``.
    """
    group = schema.open_group(root)
    array = schema.get_array(group, schema.COMPLETE)
    names = _channel_names(array)
    flags = np.asarray(array[:])
    times = np.asarray(schema.get_array(group, "time")[:]).astype("datetime64[s]")
    if not all_channels:
        present = set(group.array_keys())
        kept = [i for i, name in enumerate(names) if name.split("@")[0] in present]
        flags, names = flags[:, kept], [names[i] for i in kept]
    return times, flags, tuple(names)


def read_preliminary(root: StrPath) -> np.typing.NDArray[np.bool_]:
    """Read which times of an analysis store are preliminary.

    Parameters
    ----------
    root
        Analysis store.

    Returns
    -------
    ndarray
        (time,) True where final data are still to come; all False in a store without the flags,
        which earlier versions wrote.

    Raises
    ------
    InputError
        If the flags are damaged.
    """
    group = schema.open_group(root)
    if schema.PRELIMINARY not in group:
        return np.zeros(schema.get_array(group, "time").shape[0], dtype=bool)
    flags = np.asarray(schema.get_array(group, schema.PRELIMINARY)[:])
    if not np.isin(flags, (0, 1)).all():
        raise InputError(
            f"{root}: it is damaged which times are preliminary",
            field="store",
            hint="run `pear check --repair` on it",
        )
    marked: np.typing.NDArray[np.bool_] = flags == 1
    return marked


def read_lead_times(root: StrPath) -> Int64:
    """Read the lead times of the states of an analysis store.

    Parameters
    ----------
    root
        Analysis store.

    Returns
    -------
    ndarray
        (time,) seconds: 0 for analyses, and everywhere in a store without lead times.

    Raises
    ------
    InputError
        If they are damaged.
    """
    group = schema.open_group(root)
    name = schema.lead_time_name(group)
    if name not in group:
        return np.zeros(schema.get_array(group, "time").shape[0], dtype=np.int64)
    seconds: Int64 = np.asarray(schema.get_array(group, name)[:], dtype=np.int64)
    if (seconds < 0).any():
        raise InputError(
            f"{root}: its lead times are damaged",
            field="store",
            hint="run `pear check --repair` on it",
        )
    return seconds


def read_lead_hours(root: StrPath) -> dict[str, float]:
    """Read which times of an analysis store are forecasts; raises as :func:`read_lead_times`.

    Parameters
    ----------
    root
        Analysis store.

    Returns
    -------
    dict
        Lead time in hours by valid time, ISO 8601; empty for analyses.
    """
    seconds = read_lead_times(root)
    group = schema.open_group(root)
    times = np.asarray(schema.get_array(group, "time")[:]).astype("datetime64[s]")
    return {to_iso(times[row]): float(seconds[row] / 3600) for row in np.flatnonzero(seconds)}


def _channel_names(array: zarr.Array[Any]) -> list[str]:
    attributes: dict[str, Any] = dict(array.attrs)
    return list(attributes["channels"])


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
        nside = 2 ** int(schema.get_array(group, "crs").attrs["refinement_level"])  # type: ignore[arg-type]
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
        channels = _channel_names(schema.get_array(group, schema.COMPLETE))
        return sorted({int(name.split("@")[1]) for name in channels if "@" in name})
