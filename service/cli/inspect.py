"""``pear inspect``: describe a store, or draw one of its fields."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pear.addresses import without_secrets
from pear.datasets.base import ScanOptions
from pear.derived import derive, find_derived, parse_quantity
from pear.errors import InputError
from pear.plotting.styles import kind_of
from pear.sphere.source_grids import HealpixGrid, SourceGrid
from pear.store.reader import describe, open_store, stored_layout
from pear.times import to_iso
from pear.typing import Float64
from pear.variables import BY_NAME, PROBABILITY, SIMULATED, Layout, holds_vectors, wind_partner
from pipelines.ingestion.readers import scan_source
from pipelines.ingestion.remote_files import FileCache
from service.cli.console import emit_json, emit_line, emit_table
from service.cli.options import Json, Picture, Store, time_option
from service.maps import render_comparison

_PICTURE = Path("map.png")


def inspect(
    store: Store,
    *,
    map_of: Annotated[
        str | None, typer.Option("--map", metavar="FIELD", help="Draw a field, e.g. t850 or t2m.")
    ] = None,
    time: Annotated[
        np.datetime64 | None, time_option(help="Time of the map (default: first).")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Source file or address to draw beside it, with the difference."
        ),
    ] = None,
    output: Picture = _PICTURE,
    as_json: Json = False,
) -> None:
    """Describe the grid, times, variables and completeness of a store, or draw one field.

    Examples
    --------
    $ pear inspect pear-data/analyses/era5.zarr
    $ pear inspect pear-data/analyses/era5.zarr --map t850 -o t850.png
    """
    found = describe(store) if map_of is None else draw(store, map_of, time, source, output)
    if as_json:
        emit_json(found)
    elif map_of is None:
        _show(found)
    else:
        emit_line(f"map: {output}")


def _show(found: dict[str, Any]) -> None:
    grid, times = found["grid"], found["times"]
    emit_line(f"{found['path']}: {found['kind']}, {found['bytes'] / 1e6:.1f} MB")
    emit_line(
        f"grid   {grid['name']} nside {grid['nside']} (level {grid['refinement_level']}), "
        f"{grid['order']}, {grid['cells']} cells"
        + "".join(f"; means at nside {n}" for n in grid["coarser"])
    )
    step = "" if times["step_hours"] is None else f", every {times['step_hours']:g} h"
    emit_line(f"times  {times['count']}, {times['first']} to {times['last']}{step}")
    for gap in times["gaps"][:5]:
        emit_line(f"       gap of {gap['missing']} after {gap['after']}")
    for period in found.get("preliminary", {}).get("periods", ()):
        emit_line(f"       preliminary: {period['count']}, {period['first']} to {period['last']}")
    if "lead_hours" in found:
        leads = found["lead_hours"]
        emit_line(f"leads  {len(leads)}, {leads[0]:g} to {leads[-1]:g} h")
    if found["levels"]:
        emit_line(f"levels {' '.join(map(str, found['levels']))} hPa")
    emit_table(
        ("variable", "units", "axes", "shape"),
        [
            (name, row["units"], " ".join(row["dims"]), " x ".join(map(str, row["shape"])))
            for name, row in found["variables"].items()
        ],
    )
    whole = found["completeness"]
    if whole["complete"]:
        emit_line(f"complete: all fields of its variables{_lacking(found)}")
        return
    emit_line(f"{100 * whole['fraction']:.1f} % complete; missing:")
    for hole in whole["missing"]:
        emit_line(f"  {hole['field']} at {hole['time']}")


def _lacking(found: dict[str, Any]) -> str:
    """Say which variables and levels of a state of PEAR a store lacks as a whole."""
    published = Layout.default()
    lacking = [
        BY_NAME[name].short_name for name in published.names if name not in found["variables"]
    ]
    levels = [str(level) for level in published.levels if level not in found["levels"]]
    if levels and len(levels) < len(published.levels):
        lacking.append(f"{' '.join(levels)} hPa")
    if not lacking:
        return ""
    return f"; not a state of the published model, which also has {', '.join(lacking)}"


def draw(
    store: Path, text: str, time: np.datetime64 | None, source: str | None, out: Path
) -> dict[str, Any]:
    """Draw a field of a store as PNG and return what was drawn.

    Parameters
    ----------
    text
        Field, as ``t850`` or ``2m_temperature``.
    time
        Valid time of an analysis, or init time of a forecast, whose first lead is drawn;
        None for the first.
    source
        Source file of the field, or None.

    Raises
    ------
    InputError
        If the store or the file lacks the field, level or time.
    """
    stored_layout(store)  # the store may define variables of its own
    row, level = parse_quantity(text)
    if row.kind == "upper" and level is None:
        raise InputError(f"--map {text} needs a level", field="--map", hint=f"write {text}500")
    with open_store(store) as data:
        times = data["time"].values
        chosen = times[0] if time is None else time
        found = None if row.name in data else find_derived(row.name)
        lacking = [n for n in ((row.name,) if found is None else found.needs) if n not in data]
        if lacking or chosen not in times:
            what = f"no {lacking[0]}" if lacking else f"no time {to_iso(chosen)}"
            raise InputError(
                f"{store} has {what}", field="--map", hint="run `pear inspect` to list its contents"
            )
        if level is not None and level not in data["level"].values:
            raise InputError(f"{store} has no level {level} hPa", field="--map")
        at = data.sel(time=chosen)
        if "prediction_timedelta" in at.dims:
            at = at.isel(prediction_timedelta=0)
        cells = derive(at, text).values.astype(np.float64)
        at = at if level is None else at.sel(level=level)
        other = wind_partner(row.name) if holds_vectors(data.attrs) else None
        partner = at[other].values.astype(np.float64) if other in data else None
        notes = [str(data.attrs[PROBABILITY])] if PROBABILITY in data.attrs else []
        notes += ["simulated atmosphere"] if SIMULATED in data.attrs else []
        kind = kind_of(data.attrs)
    if not np.isfinite(cells).any():
        raise InputError(f"{store} lacks {text} at {to_iso(chosen)}", field="--map")
    before = None if source is None else _source(source, row.name, level, chosen)
    where = ", " if level is None else f" at {level} hPa, "
    heading = f"{where}{to_iso(chosen)}: {store.name}"
    heading += f" ({', '.join(notes)})" if notes else ""
    out.write_bytes(render_comparison(cells, row.name, heading, before, partner, level, kind))
    return {"picture": str(out), "variable": row.name, "level": level, "time": to_iso(chosen)}


def _source(
    path: str, name: str, level: int | None, time: np.datetime64
) -> tuple[SourceGrid, Float64]:
    """Return the grid and the field of a source file, in the units of the store."""
    with tempfile.TemporaryDirectory() as folder, FileCache.from_environment() as files:
        for scan in scan_source(path, ScanOptions(), lambda: Path(folder), files):
            for variable in scan.variables:
                at = np.flatnonzero(variable.times == time)
                rows = [0] if level is None else np.flatnonzero(np.array(variable.levels) == level)
                if variable.quantity.name == name and len(at) and len(rows):
                    _require_drawable(variable.grid, path)
                    return variable.grid, variable.read(int(at[0]), int(rows[0])).astype(np.float64)
    label = name if level is None else f"{name} at {level} hPa"
    raise InputError(f"{without_secrets(path)} has no {label} at {to_iso(time)}", field="--source")


def _require_drawable(grid: SourceGrid, path: str) -> None:
    """Refuse HEALPix without nested order, to which the cells of a store cannot be taken back."""
    if isinstance(grid, HealpixGrid) and grid.order != "nested":
        raise InputError(
            f"{without_secrets(path)} is on {grid}, and only powers of two can be compared",
            field="--source",
            hint="draw the store alone",
        )
