"""What a store on disk says about itself: layout, grid, times, completeness."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pear.calendar import Times
from pear.errors import InputError
from pear.variables import LEVELS, Layout
from pipelines.contract import COMPLETE, open_group


def committed(root: Path) -> tuple[Times, npt.NDArray[np.uint8], tuple[str, ...]]:
    """Times that readers see, completeness of the variables there are (time, channel), names."""
    group = open_group(root)
    present = set(group.array_keys())
    times, flags, names = raw_completeness(root)
    kept = [i for i, name in enumerate(names) if name.split("@")[0] in present]
    return times, flags[:, kept], tuple(names[i] for i in kept)


def raw_completeness(root: Path) -> tuple[Times, npt.NDArray[np.uint8], tuple[str, ...]]:
    """As :func:`committed`, with a channel for every variable of the contract."""
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
