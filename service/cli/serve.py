"""``pear serve``: the API and the dashboard of a data folder."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer
import uvicorn
from fastapi import FastAPI

from pear.errors import InputError
from service.cli.console import console
from service.cli.options import Device, OptionalData, Scheduler

_DRAIN_SECONDS = 20


def serve(
    *,
    data: OptionalData = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, metavar="PORT", help="Port; 0 chooses a free one (default: 8000)."
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Address to bind (default: 127.0.0.1).")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=64, metavar="N", help="Processes that run the model (default: 1)."),
    ] = None,
    device: Device = None,
    scheduler: Scheduler = None,
    trusted_proxies: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Addresses and networks whose X-Forwarded-For is believed (default: none).",
        ),
    ] = None,
    log: Annotated[
        Literal["debug", "info", "warning"] | None,
        typer.Option(metavar="LEVEL", help="Log JSON lines at this level: debug, info or warning."),
    ] = None,
) -> None:
    """Serve forecasts, maps, scores and the dashboard until interrupted.

    Each option can also be set in the environment, e.g. PEAR_PORT, PEAR_HOST, PEAR_WORKERS.

    Examples
    --------
    $ pear serve --data pear-data
    $ pear serve --data pear-data --host 0.0.0.0 --port 80 --workers 2
    """
    if log is not None:
        from pipelines.logging import configure

        configure(log)
    from pipelines.tracing import configure_from_environment

    configure_from_environment()
    run_server(
        data,
        host=host,
        port=port,
        workers=workers,
        scheduler=scheduler,
        device=device,
        trusted_proxies=trusted_proxies,
    )


def run_server(data: Path | None, **options: str | int | None) -> None:
    """Serve a data folder until interrupted; options that are None come from the environment."""
    from service.settings import Settings
    from service.workers.memory import limit_arenas

    limit_arenas()
    settings = Settings.read(data, **options)
    listener = _listen(settings.host, settings.port)
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
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        http=TimeoutHttpToolsProtocol,
        backlog=512,
    )
    console.print(
        f"serving {settings.data} at http://{shown}:{port}", highlight=False, soft_wrap=True
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again that it has handled
        server_kind(app)(config).run(sockets=[listener])
    console.print("stopped; running jobs are queued again with their completed steps")


def server_kind(app: FastAPI) -> type[uvicorn.Server]:
    """Return a server class that reports not ready, and ends event streams, when it must stop."""
    # uvicorn then closes its sockets, lets requests finish for some seconds and shuts the
    # application down, which returns running jobs to the queue with their completed steps.

    class Draining(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            services = getattr(app.state, "services", None)
            if services is not None:
                services.accepting = False
            super().handle_exit(sig, frame)

    return Draining


def check_port(host: str, port: int) -> None:
    """Raise InputError unless the address can be bound."""
    _listen(host, port).close()


def _listen(host: str, port: int) -> socket.socket:
    """Bind a socket first, so that an address in use is reported before anything starts."""
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
