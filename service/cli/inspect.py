"""The picture of ``pear inspect --map``: a field of a store, beside the file it came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pear.errors import InputError

if TYPE_CHECKING:
    from pear.sphere.regrid import LatLonGrid


def draw(
    store: Path, text: str, time: np.datetime64 | None, beside: Path | None, out: Path
) -> dict[str, Any]:
    """Draw a field of a store into a PNG; says what was drawn.

    Parameters
    ----------
    text
        Field, as ``t850`` or ``2m_temperature``.
    time
        Valid time of an analysis, or initial time of a forecast, whose first lead is drawn; None:
        the first.
    beside
        File that the field came from.

    Raises
    ------
    InputError
        If the store or the file has no such field.
    """
    from pear.calendar import iso
    from pear.variables import parse_field
    from pipelines.store import open_store
    from service.maps import render_beside

    row, level = parse_field(text)
    if row.kind == "upper" and level is None:
        raise InputError(f"--map {text} names no level", field="--map", hint=f"write {text}500")
    with open_store(store) as data:
        times = data["time"].values
        chosen = times[0] if time is None else time
        if row.name not in data or chosen not in times:
            what = f"no {row.name}" if row.name not in data else f"no time {iso(chosen)}"
            raise InputError(f"{store} has {what}", field="--map", hint="`pear inspect` it first")
        if level is not None and level not in data["level"].values:
            raise InputError(f"{store} has no level {level} hPa", field="--map")
        field = data[row.name].sel(time=chosen)
        field = field if level is None else field.sel(level=level)
        if "prediction_timedelta" in field.dims:
            field = field.isel(prediction_timedelta=0)
        cells = field.values.astype(np.float64)
    if not np.isfinite(cells).any():
        raise InputError(f"{store} lacks {text} at {iso(chosen)}", field="--map")
    before = None if beside is None else _source(beside, row.name, level, chosen)
    where = "" if level is None else f"at {level} hPa, "
    heading = f"{where}{iso(chosen)}: {store.name}"
    out.write_bytes(render_beside(cells, row.name, heading, before))
    return {"picture": str(out), "variable": row.name, "level": level, "time": iso(chosen)}


def _source(
    path: Path, name: str, level: int | None, time: np.datetime64
) -> tuple[LatLonGrid, Any]:
    """Grid and field of a file, in the units of the store."""
    import tempfile

    from pear.calendar import iso
    from pipelines.sources import ScanOptions, scan_source

    with tempfile.TemporaryDirectory() as folder:
        for scan in scan_source(path, ScanOptions(), lambda: Path(folder)):
            for slab in scan.slabs:
                at = np.flatnonzero(slab.times == time)
                rows = [0] if level is None else np.flatnonzero(np.array(slab.levels) == level)
                if slab.quantity.name == name and len(at) and len(rows):
                    return slab.grid, slab.read(int(at[0]), int(rows[0])).astype(np.float64)
    label = name if level is None else f"{name} at {level} hPa"
    raise InputError(f"{path} has no {label} at {iso(time)}", field="--beside")
