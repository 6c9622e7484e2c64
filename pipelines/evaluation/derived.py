"""Derived quantities of evaluations: which are asked for, and their fields beside the channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pear.derived import find_derived, parse_quantity
from pear.derived.quantities import Derived, require_derivable
from pear.errors import InputError
from pear.typing import Array, Channel, Float32
from pear.variables import Layout


def parse_channels(fields: Iterable[str]) -> tuple[list[Channel], tuple[Channel, ...]]:
    """Read the fields that scores are asked for.

    Parameters
    ----------
    fields
        Such as ``z500``, ``ws10`` or ``relative_humidity@700``.

    Returns
    -------
    channels : list of (str, int or None)
        All, in the order given.
    derived : tuple of (str, int or None)
        Those that are computed from others.

    Raises
    ------
    InputError
        If a name is unknown, a derived quantity lacks its level, or it is a direction.

    Examples
    --------
    >>> from pipelines.evaluation.derived import parse_channels
    >>> parse_channels(["z500", "ws850"])[1]
    (('wind_speed', 850),)
    """
    channels: list[Channel] = []
    derived: list[Channel] = []
    for text in fields:
        row, level = parse_quantity(text)
        channels.append((row.name, level))
        if find_derived(row.name) is None:
            continue
        require_mean(row.name)
        if row.kind == "upper" and level is None:
            raise InputError(f"{text} lacks a level", field="--fields", hint=f"write {text}@850")
        derived.append((row.name, level))
    return channels, tuple(dict.fromkeys(derived))


def require_mean(name: str) -> Derived:
    """Return a derived quantity that has means; a direction has none: InputError."""
    found = find_derived(name)
    if found is None:
        raise InputError(f"{name} is stored, not derived", field="--also", hint="leave it out")
    if found.row.units == "degree":
        raise InputError(
            f"{name} is an angle, which has neither mean nor error",
            field="field",
            hint="take the wind speed, or both components of the wind",
        )
    return found


def check_derivable(derived: Sequence[Channel], layout: Layout) -> None:
    """Raise InputError unless the channels have what derived quantities are computed from."""
    for name, level in derived:
        found = require_mean(name)
        require_derivable(found, layout.names, "the forecast")
        for part, at in found.channels(level):
            if (part, at) not in layout.channels:
                raise InputError(
                    f"{name} needs {part} at {at} hPa, which the forecast does not have",
                    field="--fields",
                    hint=f"levels: {', '.join(map(str, layout.levels))}",
                )


def with_derived(fields: Array, layout: Layout, derived: Sequence[Channel]) -> Float32:
    """Append derived quantities to fields.

    Parameters
    ----------
    fields
        (…, channel, cell), physical units.
    layout
        Channels of the fields.
    derived
        Quantities to append.

    Returns
    -------
    ndarray
        (…, channel + derived, cell), float32; the fields themselves if nothing is derived.

    Examples
    --------
    >>> import numpy as np
    >>> from pear.variables import Layout
    >>> from pipelines.evaluation.derived import with_derived
    >>> wind = Layout(("10m_u_component_of_wind", "10m_v_component_of_wind"), (), ())
    >>> with_derived(np.array([[3.0], [4.0]]), wind, [("10m_wind_speed", None)]).ravel().tolist()
    [3.0, 4.0, 5.0]
    """
    if not derived:
        return fields
    at = {channel: row for row, channel in enumerate(layout.channels)}
    more = []
    for name, level in derived:
        found = require_mean(name)
        parts = [fields[..., at[channel], :] for channel in found.channels(level)]
        more.append(found.of(parts, level).astype(np.float32))
    return np.concatenate([fields, np.stack(more, axis=-2)], axis=-2).astype(np.float32, copy=False)
