"""``pear serve``: the API and the dashboard over a data folder."""

from __future__ import annotations

import socket
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pear.errors import InputError
from service.cli.options import console

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

_DRAIN_SECONDS = 20


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("serve")(serve_command)


def serve_command(
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder; PEAR_DATA otherwise.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one. [8000]")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that run the model. [1]")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where they run it: auto, cpu, cuda or cuda:1. [auto]")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Existing dask scheduler to use instead: tcp://host:8786.")
    ] = None,
    log: Annotated[
        str | None, typer.Option(help="Log to standard error as JSON: debug, info, warning.")
    ] = None,
) -> None:
    """Serve forecasts, maps, scores and the dashboard until stopped.

    Every option can also be set by the environment: PEAR_PORT, PEAR_HOST, PEAR_WORKERS and the
    limits of service/settings.py.
    """
    if log is not None:
        from pipelines.logging import configure

        configure(log)
    serve(data, host=host, port=port, workers=workers, scheduler=scheduler, device=device)


def serve(data: Path | None, **options: Any) -> None:
    """Serve a data folder until interrupted; options that are None come from the environment.

    Raises
    ------
    InputError
        If there is no data folder, a setting cannot be used, or the address is taken.
    """
    from service.settings import Settings

    settings = Settings.read(data, **options)
    listener = _listen(settings.host, settings.port)
    import uvicorn

    from service.app import create_app
    from service.http.protocol import TimeoutHttpToolsProtocol

    app = create_app(settings)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        server_header=False,
        lifespan="on",
        http=TimeoutHttpToolsProtocol,
        backlog=512,
    )
    console.print(
        f"serving {settings.data} at http://{shown}:{port}", highlight=False, soft_wrap=True
    )
    server_kind(app)(config).run(sockets=[listener])


def server_kind(app: FastAPI) -> type[uvicorn.Server]:
    """Server that, asked to stop, first turns readiness off and ends the streams it holds.

    uvicorn then closes its sockets, lets requests finish for some seconds and shuts the
    application down, which gives running jobs back to the queue with the steps they have.
    """
    import uvicorn

    class Draining(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            services = getattr(app.state, "services", None)
            if services is not None:
                services.accepting = False
            super().handle_exit(sig, frame)

    return Draining


def check_port(host: str, port: int) -> None:
    """Make sure that nobody listens there yet, before hours of work depend on it.

    Raises
    ------
    InputError
        If the address is taken or is none of this machine's.
    """
    _listen(host, port).close()


def _listen(host: str, port: int) -> socket.socket:
    """Bind before anything else starts, so that a taken port is one clear line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InputError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            field="--port",
            hint="choose another --port, or 0 for a free one",
        ) from error
    return listener
