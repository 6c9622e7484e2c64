"""``pear check``: verify a store down to its last chunk, and repair it."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.evaluation.scores import CHECKSUMS, check_files
from pipelines.storage.check import StoreReport, check_store
from pipelines.storage.repair import repair_store
from service.cli.console import emit_json, emit_line, progress
from service.cli.options import Json, Store

_SHOWN = 50


def check(
    store: Store,
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Repair what can be repaired; flag the rest as missing."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify checksums, completeness, metadata and grid of a store.

    Evaluations and models are compared with their checksums. Exit status 1 if problems are found.

    Examples
    --------
    $ pear check pear-data/analyses/era5.zarr
    $ pear check pear-data/analyses/era5.zarr --repair
    """
    if (store / CHECKSUMS).is_file():
        check_files(store)
        emit_line(f"{store}: evaluation, healthy")
        return
    if (store / "checkpoint.json").is_file():
        from pear.models import checkpoint  # imports torch, which stores do not need

        emit_line(f"{store}: model {checkpoint.load(store).id}, healthy")
        return
    with progress("check", None) as tick:
        before = check_store(store, tick)
    after = repair_store(store) if repair and not before.is_healthy else None
    if as_json:
        emit_json(before.to_dict() | {"after_repair": after.to_dict() if after else None})
    else:
        _show(before)
        if after is not None:
            emit_line("after repair:")
            _show(after)
    if not (after or before).is_healthy:
        raise typer.Exit(1)


def _show(report: StoreReport) -> None:
    for finding in report.findings[:_SHOWN]:
        remedy = f" ({finding.remedy})" if finding.remedy else ""
        emit_line(f"{finding.kind}: {finding.where}: {finding.detail}{remedy}")
    if len(report.findings) > _SHOWN:
        emit_line(f"and {len(report.findings) - _SHOWN} more")
    state = "healthy" if report.is_healthy else f"{len(report.findings)} problems"
    emit_line(f"{report.path}: {report.fields} fields checked, {state}")
