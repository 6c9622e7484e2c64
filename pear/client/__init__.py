"""Client of a service that ``pear serve`` runs: its runs, Datasets, maps and scores.

:func:`connect` waits for each answer, :func:`connect_async` is for asyncio. Both give what a local
forecast gives: an opened run is the Dataset that :func:`pear.open_forecast` opens from disk.
"""

from pear.client.aio import AsyncClient, connect_async
from pear.client.client import Client, connect
from pear.client.errors import RefusedError, RunFailedError, UnavailableError
from pear.client.records import (
    Evaluation,
    MapImage,
    Progress,
    Run,
    ServedAnalysis,
    ServedModel,
    ServiceInfo,
)

__all__ = [
    "AsyncClient",
    "Client",
    "Evaluation",
    "MapImage",
    "Progress",
    "RefusedError",
    "Run",
    "RunFailedError",
    "ServedAnalysis",
    "ServedModel",
    "ServiceInfo",
    "UnavailableError",
    "connect",
    "connect_async",
]
