"""Packing that a file declares by names which decoding by CF does not read."""

from __future__ import annotations

from typing import Final

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
