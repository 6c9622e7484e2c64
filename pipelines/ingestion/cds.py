"""ERA5 from the Climate Data Store, by ECMWF's own client and with the user's own key.

Ids of submitted requests and downloaded files are kept in a folder, so that an interrupted
ingestion neither submits a request nor downloads a file twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import numpy as np
import requests
from ecmwf.datastores import Client
from ecmwf.datastores.config import read_config
from ecmwf.datastores.processing import DownloadError, ProcessingFailedError

from pear.errors import InputError
from pear.variables import BY_NAME, LEVELS, Layout, Variable
from pipelines.storage.atomic import write_atomically

URL: Final = "https://cds.climate.copernicus.eu/api"
SINGLE_LEVELS: Final = "reanalysis-era5-single-levels"
PRESSURE_LEVELS: Final = "reanalysis-era5-pressure-levels"
_RC_FILES: Final = ("~/.cdsapirc", "~/.ecmwfdatastoresrc")
_MAXIMUM_TRIES: Final = 6
_RETRY_AFTER_SECONDS: Final = 10.0
_ACTIVE_REQUESTS: Final = 4
_PARTIAL: Final = ".download"  # multiurl knows this suffix only


@dataclass(frozen=True)
class Account:
    """Address of the data store and personal access token, which is not shown."""

    url: str
    key: str = field(repr=False)

    @classmethod
    def from_environment(cls) -> Account:
        """Return the account in CDSAPI_URL and CDSAPI_KEY or in the user's ``~/.cdsapirc``.

        Returns
        -------
        Account
            With the public address unless another is given.

        Raises
        ------
        InputError
            If there is no key.
        """
        files = [os.environ["CDSAPI_RC"]] if "CDSAPI_RC" in os.environ else _RC_FILES
        config: dict[str, str] = {}
        for name in files:
            with suppress(FileNotFoundError):
                config = read_config(name) | config
        key = os.environ.get("CDSAPI_KEY") or config.get("key")
        if not key:
            raise InputError(
                "no key for the Climate Data Store",
                field="--source",
                hint="create an account at cds.climate.copernicus.eu and write `url:` and `key:` "
                "to ~/.cdsapirc, or set CDSAPI_KEY",
            )
        url = os.environ.get("CDSAPI_URL") or config.get("url") or URL
        return cls(url.rstrip("/"), key)


@dataclass(frozen=True)
class Request:
    """Request for data of one dataset.

    Attributes
    ----------
    dataset : str
        Name of the dataset.
    inputs : mapping
        The request, as shown on the page of the dataset.
    """

    dataset: str
    inputs: Mapping[str, str | list[str]]

    @property
    def name(self) -> str:
        """A name that is the same for equal requests in any process."""
        text = json.dumps([self.dataset, self.inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def month_requests(
    year: int,
    month: int,
    days: Sequence[int],
    hours: Sequence[int],
    levels: Sequence[int] = LEVELS,
    data_format: str = "grib",
    also: Sequence[str] = (),
) -> list[Request]:
    """Return the requests for the published variables in one month, and for others.

    Parameters
    ----------
    year, month : int
        The month.
    days, hours : sequence of int
        Days of the month and hours of the day, UTC.
    levels : sequence of int
        Pressure levels in hPa.
    data_format : {"grib", "netcdf"}
        Format of the files.
    also : sequence of str
        Canonical names of further variables.

    Returns
    -------
    list of Request
        One for the surface variables and one for the others; more for sums, of which the data store
        has those over 1 h: all hours of the days, and those of the day before that they begin in.
    """
    rows = [BY_NAME[name] for name in dict.fromkeys((*Layout.default().names, *also))]
    common: dict[str, str | list[str]] = {
        "product_type": ["reanalysis"],
        "year": [f"{year:04d}"],
        "month": [f"{month:02d}"],
        "day": [f"{day:02d}" for day in days],
        "time": [f"{hour:02d}:00" for hour in hours],
        "data_format": data_format,
        "download_format": "unarchived",
    }
    instants = [row for row in rows if row.accumulated_hours is None]
    surface = [name_in_store(row) for row in instants if row.kind == "surface"]
    upper = [name_in_store(row) for row in instants if row.kind == "upper"]
    at_levels = {"variable": upper, "pressure_level": [str(p) for p in levels]}
    return [
        Request(SINGLE_LEVELS, {"variable": surface, **common}),
        Request(PRESSURE_LEVELS, {**at_levels, **common}),
        *_sum_requests(
            [row for row in rows if row.accumulated_hours is not None],
            [np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "h") for day in days],
            hours,
            data_format,
        ),
    ]


def name_in_store(row: Variable) -> str:
    """Return the name of a variable in the Climate Data Store: its first one of that dialect.

    Returns
    -------
    str
        The canonical name if the table has no other.
    """
    return next(iter(row.dialects.get("cds", ())), row.name)


def _sum_requests(
    rows: Sequence[Variable], days: Sequence[np.datetime64], hours: Sequence[int], data_format: str
) -> list[Request]:
    """Return the requests for all sums over 1 h that make those of some hours, by month."""
    found = []
    for row in rows:
        back = np.arange(row.accumulated_hours or 1)
        ends = np.array([day + np.timedelta64(hour, "h") for day in days for hour in hours])
        needed = np.unique(ends[:, None] - back.astype("timedelta64[h]"))
        # A request is a product of days and hours: one for all days with the same hours.
        by_day: dict[str, list[str]] = {}
        for text in needed.astype(str).tolist():
            by_day.setdefault(text[:10], []).append(f"{text[11:13]}:00")
        groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
        for day, clock in by_day.items():
            groups.setdefault((day[:4], day[5:7], tuple(clock)), []).append(day[8:10])
        for (year, month, times), of_month in groups.items():
            inputs: dict[str, str | list[str]] = {
                "variable": [name_in_store(row)],
                "product_type": ["reanalysis"],
                "year": [year],
                "month": [month],
                "day": of_month,
                "time": list(times),
                "data_format": data_format,
                "download_format": "unarchived",
            }
            found.append(Request(SINGLE_LEVELS, inputs))
    return found


class DataStore:
    """Downloads from the Climate Data Store that continue where an earlier process stopped.

    Parameters
    ----------
    account : Account
        Address and key.
    folder : Path
        Where ids of requests and files are kept.
    log : callable, optional
        Receives messages of the data store, such as a new status of a request.
    """

    def __init__(
        self, account: Account, folder: Path, log: Callable[[str], object] | None = None
    ) -> None:
        self._account, self._folder, self._log = account, folder, log
        folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def _client(self) -> Client:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # no news from the data store
            return Client(
                self._account.url,
                self._account.key,
                progress=False,
                maximum_tries=_MAXIMUM_TRIES,
                retry_after=_RETRY_AFTER_SECONDS,
                session=Session(self._account.url),
                log_callback=self._receive_log,
            )

    def _receive_log(self, level: int, message: str, *_: object) -> None:
        if self._log is not None and level >= logging.INFO:
            self._log(message)

    def fetch(self, wanted: Sequence[Request]) -> Iterator[tuple[Request, Path]]:
        """Download requests in their order, while the next ones wait at the data store.

        An InputError says that the data store refuses a request or fails to produce its data, an
        OSError that it does not respond after several attempts.

        Parameters
        ----------
        wanted : sequence of Request
            What to download.

        Yields
        ------
        tuple of Request and Path
            Each request and its file.
        """
        todo, active = deque(wanted), deque[Request]()
        while todo or active:
            while todo and len(active) < _ACTIVE_REQUESTS:
                request = todo.popleft()
                if not self.path(request).exists():
                    with self._explained_errors(request):
                        self._submit(request)
                active.append(request)
            request = active.popleft()
            if not self.path(request).exists():
                with self._explained_errors(request):
                    self._download(request)
            yield request, self.path(request)

    def path(self, request: Request) -> Path:
        """Return the path of the file of a request."""
        suffix = "grib" if request.inputs["data_format"] == "grib" else "nc"
        return self._folder / f"{request.name}.{suffix}"

    def discard(self, request: Request) -> None:
        """Delete the file and the id of a request."""
        self.path(request).unlink(missing_ok=True)
        self._id_path(request).unlink(missing_ok=True)

    def _id_path(self, request: Request) -> Path:
        return self._folder / f"{request.name}.job"

    def _submit(self, request: Request) -> str:
        """Return the id of a request, which is submitted unless it was before."""
        path = self._id_path(request)
        if not path.is_file():
            remote = self._client.submit(request.dataset, dict(request.inputs))
            write_atomically(path, remote.request_id.encode())
        return path.read_text().rpartition("/")[2]

    def _download(self, request: Request) -> None:
        """Wait for the result of a request and download it; a partial download is continued."""
        results = self._client.get_results(self._submit(request))
        _require_secure(results.location, self._account.url)
        target = self.path(request)
        partial = target.with_name(target.name + _PARTIAL)
        if partial.exists() and partial.stat().st_size >= results.content_length:
            partial.unlink()
        results.download_options["download_file_extension"] = _PARTIAL
        try:
            results.download(str(target))
        except DownloadError as error:
            target.unlink(missing_ok=True)
            raise OSError(f"{request.dataset}: {error}") from error

    @contextmanager
    def _explained_errors(self, request: Request) -> Iterator[None]:
        """Turn errors of the client into errors of one line."""
        try:
            yield
        except (ProcessingFailedError, requests.HTTPError) as error:
            code = error.response.status_code if isinstance(error, requests.HTTPError) else 400
            if code >= 500 or code in (408, 429):
                raise OSError(f"the Climate Data Store does not respond ({code})") from error
            if code in (400, 404):  # failed or expired: the next run submits it again
                self._id_path(request).unlink(missing_ok=True)
            raise InputError(
                f"the Climate Data Store refused the request for {request.dataset}: "
                + " ".join(str(error).split()),
                field="--source",
            ) from error
        except requests.RequestException as error:
            raise OSError(f"the Climate Data Store does not respond: {error}") from error


class Session(requests.Session):
    """Session that sends the key to the data store only, and never over plain HTTP instead.

    Parameters
    ----------
    url : str
        Address of the data store.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, **kwargs: object) -> requests.Response:
        """Send a request, which may be a redirection."""
        address = str(request.url)
        _require_secure(address, self._url)
        if urlsplit(address)[:2] != urlsplit(self._url)[:2]:
            request.headers.pop("PRIVATE-TOKEN", None)
        return super().send(request, **kwargs)  # type: ignore[arg-type]


def _require_secure(address: str, store: str) -> None:
    """Refuse an address that is not on the web, or less secure than the data store."""
    scheme = urlsplit(address).scheme
    if scheme != "https" and not (scheme == urlsplit(store).scheme == "http"):
        raise InputError(
            f"the Climate Data Store refers to the insecure address {address}", field="--source"
        )
