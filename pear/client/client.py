"""A service as a client that waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeVar, Unpack

import xarray as xr

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
    StoreAt,
    Waiting,
)
from pear.client.store import ServedStore
from pear.client.transport import Transport
from pear.progress import ProgressCallback
from pear.store.reader import Chunks, open_served
from pear.typing import DurationLike, TimeLike, TimesLike

T = TypeVar("T")


def connect(
    url: str, key: str | None = None, *, timeout: float = 60.0, patience: float = 60.0
) -> Client:
    """Connect to a service that ``pear serve`` runs.

    Parameters
    ----------
    url
        Its address, such as ``http://127.0.0.1:8000``.
    key
        API key, as ``pear keys add`` prints it; none is needed on the loopback address.
    timeout
        Longest silence of the service, seconds.
    patience
        Longest time that a request is repeated while the service is busy, seconds. How long it
        waits in between is what the service asks for.

    Returns
    -------
    Client
        Connected: the service has answered, and is of a version that this one knows. A service that
        cannot be reached is an :class:`~pear.client.UnavailableError`; an address or a key that
        cannot be one, or a newer major version, an :class:`~pear.errors.InputError`.

    Notes
    -----
    ``with pear.connect(url) as client:`` closes the connections at the end of the block.
    """
    return Client(Server.at(url, key, timeout, patience))


def open_dataset(transport: Transport, store: StoreAt, chunks: Chunks) -> xr.Dataset:
    """Open a store lazily, as :func:`pear.open_forecast` opens one on disk.

    Returns
    -------
    xarray.Dataset
        (time, [prediction_timedelta,] level, cell), read through the client.
    """
    served = ServedStore(transport, store.path, store.params)
    return open_served(served, store.kind, f"{transport.server.url}{store.path}", chunks)


class Client:
    """A service: its runs, models, analyses and scores; :func:`pear.connect` makes one.

    What the service refuses is a :class:`~pear.client.RefusedError`, an InputError with the
    service's reason and remedy; a service that fails or stays busy is an
    :class:`~pear.client.UnavailableError`. Threads may share a client.

    Parameters
    ----------
    server
        The service.
    """

    def __init__(self, server: Server) -> None:
        self._transport, self._operations = Transport(server), Operations(server)
        try:
            self.info: ServiceInfo = self._run(self._operations.info())
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<pear.Client of {self._transport.server.url}, PEAR {self.info.version}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, operation: Operation[T]) -> T:
        return self._transport.run(operation)

    def close(self) -> None:
        """Close the connections; Datasets that were opened can be read no more."""
        self._transport.close()

    def runs(
        self,
        *,
        model: str | None = None,
        status: Status | None = None,
        init: TimeLike | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """Return the runs of the service, newest first.

        Parameters
        ----------
        model
            Only those of the model with this id.
        status
            Only those that are ``queued``, ``running``, ``succeeded``, …
        init
            Only those from this init time, UTC.
        limit
            So many at most (default: all).

        Returns
        -------
        list of Run
            As they are now.
        """
        return self._run(self._operations.runs(model, status, init, limit))

    def run(self, run: RunLike = "latest") -> Run:
        """Return a run as it is now, by its id; ``latest`` is the newest finished one."""
        return self._run(self._operations.run(run))

    def models(self) -> list[ServedModel]:
        """Return the models of the service, newest first."""
        return self._run(self._operations.models())

    def analyses(self) -> list[ServedAnalysis]:
        """Return the analyses of the service with their times, which forecasts start from."""
        return self._run(self._operations.analyses())

    def log(self, run: RunLike) -> list[dict[str, Any]]:
        """Return the log of a run, oldest first: ``at``, ``level``, ``message``, ``details``."""
        return self._run(self._operations.log(run))

    def cancel(self, run: RunLike) -> Run:
        """Cancel a run, at once if it is queued, or else before its next step."""
        return self._run(self._operations.cancel(run))

    def forecast(
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
        """Have the service forecast, and wait for the end; an equal run that exists is returned.

        Parameters
        ----------
        init
            Init time, UTC, of which the service has an analysis.
        lead
            Length, such as ``"10d"``.
        members
            Size of an ensemble (default: a single forecast).
        wait
            False to return at once; a number of seconds to wait so long at most, then a
            TimeoutError.
        progress
            Print the progress on standard error, or call a function after each step.
        cancel_on_interrupt
            Cancel the run if the waiting is interrupted (Ctrl-C); otherwise it goes on.
        **settings
            ``model``, ``variables``, ``analysis``, ``thresholds``, ``quantiles``,
            ``keep_members``, and what else ``POST /v1/forecasts`` takes.

        Returns
        -------
        Run
            That succeeded, or as it is now with ``wait=False``. A run that fails or is cancelled
            is a :class:`~pear.client.RunFailedError` with the service's reason.
        """
        waiting = Waiting(wait, progress, cancel_on_interrupt)
        return self._run(self._operations.forecast(init, lead, members, settings, waiting))

    def open(
        self, run: RunLike = "latest", *, statistic: str | None = None, chunks: Chunks = None
    ) -> xr.Dataset:
        """Open a run lazily, as :func:`pear.open_forecast` opens its store on disk.

        Parameters
        ----------
        run
            A run that succeeded.
        statistic
            Of an ensemble, ``spread``, a quantile (``q90``), probability (``p00``) or member
            (``m03``); default: its mean.
        chunks
            None for lazy reads without dask; ``{}`` or sizes for dask arrays.

        Returns
        -------
        xarray.Dataset
            (time, prediction_timedelta, level, cell), with the accessor ``.pear``; values are
            fetched when they are used, and checked by their checksums.
        """
        store = self._run(self._operations.store_of_run(run, statistic))
        return open_dataset(self._transport, store, chunks)

    def open_analysis(self, name: str, *, chunks: Chunks = None) -> xr.Dataset:
        """Open an analysis of the service lazily, as :func:`pear.open_analysis` does on disk.

        Parameters
        ----------
        name
            One of :meth:`analyses`.
        chunks
            As in :meth:`open`.

        Returns
        -------
        xarray.Dataset
            (time, level, cell).
        """
        store = self._run(self._operations.store_of_analysis(name))
        return open_dataset(self._transport, store, chunks)

    def point(
        self,
        run: RunLike,
        latitude: float | Sequence[float],
        longitude: float | Sequence[float],
        variables: str | Sequence[str] | None = None,
        **selection: Unpack[PointSelection],
    ) -> xr.Dataset:
        """Return the forecast at points, as ``forecast.pear.sel_point`` does locally.

        Parameters
        ----------
        run
            A run that succeeded, its id, or ``"latest"``.
        latitude, longitude
            Degrees north and east: two numbers, or two lists of equal length.
        variables
            Names or aliases, derived ones too (``t2m``, ``z500``, ``10m_wind_speed``); default:
            all surface variables. Variables on levels come at every level that one of them names.
        **selection
            ``levels`` in hPa, ``method`` (``nearest`` or ``bilinear``) and ``statistic``.

        Returns
        -------
        xarray.Dataset
            (time, prediction_timedelta, level, point), float32 to seven digits; without an axis of
            levels at the surface, and without one of points for a single one.
        """
        return self._run(self._operations.point(run, latitude, longitude, variables, selection))

    def map(
        self, run: RunLike, field: str, lead: DurationLike, **options: Unpack[MapOptions]
    ) -> MapImage:
        """Return a map that the service draws.

        Parameters
        ----------
        run
            A run that succeeded, its id, or ``"latest"``.
        field
            Variable and level, such as ``"z500"``.
        lead
            Lead time, such as ``"5d"``.
        **options
            ``projection``, ``longitude``, ``latitude``, ``width``, ``cmap``, ``vmin``, ``vmax``,
            ``difference``, ``isolines``, ``wind``, ``statistic``, ``level``.

        Returns
        -------
        MapImage
            The bytes of a PNG file; notebooks show the picture.
        """
        return self._run(self._operations.map(run, field, lead, options))

    def scores(self, **selection: Unpack[ScoreSelection]) -> xr.Dataset:
        """Return the scores of an evaluation, as :func:`pear.evaluate` returns them.

        Parameters
        ----------
        **selection
            ``evaluation`` (default: the newest), ``model``, ``metric``, ``variable``, ``level``,
            ``region``, ``baseline``; ``by_hour=True``: scores of the forecasts from each hour of
            the day by themselves, of one ``variable``.

        Returns
        -------
        xarray.Dataset
            One variable for each variable of the forecasts, (metric, forecaster, region,
            prediction_timedelta, [level]); by hour, (init_hour, …).
        """
        return self._run(self._operations.scores(selection))

    def evaluate(
        self,
        init_times: TimesLike | None = None,
        *,
        lead: DurationLike = "10d",
        wait: bool | float = True,
        progress: bool | ProgressCallback = False,
        cancel_on_interrupt: bool = False,
        **settings: Unpack[EvaluationSettings],
    ) -> xr.Dataset:
        """Have the service score a model on many init times, and wait for the scores.

        Parameters
        ----------
        init_times
            UTC (default: all that can be verified).
        lead
            Longest lead time.
        wait, progress, cancel_on_interrupt
            As in :meth:`forecast`; without waiting, scores must be there already.
        **settings
            ``model``, ``analysis``, ``climatology``, ``correction``, ``allow_other_climate``.

        Returns
        -------
        xarray.Dataset
            As :meth:`scores`.
        """
        waiting = Waiting(wait, progress, cancel_on_interrupt)
        return self._run(self._operations.evaluate(init_times, lead, settings, waiting))
