"""``pear fetch``: today's analysis, or one of the past, from a public server into a store."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from pear.progress import ProgressFactory
from pear.variables import variable
from pipelines.catalog.sharing import writing
from pipelines.ingestion.fetch import NSIDE, FetchedState, open_source, options_for
from pipelines.ingestion.fetch import fetch as fetch_states
from pipelines.ingestion.sources.transfer import Transfer
from service.cli import options as opt
from service.cli.console import announced, console, emit_json, interruptible
from service.cli.ingest import find_target, register_store, show

_source, _store = (partial(typer.Option, rich_help_panel=name) for name in ("Source", "Store"))


def fetch(
    *,
    source: Annotated[
        str,
        _source(
            metavar="NAME",
            help="ifs or aifs (ECMWF open data), gfs (NOAA), era5 (Climate Data Store), arco or "
            "wb2 (ERA5 as Zarr), or an address.",
        ),
    ],
    time: Annotated[
        str,
        _source(metavar="TIMES", help="latest, or analysis times (UTC) such as 2026-11-25T00."),
    ] = "latest",
    mirror: Annotated[
        str | None,
        _source(
            metavar="URL",
            help="Address of a replica; for ECMWF also aws, azure or google.",
            envvar="PEAR_FETCH_MIRROR",
        ),
    ] = None,
    data: opt.OptionalData = None,
    analysis: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the analysis (default: that of the source)."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="STORE", help="Path of the store to write instead."),
    ] = None,
    replace: Annotated[
        bool, _store("--replace", help="Replace states that the store has already.")
    ] = False,
    nside: Annotated[
        int | None,
        _store(
            metavar="N",
            help="HEALPix resolution of a new store.",
            show_default=f"{NSIDE}, that of the shipped model",
        ),
    ] = None,
    also: Annotated[
        opt.CommaList | None,
        _store(
            parser=opt.LIST,
            metavar="LIST",
            help="Variables to fetch beside the nine of PEAR, e.g. d2m,sp,tp06.",
        ),
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Fetch an initial state: only the fields that PEAR needs, checked message by message.

    Examples
    --------
    $ pear fetch --source ifs --data DATA
    $ pear fetch --source gfs --time 2026-11-25T00 --data DATA
    $ pear fetch --source ifs --also d2m,sp,tp06 --data DATA
    $ pear fetch --source arco --time 2019-01-01T00..2019-01-02T18/6h --data DATA
    """
    transfer = Transfer()
    opened = open_source(source, transfer, mirror)
    folder, store = find_target(data, analysis or opened.name, output)
    options = options_for(store, nside, [variable(name).name for name in also or ()])
    times = None if time == "latest" else opt.parse_times(time)
    states: list[FetchedState] = []
    kept = "what was downloaded is kept; run the command again to continue"
    with interruptible(kept), ExitStack() as host, ExitStack() as stack:
        if folder is not None:
            host.enter_context(writing(folder, "analyses", store.stem))

        def start(title: str) -> ProgressFactory:
            unit: Literal["fields", "bytes"] = "fields" if title == "ingest" else "bytes"
            return stack.enter_context(announced(title, unit))

        for state in fetch_states(
            opened,
            times,
            store,
            options=options,
            transfer=transfer,
            replace_times=replace,
            progress=start,
        ):
            stack.close()
            states.append(state)
            if state.report is None:
                console.print(f"{state.time}: in {store} already")
            else:
                show(state.report)
                if state.needed_bytes:
                    console.print(
                        f"{state.time}: fetched {state.fetched_bytes / 1e6:.1f} MB, of which the "
                        f"state's fields {state.needed_bytes / 1e6:.1f} MB",
                        highlight=False,
                    )
                if state.lacking:
                    console.print(f"{state.time}: {opened.title} has no {', '.join(state.lacking)}")
    if folder is not None:
        register_store(folder)
    if as_json:
        emit_json({"states": [state.to_dict() for state in states]})
