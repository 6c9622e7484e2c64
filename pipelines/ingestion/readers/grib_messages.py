"""One message of a GRIB file: its keys and its values, as ecCodes decodes them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Final, TypeAlias

import numpy as np
import xarray as xr

from pear.datasets.base import Fields
from pear.datasets.cell_numbers import CellOrder
from pear.errors import InputError
from pear.sphere.source_grids import HealpixGrid
from pipelines.ingestion.readers.eccodes import load, next_field

GribValue: TypeAlias = str | int | float | None
_NO_NUMBERS: Final = xr.Dataset()  # cells of GRIB are not numbered
_MISSING: Final = -1.0e34
LOCK: Final = threading.Lock()
"""Held while ecCodes works, which is not built for threads everywhere."""


@lru_cache(maxsize=1)
def load_eccodes() -> ModuleType:
    """Return ecCodes; without it, InputError says how to install it."""
    try:
        eccodes: ModuleType = load()
    except (ImportError, RuntimeError) as error:
        raise InputError(
            "GRIB files need ecCodes", field="grib", hint='pip install "pear-weather[grib]"'
        ) from error
    return eccodes


def get_key(codes: ModuleType, handle: int, key: str) -> GribValue:
    """Return the value of a key of a message, or None if it has none."""
    try:
        value: GribValue = codes.codes_get(handle, key)
    except codes.CodesInternalError:
        return None
    return value


def read_ordered(path: str, offset: int, part: int, order: CellOrder | None) -> Fields:
    """Decode one field, HEALPix cells in the order of their grid."""
    values = read_field(path, offset, part)
    if order is None:
        return values
    size = HealpixGrid(order.nside).size
    if values.size != size:
        raise InputError(
            f"{path}: the message at byte {offset} has {values.size} of the {size} cells of "
            f"HEALPix with nside {order.nside}: a region, or a damaged header",
            field="grid",
        )
    moved = order.permutation(_NO_NUMBERS, path)
    return values if moved is None else values[moved]


@contextmanager
def _open_message(path: str, offset: int, part: int) -> Iterator[tuple[ModuleType, int]]:
    codes = load_eccodes()
    with Path(path).open("rb", buffering=0) as file:
        file.seek(offset)
        handle = next_field(codes, file)
        for _ in range(part):
            if handle is not None:
                codes.codes_release(handle)
            handle = next_field(codes, file)
        if handle is None:
            raise InputError(f"{path} no longer has a message at byte {offset}", field="file")
        try:
            if part and (found := int(codes.codes_get(handle, "offset"))) != offset:
                raise InputError(
                    f"{path} has no field {part} in its message at byte {offset}, but a message "
                    f"at byte {found}",
                    field="file",
                    hint="another program reads GRIB in this process; try again",
                )
            yield codes, handle
        finally:
            codes.codes_release(handle)
            codes.codes_grib_multi_support_reset_file(file)


def read_field(path: str, offset: int, part: int) -> Fields:
    """Decode one field of a GRIB file.

    Parameters
    ----------
    path : str
        The file.
    offset, part : int
        Offset of the message, and position of the field within it.

    Returns
    -------
    (point,) array
        Missing values are NaN.

    Raises
    ------
    InputError
        If the message cannot be decoded.
    """
    with LOCK, _open_message(path, offset, part) as (codes, handle):
        try:
            codes.codes_set(handle, "missingValue", _MISSING)
            values = np.asarray(codes.codes_get_values(handle), dtype=np.float64)
            has_gaps = bool(codes.codes_get(handle, "bitmapPresent"))
        except codes.CodesInternalError as error:
            raise InputError(
                f"{path}: the message at byte {offset} cannot be decoded: {error}", field="file"
            ) from error
    if has_gaps:
        values = np.where(values == _MISSING, np.nan, values)
    return values.astype(np.float32)
