"""What an analysis store says of its times: fields present, preliminary states, lead times."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr

from pear.errors import InputError
from pear.store import schema
from pear.times import to_iso
from pear.typing import Int64, StrPath, Times


def channel_names(flags: zarr.Array[Any]) -> list[str]:
    """Return the names of the channels of a store's completeness flags.

    Parameters
    ----------
    flags
        (time, channel) array :data:`pear.store.schema.COMPLETE`.

    Returns
    -------
    list of str
        ``variable`` or ``variable@level``.
    """
    attributes: dict[str, Any] = dict(flags.attrs)
    return list(attributes["channels"])


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
    names = channel_names(array)
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
    if schema.LEAD_TIME not in group:
        return np.zeros(schema.get_array(group, "time").shape[0], dtype=np.int64)
    seconds: Int64 = np.asarray(schema.get_array(group, schema.LEAD_TIME)[:], dtype=np.int64)
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
