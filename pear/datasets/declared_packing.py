"""Packing that a file declares in ways which decoding by CF passes over or fails at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from pear.datasets.declared_gaps import attribute_key, numbers_of
from pear.errors import InputError

_FACTORS: Final = frozenset(
    ("scale", "scalefactor", "scaling", "scalingfactor", "multiplier", "multiplicationfactor")
) | {"factor", "slope", "gain", "mult", "conversionfactor"}
_OFFSETS: Final = frozenset(("addoffset", "offset", "intercept", "addend", "addedoffset"))


def require_read_packing(array: xr.DataArray, source: str) -> None:
    """Refuse a factor or an offset that decoding has passed over.

    Parameters
    ----------
    array
        The variable, decoded; with the attributes that decoding left.
    source
        Name of its source, for messages.

    Raises
    ------
    InputError
        If an attribute says in another spelling than that of CF that values are packed.

    Examples
    --------
    >>> from pear.datasets.declared_packing import require_read_packing
    >>> array = xr.DataArray(0.0, attrs={"Scale_Factor": 0.1}, name="t2m")
    >>> require_read_packing(array, "a.nc")
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: t2m says Scale_Factor 0.1, which is not CF's scale_factor...
    """
    for name, stated in array.attrs.items():
        key = attribute_key(name)
        kinds = (_FACTORS, "scale_factor", 1.0), (_OFFSETS, "add_offset", 0.0)
        for names, of_cf, neutral in kinds:
            if key not in names:
                continue
            numbers = numbers_of(stated)
            applied = numbers_of(array.encoding.get(of_cf, neutral))
            if not numbers.size or np.array_equal(numbers, applied):
                continue
            raise InputError(
                f"{source}: {array.name} says {name} {stated}, which is not CF's {of_cf}"
                f" ({', '.join(f'{one:g}' for one in applied)} was applied)",
                field=str(array.name),
                hint=f"call it {of_cf} if values are packed, or remove it",
            )


def open_unpacked(opening: Callable[..., xr.Dataset], label: str) -> xr.Dataset:
    """Open a dataset with its packing undone.

    Several factors or offsets of one variable, or a text, are an InputError.

    Parameters
    ----------
    opening
        Opens the dataset; takes xarray's ``mask_and_scale``.
    label
        Name of the source, for messages.

    Returns
    -------
    Dataset
        Unpacked.

    Examples
    --------
    >>> from pear.datasets.declared_packing import open_unpacked
    >>> data = xr.Dataset({"t2m": ("x", [1], {"scale_factor": "0.1"})})
    >>> open_unpacked(lambda **how: xr.decode_cf(data, **how), "a.nc")
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: t2m says scale_factor '0.1', which is not one number; ...
    """
    try:
        dataset = opening(mask_and_scale=True)
    except Exception:  # of whichever step of decoding
        for name, array in opening(mask_and_scale=False).variables.items():
            _require_numbers(array.attrs, f"{label}: {name}")
        raise
    for name, array in dataset.variables.items():
        _require_numbers(array.encoding, f"{label}: {name}")
    return dataset


def _require_numbers(stated: Mapping[Any, Any], where: str) -> None:
    for key in ("scale_factor", "add_offset"):
        if key not in stated:
            continue
        value = np.asarray(stated[key])
        if value.size == 1 and value.dtype.kind in "iuf":
            number = float(value.reshape(-1)[0])
            if not np.isfinite(number) or (key == "scale_factor" and number == 0.0):
                raise InputError(
                    f"{where} says {key} {number:g}, by which no value can be unpacked",
                    field="file",
                    hint="correct the attribute, or make the file again",
                )
        if value.size != 1 or value.dtype.kind not in "iuf":
            text = ", ".join(map(str, value.tolist())) if value.size > 1 else repr(str(value))
            raise InputError(
                f"{where} says {key} {text}, which is not one number",
                field="file",
                hint="correct the attribute: values are unpacked as stored * scale_factor + "
                "add_offset",
            )
