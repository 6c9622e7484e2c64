"""The ``pear`` command: one verb per module, one exit status per kind of end.

0: done. 1: PEAR failed (a bug or the machine). 2: the input cannot be used (one line says why).
130: interrupted. This room is where the others meet; nothing imports it.
"""

from __future__ import annotations

import os
import sys

import typer

from pear import __version__
from pear.errors import InputError
from pipelines.ingestion.readers import eccodes
from service.cli import (
    bench,
    bench_ablation,
    bench_peer,
    bench_rollout,
    bench_stability,
    demo,
    doctor,
    evaluate,
    forecast,
    import_checkpoint,
    ingest,
    inspect,
    keys,
    models,
    runs,
    schedules,
    serve,
    simulate,
    studies,
    train,
)

app = typer.Typer(
    name="pear",
    help="Weather forecasts on HEALPix: ingest, train, forecast, evaluate, serve.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Weather forecasts on HEALPix: ingest, train, forecast, evaluate, serve."""


for _verb in (
    bench,
    bench_ablation,
    studies,
    bench_peer,
    bench_rollout,
    bench_stability,
    demo,
    doctor,
    evaluate,
    forecast,
    import_checkpoint,
    ingest,
    inspect,
    keys,
    models,
    runs,
    schedules,
    serve,
    simulate,
    train,
):
    _verb.register(app)


def main() -> None:
    """Run the command line; turn input errors into one line and exit status 2."""
    eccodes.load_before_cfgrib()
    try:
        app()
    except InputError as error:
        _fail(str(error), 2)
    except FileNotFoundError as error:
        _fail(f"no such file: {error.filename or error}", 2)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except OSError as error:
        if os.environ.get("PEAR_DEBUG"):
            raise
        _fail(f"{type(error).__name__}: {error}", 1)


def _fail(message: str, status: int) -> None:
    if os.environ.get("PEAR_DEBUG") and status == 2:
        raise
    one_line = " ".join(message.split())
    sys.stderr.write(f"pear: {one_line}\n")
    sys.exit(status)
