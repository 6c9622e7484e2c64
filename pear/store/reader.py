"""Reading stores: open them checked against the contract, and say what they hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from zarr.storage import LocalStore

from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside
from pear.store import metadata, schema
from pear.store.schema import COMPLETE, PROBABILITY, open_group
from pear.times import as_utc, to_iso
from pear.typing import Times
from pear.variables import BY_NAME, LEVELS, Layout

__all__ = [
    "PROBABILITY",
    "describe",
    "open_store",
    "stored_layout",
]


_MOST_NAMED = 20


_NOT_TOLD = ("dggs", metadata.DIGEST)


def open_store(path: Path | str, chunks: Any = None, nside: int | None = None) -> xr.Dataset:
    """Open a store lazily, decoded, with canonical names, after checking it against the contract.

    Parameters
    ----------
    path
        An analysis or forecast store.
    chunks
        None for lazy reads without dask; ``{}`` or sizes for dask arrays.
    nside
        One of the coarser resolutions that the store keeps; None: its own.

    Returns
    -------
    Dataset
        Analyses (time, level, cell); forecasts (time, prediction_timedelta, level, cell); time as
        datetime64[s], leads as timedelta64[s], level in hPa. ``crs`` and ``complete`` are
        coordinates, so that every data variable is a field.

    Raises
    ------
    InputError
        If there is no store, or it breaks the contract.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"no store at {path}", field="store", hint="make one with `pear ingest`")
    kind, _, own = stored_layout(path)
    _require_intact(path)
    group = None if nside in (None, own) else schema.overview_name(int(nside or own))
    if group is not None and not (path / group).is_dir():
        raise InputError(
            f"{path} keeps no means at nside {nside}", field="nside", hint=f"it is at nside {own}"
        )
    try:
        dataset: xr.Dataset = xr.open_zarr(
            LocalStore(path, read_only=True),
            group=group,
            chunks=chunks,
            consolidated=True,
            decode_times=xr.coders.CFDatetimeCoder(time_unit="s"),
            decode_timedelta=xr.coders.CFTimedeltaCoder(time_unit="s"),
        )
    except (ValueError, KeyError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}", field="store") from error
    _check(dataset, kind, nside or own, path)
    if schema.COMPLETE in dataset.coords:
        names = dataset[schema.COMPLETE].attrs["channels"]
        present = [i for i, name in enumerate(names) if name.split("@")[0] in dataset.data_vars]
        dataset = dataset.isel(channel=present)
        dataset[schema.COMPLETE].attrs["channels"] = [names[i] for i in present]
    return dataset


def _require_intact(path: Path) -> None:
    document = metadata.read(path)
    if metadata.DIGEST in document["attributes"] and not metadata.intact(document):
        raise InputError(
            f"{path}: its metadata are damaged", field="store", hint="run `pear doctor` on it"
        )


def _check(dataset: xr.Dataset, kind: str, nside: int, path: Path) -> None:
    """Refuse a store whose grid, axes or units are not those of the contract."""
    lead = ("time", "prediction_timedelta") if kind == "forecast" else ("time",)
    if dataset.sizes.get("cell") != cells_of_nside(nside):
        raise InputError(
            f"{path} has {dataset.sizes.get('cell')} cells, nside {nside} has "
            f"{cells_of_nside(nside)}",
            field="store",
        )
    times = dataset["time"].values
    if times.size > 1 and not (np.diff(times) > np.timedelta64(0, "s")).all():
        raise InputError(f"{path}: its times do not increase", field="store")
    for name, array in dataset.data_vars.items():
        row = BY_NAME.get(str(name))
        share = schema.PROBABILITY in dataset.attrs
        if row is None or array.attrs.get("units") != ("1" if share else row.units):
            raise InputError(
                f"{path}: {name} in {array.attrs.get('units')} is no variable of the contract",
                field="store",
            )
        dims = (*lead, "level", "cell") if row.kind == "upper" else (*lead, "cell")
        if array.dims != dims:
            raise InputError(f"{path}: {name} has axes {array.dims}, not {dims}", field="store")


