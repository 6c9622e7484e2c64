"""Experiment versions of a reanalysis: final, preliminary, and others.

ERA5 calls its final data 0001 and its preliminary ones, ERA5T, 0005. Other versions are those of
experiments: they are read as they are, with a note.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from pear.datasets.base import Scan
from pear.errors import InputError
from pear.store.schema import PRELIMINARY

_FINAL, _EARLY = "1", "5"
_NAMES: Final = {"era5t": _EARLY, "era5landt": _EARLY, "e5t": _EARLY, "era5": _FINAL}
_SAYS_EARLY: Final = re.compile(
    r"\bERA-?5(?:-?Land)?-?T\b|\b(?:preliminary|provisional) (?:data|product|release|version)\b"
    r"|^\s*(?:preliminary|provisional)\s*$",
    re.IGNORECASE,
)
_TEXTS: Final = (
    *("title", "source", "status", "product_status", "data_status", "version"),
    *("product_version", "processing_status", "dataset"),
)


def version_key(version: object) -> str:
    """Return what equal versions share: 5, ``0005``, ``5.0`` and ``ERA5T`` are one.

    Returns
    -------
    str
        ``1`` for final and ``5`` for preliminary data; empty if nothing is stated.

    Examples
    --------
    >>> from pear.datasets.versions import version_key
    >>> version_key(b"0005"), version_key("ERA5T"), version_key(1.0), version_key("0077")
    ('5', '5', '1', '77')
    """
    text = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    plain = text.strip(" \0").lower().removesuffix(".0").lstrip("0")
    plain = "" if plain in ("none", "nan") else plain
    return _NAMES.get(re.sub("[^a-z0-9]", "", plain), plain)


def note_versions(name: str, versions: Iterable[object], scan: Scan) -> None:
    """Note preliminary data (ERA5T), and versions that are neither final nor preliminary.

    Examples
    --------
    >>> from pear.datasets.versions import note_versions
    >>> scan = Scan("era5.nc", "NetCDF")
    >>> note_versions("t2m", ["0001", "ERA5T"], scan)
    >>> scan.notes
    ['t2m: some times are preliminary (expver 5, ERA5T)']
    """
    stated = {version_key(version) for version in versions}
    if _EARLY in stated:
        scan.note(f"{name}: some times are preliminary (expver 5, ERA5T)")
    if others := sorted(stated - {"", _FINAL, _EARLY}):
        scan.note(
            f"{name}: experiment version {', '.join(others[:5])}, neither final (0001) nor "
            "preliminary (0005): taken as it is"
        )


def find_preliminary(
    dataset: xr.Dataset, array: xr.DataArray, time_dim: Hashable | None, count: int, scan: Scan
) -> npt.NDArray[np.bool_]:
    """Return at which times the data of a variable are preliminary (ERA5T, expver 5).

    Parameters
    ----------
    dataset : Dataset
        Where ``expver`` may be a variable or coordinate; its title may say it in words.
    array : DataArray
        The variable, whose attributes may state it as well.
    time_dim : hashable or None
        Dimension of the times.
    count : int
        Number of times.
    scan : Scan
        Receives notes on the versions.

    Returns
    -------
    (time,) array of bool
        In the order of the source. Along an axis of versions, the times without a final field.

    Examples
    --------
    >>> from pear.datasets.versions import find_preliminary
    >>> data = xr.Dataset({"t2m": ("time", [1.0, 2.0]), "expver": ("time", ["0001", "0005"])})
    >>> find_preliminary(data, data["t2m"], "time", 2, Scan("era5.nc", "NetCDF"))
    array([False,  True])
    """
    own = dataset.variables.get(PRELIMINARY)
    if own is not None and own.dims == (time_dim,) and "pear_kind" in dataset.attrs:
        return np.asarray(own.values).astype(bool)
    name, found = str(array.name), array.coords.get("expver", dataset.get("expver"))
    if found is None:
        keys = (array.attrs.get("GRIB_expver"), array.attrs.get("expver"))
        stated = next((one for one in (*keys, dataset.attrs.get("expver")) if one is not None), "")
        if not version_key(stated):
            return np.full(count, _says_early(dataset, array, scan))
        note_versions(name, [stated], scan)
        return np.full(count, version_key(stated) == _EARLY)
    labels = np.ravel(found.values).tolist()
    note_versions(name, labels, scan)
    flags = np.array([version_key(each) == _EARLY for each in labels], dtype=bool)
    if found.ndim == 0 or (found.ndim == 1 and found.size == 1):
        return np.full(count, bool(flags[0]))
    if found.dims == (time_dim,):
        return flags
    if found.dims == ("expver",) and "expver" in array.dims and (~flags).any():
        final = array.isel(expver=int(np.flatnonzero(~flags)[0]))
        if time_dim is None:
            return np.full(count, _is_empty(final))
        return np.array([_is_empty(final.isel({time_dim: at})) for at in range(count)], dtype=bool)
    return np.full(count, bool(flags.any()))


def _says_early(dataset: xr.Dataset, array: xr.DataArray, scan: Scan) -> bool:
    """Return whether the file calls its data preliminary in words."""
    for attributes in (array.attrs, dataset.attrs):
        for key in _TEXTS:
            text = str(attributes.get(key, ""))
            if _SAYS_EARLY.search(text):
                scan.note(f"{array.name}: preliminary by its {key} {text!r}")
                return True
    return False


def _is_empty(slot: xr.DataArray) -> bool:
    """Return whether a slot of final data is empty, as it is at preliminary times."""
    # A field may have gaps of its own (sea temperature over land), so one point does not tell. One
    # row does in most fields; the whole is read only where that row is missing too.
    if slot.ndim and not np.isnan(np.asarray(slot[slot.shape[0] // 2].values)).all():
        return False
    return bool(np.isnan(np.asarray(slot.values)).all())


def merge_versions(
    array: xr.DataArray, axis: Hashable, points: Sequence[Hashable]
) -> npt.NDArray[Any]:
    """Return the fields of an axis of experiment versions as one: the final ones where there are.

    A field of which a part is of one version and the rest of another, and two versions of the same
    rank that differ, raise InputError.

    Parameters
    ----------
    array : DataArray
        The fields, with the axis of versions.
    axis : hashable
        Its dimension.
    points : sequence of hashable
        Dimensions of the points.

    Returns
    -------
    (…, *points) array
        The fields.

    Examples
    --------
    >>> from pear.datasets.versions import merge_versions
    >>> values = [[np.nan, np.nan], [1.0, 2.0]]
    >>> array = xr.DataArray(values, {"expver": [1, 5]}, ["expver", "x"])
    >>> merge_versions(array, "expver", ["x"])
    array([1., 2.])
    """
    labels = [version_key(label) for label in array[axis].values.tolist()]
    order = sorted(range(len(labels)), key=lambda i: (labels[i] == _EARLY, i))
    parts = [array.isel({axis: int(i)}).transpose(..., *points).values for i in order]
    merged = parts[0]
    for at in range(1, len(parts)):
        _require_one_version(merged, parts[at], len(points))
        for before in range(at):
            pair = labels[order[before]], labels[order[at]]
            if (pair[0] == _EARLY) == (pair[1] == _EARLY):
                _require_same(parts[before], parts[at], pair)
        merged = np.where(np.isnan(merged), parts[at], merged)
    return np.asarray(merged)


def _require_same(one: npt.NDArray[Any], other: npt.NDArray[Any], labels: tuple[str, str]) -> None:
    """Refuse two fields of versions of which neither replaces the other, if they differ."""
    both = ~np.isnan(one) & ~np.isnan(other)
    if (differing := both & (one != other)).any():
        first, second = one[differing].flat[0], other[differing].flat[0]
        raise InputError(
            f"expver {labels[0]} and expver {labels[1]} have different values for one time "
            f"({first:g} and {second:g})"
        )


def _require_one_version(final: npt.NDArray[Any], other: npt.NDArray[Any], n_axes: int) -> None:
    """Refuse fields of which a part is final and the rest is of another experiment version."""
    axes = tuple(range(-n_axes, 0))
    gone = np.isnan(final)
    filled = (gone & ~np.isnan(other)).sum(axis=axes)
    kept = (~gone).sum(axis=axes)
    if (mixed := (filled > 0) & (kept > 0)).any():
        parts = f"{int(kept[mixed].flat[0])} values of the final version and "
        raise InputError(
            f"{parts}{int(filled[mixed].flat[0])} of another one in one field (expver)"
        )
