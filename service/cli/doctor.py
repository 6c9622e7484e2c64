"""``pear doctor``: is a store what it should be, down to its last chunk?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import console, emit_json, progress

if TYPE_CHECKING:
    from pipelines.storage.check import Diagnosis


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("doctor")(doctor)


def doctor(
    store: Annotated[Path, typer.Argument(help="Analysis or forecast store.")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended; mark the rest as missing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on stdout.")] = False,
) -> None:
    """Check checksums, completeness, attributes and grid of a store; exit status 1 if ill."""
    from pipelines.storage.check import examine
    from pipelines.storage.repair import repair as mend

    with progress("examine", None) as tick:
        before = examine(store, tick)
    after = mend(store) if repair and not before.healthy else None
    if as_json:
        emit_json(before.to_dict() | {"after_repair": after.to_dict() if after else None})
    _show(before)
    if after is not None:
        console.print("[bold]after repair[/bold]")
        _show(after)
    if not (after or before).healthy:
        raise typer.Exit(1)


def _show(diagnosis: Diagnosis) -> None:
    for finding in diagnosis.findings[:50]:
        remedy = f" [dim]({finding.remedy})[/dim]" if finding.remedy else ""
        console.print(f"{finding.kind}: {finding.where}: {finding.detail}{remedy}")
    if len(diagnosis.findings) > 50:
        console.print(f"and {len(diagnosis.findings) - 50} more")
    state = "healthy" if diagnosis.healthy else f"{len(diagnosis.findings)} findings"
    console.print(f"{diagnosis.path}: {diagnosis.fields} fields examined, {state}")
