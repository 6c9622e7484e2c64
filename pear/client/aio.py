"""The same client in an event loop of asyncio; requests, retries and errors are the same code."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import Any, Self, TypeVar, Unpack

import xarray as xr

from pear.client.client import open_dataset
from pear.client.exchange import Operation, Server
from pear.client.operations import Operations
from pear.client.records import MapImage, Run, ServedAnalysis, ServedModel, ServiceInfo
from pear.client.settings import (
    EvaluationSettings,
    ForecastSettings,
    MapOptions,
    PointSelection,
    RunLike,
    ScoreSelection,
    Status,
    Waiting,
)
from pear.client.transport import AsyncTransport, Transport
from pear.progress import ProgressCallback
from pear.store.reader import Chunks
from pear.typing import DurationLike, TimeLike, TimesLike

T = TypeVar("T")


def connect_async(
    url: str, key: str | None = None, *, timeout: float = 60.0, patience: float = 60.0
) -> AsyncClient:
    """Return a client of a service for ``asyncio``; parameters and errors as :func:`pear.connect`.

    Parameters
    ----------
    url, key, timeout, patience
        As in :func:`pear.connect`.

    Returns
    -------
    AsyncClient
        Not connected yet: ``async with pear.connect_async(url) as client:``, or
        ``client = await pear.connect_async(url)`` and ``await client.close()``.
    """
    return AsyncClient(Server.at(url, key, timeout, patience))


class AsyncClient:
    """A service, for ``asyncio``; :func:`pear.connect_async` makes one.

    Its methods are those of :class:`~pear.client.Client`, each to be awaited. Datasets that it
    opens read in the ordinary, blocking way: ``await dataset.load_async()`` does not block.

    Parameters
    ----------
    server
        The service.
    """

    info: ServiceInfo | None = None

    def __init__(self, server: Server) -> None:
        self._server, self._operations = server, Operations(server)
        self._transport, self._reading = AsyncTransport(server), Transport(server)

    def __repr__(self) -> str:
        version = "not connected" if self.info is None else f"PEAR {self.info.version}"
        return f"<pear.AsyncClient of {self._server.url}, {version}>"

    def __await__(self) -> Generator[Any, None, Self]:
        return self._connect().__await__()

    async def __aenter__(self) -> Self:
        return await self._connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _connect(self) -> Self:
        try:
            self.info = await self._run(self._operations.info())
        except BaseException:
            await self.close()
            raise
        return self

    async def _run(self, operation: Operation[T]) -> T:
        return await self._transport.run(operation)

    async def close(self) -> None:
        """Close the connections; Datasets that were opened can be read no more."""
        self._reading.close()
        await self._transport.close()

    async def runs(
        self,
        *,
        model: str | None = None,
        status: Status | None = None,
        init: TimeLike | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """Return the runs of the service; see :meth:`Client.runs`."""
        return await self._run(self._operations.runs(model, status, init, limit))

    async def run(self, run: RunLike = "latest") -> Run:
        """Return a run as it is now; see :meth:`Client.run`."""
        return await self._run(self._operations.run(run))

    async def models(self) -> list[ServedModel]:
        """Return the models of the service, newest first."""
        return await self._run(self._operations.models())

    async def analyses(self) -> list[ServedAnalysis]:
        """Return the analyses of the service with their times, which forecasts start from."""
        return await self._run(self._operations.analyses())

    async def log(self, run: RunLike) -> list[dict[str, Any]]:
        """Return the log of a run, oldest first: ``at``, ``level``, ``message``, ``details``."""
        return await self._run(self._operations.log(run))

    async def cancel(self, run: RunLike) -> Run:
        """Cancel a run, at once if it is queued, or else before its next step."""
        return await self._run(self._operations.cancel(run))

    async def forecast(
        self,
        init: TimeLike,
        *,
        lead: DurationLike = "10d",
        members: int | None = None,
        wait: bool | float = True,
        progress: bool | ProgressCallback = False,
        cancel_on_interrupt: bool = False,
        **settings: Unpack[ForecastSettings],
    ) -> Run:
        """Have the service forecast, and wait for the end; see :meth:`Client.forecast`.

        With ``cancel_on_interrupt`` the run is cancelled if this task is.

        Parameters
        ----------
        init, lead, members, wait, progress, cancel_on_interrupt, **settings
            As in :meth:`Client.forecast`.

        Returns
        -------
        Run
            That succeeded, or as it is now with ``wait=False``.
        """
        waiting = Waiting(wait, progress, cancel_on_interrupt)
        return await self._run(self._operations.forecast(init, lead, members, settings, waiting))

    async def open(
        self, run: RunLike = "latest", *, statistic: str | None = None, chunks: Chunks = None
    ) -> xr.Dataset:
        """Open a run lazily; see :meth:`Client.open`.

        Parameters
        ----------
        run, statistic, chunks
            As in :meth:`Client.open`.

        Returns
        -------
        xarray.Dataset
            (time, prediction_timedelta, level, cell).
        """
        store = await self._run(self._operations.store_of_run(run, statistic))
        return await asyncio.to_thread(open_dataset, self._reading, store, chunks)

    async def open_analysis(self, name: str, *, chunks: Chunks = None) -> xr.Dataset:
        """Open an analysis of the service lazily; see :meth:`Client.open_analysis`."""
        store = await self._run(self._operations.store_of_analysis(name))
        return await asyncio.to_thread(open_dataset, self._reading, store, chunks)

    async def point(
        self,
        run: RunLike,
        latitude: float | Sequence[float],
        longitude: float | Sequence[float],
        variables: str | Sequence[str] | None = None,
        **selection: Unpack[PointSelection],
    ) -> xr.Dataset:
        """Return the forecast at points; see :meth:`Client.point`."""
        operation = self._operations.point(run, latitude, longitude, variables, selection)
        return await self._run(operation)

    async def map(
        self, run: RunLike, field: str, lead: DurationLike, **options: Unpack[MapOptions]
    ) -> MapImage:
        """Return a map that the service draws; see :meth:`Client.map`."""
        return await self._run(self._operations.map(run, field, lead, options))

    async def scores(self, **selection: Unpack[ScoreSelection]) -> xr.Dataset:
        """Return the scores of an evaluation; see :meth:`Client.scores`."""
        return await self._run(self._operations.scores(selection))

    async def evaluate(
        self,
        init_times: TimesLike | None = None,
        *,
        lead: DurationLike = "10d",
        wait: bool | float = True,
        progress: bool | ProgressCallback = False,
        cancel_on_interrupt: bool = False,
        **settings: Unpack[EvaluationSettings],
    ) -> xr.Dataset:
        """Have the service score a model on many init times; see :meth:`Client.evaluate`.

        Parameters
        ----------
        init_times, lead, wait, progress, cancel_on_interrupt, **settings
            As in :meth:`Client.evaluate`.

        Returns
        -------
        xarray.Dataset
            As :meth:`scores`.
        """
        waiting = Waiting(wait, progress, cancel_on_interrupt)
        return await self._run(self._operations.evaluate(init_times, lead, settings, waiting))
