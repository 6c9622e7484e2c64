"""``pear inspect``: what a store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pear.cli.common import console, emit_json, parse_time


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
    from pipelines.store import describe

    if map_of is not None:
        from pear.cli.inspect_map import draw

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
