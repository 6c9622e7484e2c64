"""Describe a store: grid, times, levels, variables, completeness and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
import zarr

from pear.sphere.healpix import cells_of_nside
from pear.store import metadata, schema
from pear.store.reader import open_store, stored_layout
from pear.store.time_status import read_completeness, read_preliminary
from pear.times import as_utc, to_iso
from pear.typing import StrPath, Times, TimesLike

_MOST_NAMED: Final = 20
_INTERNAL_ATTRIBUTES: Final = ("dggs", metadata.DIGEST)


class TimeAxis(TypedDict):
    """Summary of a time axis."""

    count: int
    first: str | None
    last: str | None
    step_hours: float | None
    gaps: list[dict[str, Any]]


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
        "attributes": {k: v for k, v in dataset.attrs.items() if k not in _INTERNAL_ATTRIBUTES},
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


def _describe_variable(array: zarr.Array[Any]) -> dict[str, Any]:
    return {
        "units": array.attrs["units"],
        "standard_name": array.attrs.get("standard_name", ""),  # a probability has none
        "dims": list(getattr(array.metadata, "dimension_names", None) or ()),
        "shape": list(array.shape),
        "chunks": list(array.chunks),
        "shards": list(array.shards or ()),
    }


def _describe_completeness(path: Path) -> dict[str, Any]:
    times, flags, names = read_completeness(path)
    holes = np.argwhere(flags == 0)
    return {
        "complete": holes.size == 0,
        "fraction": float(flags.mean()) if flags.size else 1.0,
        "missing": [{"time": to_iso(times[t]), "field": names[c]} for t, c in holes[:_MOST_NAMED]],
        "missing_count": len(holes),
    }
