"""Type aliases shared by all packages: arrays by their dtype, times, channels and paths.

Shapes stand in the docstrings, axis by axis; the aliases say what an element is.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array: TypeAlias = npt.NDArray[Any]
"""Array of any dtype, for functions that keep the dtype they are given."""
Float32: TypeAlias = npt.NDArray[np.float32]
"""Fields as stores and states hold them."""
Float64: TypeAlias = npt.NDArray[np.float64]
"""Coordinates, weights, sums and scores."""
Int64: TypeAlias = npt.NDArray[np.int64]
"""Indices and counts."""
UInt64: TypeAlias = npt.NDArray[np.uint64]
"""Digests."""
Complex64: TypeAlias = npt.NDArray[np.complex64]
"""Coefficients of waves."""
Bool: TypeAlias = npt.NDArray[np.bool_]
"""Masks."""
Times: TypeAlias = npt.NDArray[np.datetime64]
"""UTC times, ``datetime64[s]`` unless a docstring says otherwise."""
TimeLike: TypeAlias = str | np.datetime64 | datetime.datetime | datetime.date
"""One time in any form that ``np.datetime64`` accepts; UTC if it names no zone."""
TimesLike: TypeAlias = TimeLike | npt.ArrayLike | Sequence[TimeLike]
"""One or several times."""
DurationLike: TypeAlias = str | np.timedelta64 | datetime.timedelta
"""A duration such as ``"10d"`` or ``"240h"``, or any timedelta, those of pandas included."""
Channel: TypeAlias = tuple[str, int | None]
"""Canonical name of a variable and its pressure level in hPa; None for surface variables."""
TensorPair: TypeAlias = "tuple[Tensor, Tensor]"
"""Surface fields (batch, variable, cell) and upper-air fields (batch, variable, level, cell)."""
StrPath: TypeAlias = str | os.PathLike[str]
"""A path on disk."""
