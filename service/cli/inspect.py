"""The picture of ``pear inspect --map``: a field of a store, beside the file it came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from pear.errors import InputError
from service.cli.options import console, emit_json, parse_time

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
    from pear.store.reader import open_store
    from pear.times import to_iso
    from pear.variables import parse_field
    from service.maps import render_beside

    row, level = parse_field(text)
    if row.kind == "upper" and level is None:
        raise InputError(f"--map {text} names no level", field="--map", hint=f"write {text}500")
    with open_store(store) as data:
        times = data["time"].values
        chosen = times[0] if time is None else time
        if row.name not in data or chosen not in times:
            what = f"no {row.name}" if row.name not in data else f"no time {to_iso(chosen)}"
            raise InputError(f"{store} has {what}", field="--map", hint="`pear inspect` it first")
        if level is not None and level not in data["level"].values:
            raise InputError(f"{store} has no level {level} hPa", field="--map")
        field = data[row.name].sel(time=chosen)
        field = field if level is None else field.sel(level=level)
        if "prediction_timedelta" in field.dims:
            field = field.isel(prediction_timedelta=0)
        cells = field.values.astype(np.float64)
    if not np.isfinite(cells).any():
        raise InputError(f"{store} lacks {text} at {to_iso(chosen)}", field="--map")
    before = None if beside is None else _source(beside, row.name, level, chosen)
    where = "" if level is None else f"at {level} hPa, "
    heading = f"{where}{to_iso(chosen)}: {store.name}"
    out.write_bytes(render_beside(cells, row.name, heading, before))
    return {"picture": str(out), "variable": row.name, "level": level, "time": to_iso(chosen)}


def _source(
    path: Path, name: str, level: int | None, time: np.datetime64
) -> tuple[LatLonGrid, Any]:
    """Grid and field of a file, in the units of the store."""
    import tempfile

    from pear.datasets.base import ScanOptions
    from pear.times import to_iso
    from pipelines.ingestion.readers import scan_source

    with tempfile.TemporaryDirectory() as folder:
        for scan in scan_source(path, ScanOptions(), lambda: Path(folder)):
            for slab in scan.slabs:
                at = np.flatnonzero(slab.times == time)
                rows = [0] if level is None else np.flatnonzero(np.array(slab.levels) == level)
                if slab.quantity.name == name and len(at) and len(rows):
                    return slab.grid, slab.read(int(at[0]), int(rows[0])).astype(np.float64)
    label = name if level is None else f"{name} at {level} hPa"
    raise InputError(f"{path} has no {label} at {to_iso(time)}", field="--beside")


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("inspect")(inspect)


def inspect(
    store: Annotated[Path, typer.Argument(help="Analysis or forecast store.")],
    map_of: Annotated[
        str | None, typer.Option("--map", help="Draw this field, as t850 or t2m, into --out.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Time of the map; the first if left out.")
    ] = None,
    beside: Annotated[
        Path | None, typer.Option(help="File it came from: drawn beside it, and the difference.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the map goes.")] = Path("map.png"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on stdout.")] = False,
) -> None:
    """Tell the grid, times, variables, units and completeness of a store; or draw one field."""
    from pear.store.reader import describe

    if map_of is not None:
        pass

        drawn = draw(store, map_of, parse_time(time, "--time") if time else None, beside, out)
        if as_json:
            emit_json(drawn)
        console.print(f"picture: {out}", soft_wrap=True)
        return
    found = describe(store)
    if as_json:
        emit_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.table import Table

    grid, times = found["grid"], found["times"]
    console.print(f"[bold]{found['path']}[/bold]: {found['kind']}, {found['bytes'] / 1e6:.1f} MB")
    console.print(
        f"grid   {grid['name']} nside {grid['nside']} (level {grid['refinement_level']}), "
        f"{grid['order']}, {grid['cells']} cells"
        + "".join(f"; means at nside {n}" for n in grid["coarser"])
    )
    step = "" if times["step_hours"] is None else f", every {times['step_hours']:g} h"
    console.print(f"times  {times['count']}, {times['first']} to {times['last']}{step}")
    for gap in times["gaps"][:5]:
        console.print(f"       gap of {gap['missing']} after {gap['after']}")
    if "lead_hours" in found:
        leads = found["lead_hours"]
        console.print(f"leads  {len(leads)}, {leads[0]:g} to {leads[-1]:g} h")
    if found["levels"]:
        console.print(f"levels {' '.join(map(str, found['levels']))} hPa")
    table = Table("variable", "units", "axes", "shape", box=None, pad_edge=False)
    for name, row in found["variables"].items():
        shape = " x ".join(map(str, row["shape"]))
        table.add_row(name, row["units"], " ".join(row["dims"]), shape)
    console.print(table)
    whole = found["completeness"]
    if whole["complete"]:
        console.print("complete")
        return
    console.print(f"{100 * whole['fraction']:.1f} % complete; missing:")
    for hole in whole["missing"]:
        console.print(f"  {hole['field']} at {hole['time']}")