def describe(path: Path | str) -> dict[str, Any]:
    """Say what a store holds, as plain values for JSON.

    Returns
    -------
    dict
        kind, grid, times (count, first, last, step in hours, gaps), leads, levels, variables,
        completeness, bytes on disk and the root's attributes.

    Raises
    ------
    InputError
        As :func:`open_store`.
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
        "variables": {name: _describe_variable(group[name]) for name in layout.names},
        "bytes": sum(file.stat().st_size for file in files),
        "files": len(files),
        "attributes": {k: v for k, v in dataset.attrs.items() if k not in _NOT_TOLD},
    }
    if kind == "forecast":
        leads = dataset["prediction_timedelta"].values / np.timedelta64(1, "h")
        found["lead_hours"] = [float(lead) for lead in leads]
        found["completeness"] = {"complete": True, "fraction": 1.0, "missing": []}
    else:
        found["completeness"] = _completeness(path)
    return found


def _describe_variable(array: Any) -> dict[str, Any]:
    attributes = dict(array.attrs)
    return {
        "units": attributes["units"],
        "standard_name": attributes["standard_name"],
        "dims": list(array.metadata.dimension_names),
        "shape": list(array.shape),
        "chunks": list(array.chunks),
        "shards": list(array.shards or ()),
    }


def describe_times(times: Any) -> dict[str, Any]:
    """Say how many times there are, from when to when, how far apart, and where some lack."""
    axis: Times = as_utc(times)
    if axis.size == 0:
        return {"count": 0, "first": None, "last": None, "step_hours": None, "gaps": []}
    steps = np.diff(axis)
    step = np.median(steps.astype(np.int64)).astype("timedelta64[s]") if steps.size else None
    wide = np.flatnonzero(steps > step) if step is not None else np.zeros(0, dtype=int)
    gaps = [
        {
            "after": to_iso(axis[i]),
            "before": to_iso(axis[i + 1]),
            "missing": round(float(steps[i] / step)) - 1 if step is not None else 0,
        }
        for i in wide
    ]
    hours = None if step is None else float(step / np.timedelta64(1, "h"))
    first, last = to_iso(axis[0]), to_iso(axis[-1])
    return {"count": axis.size, "first": first, "last": last, "step_hours": hours, "gaps": gaps}


def _completeness(path: Path) -> dict[str, Any]:
    times, flags, names = read_completeness(path)
    holes = np.argwhere(flags == 0)
    return {
        "complete": holes.size == 0,
        "fraction": float(flags.mean()) if flags.size else 1.0,
        "missing": [{"time": to_iso(times[t]), "field": names[c]} for t, c in holes[:_MOST_NAMED]],
        "missing_count": len(holes),
    }


def read_completeness(root: Path) -> tuple[Times, npt.NDArray[np.uint8], tuple[str, ...]]:
    """Times that readers see, completeness of the variables there are (time, channel), names."""
    group = open_group(root)
    present = set(group.array_keys())
    times, flags, names = raw_completeness(root)
    kept = [i for i, name in enumerate(names) if name.split("@")[0] in present]
    return times, flags[:, kept], tuple(names[i] for i in kept)


def raw_completeness(root: Path) -> tuple[Times, npt.NDArray[np.uint8], tuple[str, ...]]:
    """As :func:`read_completeness`, with a channel for every variable of the contract."""
    group = open_group(root)
    flags = group[COMPLETE]
    times = np.asarray(group["time"][:]).astype("datetime64[s]")
    return times, np.asarray(flags[:]), tuple(flags.attrs["channels"])


def stored_layout(path: Path) -> tuple[str, Layout, int]:
    """Kind, layout (levels in published order) and nside of a store that PEAR wrote.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        group = open_group(path)
        kind = str(group.attrs["pear_kind"])
        nside = 2 ** int(dict(group.attrs["dggs"])["refinement_level"])
        names = set(group.array_keys())
        present = _levels(group) if "level" in names else []
    except (KeyError, OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is no store of PEAR's",
            field="store",
            hint="make one with `pear ingest`; `pear inspect` says what a store holds",
        ) from error
    order = [level for level in LEVELS if level in present]
    order += sorted((level for level in present if level not in LEVELS), reverse=True)
    base = Layout()
    layout = replace(
        base,
        surface=tuple(n for n in base.surface if n in names),
        upper=tuple(n for n in base.upper if n in names),
        levels=tuple(order),
    )
    return kind, layout, nside


def _levels(group: Any) -> list[int]:
    """Levels in hPa; those that the completeness names if their own array is damaged."""
    try:
        return [int(level) for level in group["level"][:]]
    except (OSError, ValueError, RuntimeError):
        channels = group[COMPLETE].attrs["channels"]
        return sorted({int(name.split("@")[1]) for name in channels if "@" in name})
