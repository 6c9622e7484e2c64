"""ERA5 from the Climate Data Store, with the user's own key.

The store speaks OGC API Processes: a request is submitted as a job, the job is watched until its
result can be downloaded. Jobs and files are remembered in a folder, so that a stopped ingestion
neither asks twice nor downloads twice.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pear.errors import InputError
from pear.variables import LEVELS, Layout
from pipelines.storage.atomic import PARTIAL, write_atomically

URL: Final = "https://cds.climate.copernicus.eu/api"
SINGLE: Final = "reanalysis-era5-single-levels"
PRESSURE: Final = "reanalysis-era5-pressure-levels"
_RC_FILES: Final = ("~/.cdsapirc", "~/.ecmwfdatastoresrc")
_TRIES: Final = 6
_LONGEST_SLEEP: Final = 120.0
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class Account:
    """Address and personal access token; the token is never shown."""

    url: str
    key: str

    def __repr__(self) -> str:
        return f"Account({self.url!r}, key=…)"

    @classmethod
    def found(cls) -> Account:
        """Read it from the environment or from the file that CDS tells its users to make.

        Raises
        ------
        InputError
            If there is no key.
        """
        given: dict[str, str] = {}
        files = [os.environ["CDSAPI_RC"]] if "CDSAPI_RC" in os.environ else list(_RC_FILES)
        for name in files:
            path = Path(name).expanduser()
            if path.is_file():
                for line in path.read_text().splitlines():
                    word, colon, value = line.partition(":")
                    if colon:
                        given.setdefault(word.strip(), value.strip())
        url = os.environ.get("CDSAPI_URL") or given.get("url") or URL
        key = os.environ.get("CDSAPI_KEY") or given.get("key")
        if not key:
            raise InputError(
                "no key for the Climate Data Store",
                field="--source",
                hint="make an account at cds.climate.copernicus.eu and put `url:` and `key:` into "
                "~/.cdsapirc, or set CDSAPI_KEY",
            )
        return cls(url.rstrip("/"), key)


@dataclass(frozen=True)
class Request:
    """What is asked of one dataset.

    Attributes
    ----------
    dataset
        Name of the dataset at CDS.
    inputs
        The request, as the dataset's page shows it.
    """

    dataset: str
    inputs: dict[str, Any]

    @property
    def name(self) -> str:
        """A name for the request that is the same in every process."""
        text = json.dumps([self.dataset, self.inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def month(
    year: int,
    number: int,
    days: Sequence[int],
    hours: Sequence[int],
    levels: Sequence[int] = LEVELS,
    data_format: str = "grib",
) -> list[Request]:
    """Requests for the published variables over days of one month."""
    common = {
        "product_type": ["reanalysis"],
        "year": [f"{year:04d}"],
        "month": [f"{number:02d}"],
        "day": [f"{day:02d}" for day in days],
        "time": [f"{hour:02d}:00" for hour in hours],
        "data_format": data_format,
        "download_format": "unarchived",
    }
    pressure = {
        "variable": list(Layout.default().upper),
        "pressure_level": [str(p) for p in levels],
    }
    return [
        Request(SINGLE, {"variable": list(Layout.default().surface), **common}),
        Request(PRESSURE, {**pressure, **common}),
    ]


class DataStore:
    """A client of the Climate Data Store.

    Parameters
    ----------
    account
        Where and who.
    folder
        Where jobs and files are remembered.
    sleep
        Waits some seconds; tests put their own here.
    """

    def __init__(
        self, account: Account, folder: Path, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.account, self.folder, self.sleep = account, folder, sleep
        folder.mkdir(parents=True, exist_ok=True)

    def fetch(
        self,
        requests: Sequence[Request],
        ahead: int = 4,
        watch: Callable[[str], Any] | None = None,
    ) -> Iterator[tuple[Request, Path]]:
        """Give the file of each request in turn; some requests wait at the store meanwhile.

        Raises
        ------
        InputError
            If the store refuses a request, or fails it.
        OSError
            If the store cannot be reached after several tries.
        """
        todo, running = deque(requests), deque[Request]()
        while todo or running:
            while todo and len(running) < ahead:
                request = todo.popleft()
                if not self.file(request).exists():
                    self._job(request)
                running.append(request)
            request = running.popleft()
            if not self.file(request).exists():
                self._wait(request, watch)
                self._download(request)
            yield request, self.file(request)

    def file(self, request: Request) -> Path:
        """Where the file of a request is kept."""
        ending = "grib" if request.inputs["data_format"] == "grib" else "nc"
        return self.folder / f"{request.name}.{ending}"

    def forget(self, request: Request) -> None:
        """Delete the file of a request that is not needed any more, and the note of its job."""
        self.file(request).unlink(missing_ok=True)
        self._note(request).unlink(missing_ok=True)

    def _note(self, request: Request) -> Path:
        return self.folder / f"{request.name}.job"

    def _job(self, request: Request) -> str:
        """Address of the job of a request, submitted if it is not yet."""
        note = self._note(request)
        if note.is_file():
            return note.read_text()
        path = f"{self.account.url}/retrieve/v1/processes/{request.dataset}/execution"
        answer = self._json("POST", path, {"inputs": request.inputs})
        address = _link(answer, "monitor") or f"{self._jobs}/{answer['jobID']}"
        write_atomically(note, address.encode())
        return address

    @property
    def _jobs(self) -> str:
        return f"{self.account.url}/retrieve/v1/jobs"

    def _wait(self, request: Request, watch: Callable[[str], Any] | None) -> None:
        pause = 1.0
        while True:
            answer = self._json("GET", self._job(request))
            status = str(answer.get("status"))
            if watch is not None:
                watch(f"{request.dataset} {status}")
            if status == "successful":
                return
            if status not in ("accepted", "running"):
                why = self._reason(request, status)
                self._note(request).unlink(missing_ok=True)  # the next run asks anew
                raise InputError(
                    f"the Climate Data Store failed the request for {request.dataset}: {why}",
                    field="--source",
                )
            self.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_SLEEP)

    def _reason(self, request: Request, status: str) -> str:
        try:
            answer = self._json("GET", f"{self._job(request)}/results")
        except (InputError, OSError) as error:
            return f"{status}; {error}"
        return "; ".join(str(answer[k]) for k in ("title", "detail") if k in answer) or status

    def _download(self, request: Request) -> None:
        """Download the result, going on where an earlier try stopped, and check its length."""
        answer = self._json("GET", f"{self._job(request)}/results")
        value = answer["asset"]["value"]
        size = int(value.get("file:size", 0)) or None
        target = self.file(request)
        part = target.with_name(f".{target.name}{PARTIAL}")
        for attempt in range(_TRIES):
            try:
                self._stream(str(value["href"]), part, size)
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                if attempt == _TRIES - 1:
                    raise
            if size is None or (part.exists() and part.stat().st_size == size):
                part.replace(target)
                return
            self.sleep(min(2.0**attempt, _LONGEST_SLEEP))
        raise OSError(f"{request.dataset}: the download ends before its {size} bytes")

    def _stream(self, address: str, part: Path, size: int | None) -> None:
        have = part.stat().st_size if part.exists() else 0
        if size is None or have > size:
            have = 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._open("GET", address, headers=headers) as answer:
            mode = "ab" if have and answer.status == 206 else "wb"
            with part.open(mode) as file:
                while block := answer.read(_BLOCK):
                    file.write(block)

    def _json(self, method: str, address: str, body: Any = None) -> dict[str, Any]:
        """Ask and answer in JSON; what may pass is tried again."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        for attempt in range(_TRIES):
            try:
                with self._open(method, address, data, headers) as answer:
                    document = json.loads(answer.read())
                    return document if isinstance(document, dict) else {}
            except urllib.error.HTTPError as error:
                with error:  # it holds the connection
                    if error.code not in (408, 429) and error.code < 500:
                        raise InputError(_refused(error), field="--source") from error
                last: Exception = error
            except (OSError, ValueError) as error:
                last = error
            if attempt < _TRIES - 1:
                self.sleep(min(2.0**attempt, _LONGEST_SLEEP))
        raise OSError(f"the Climate Data Store does not answer: {last}")

    def _open(
        self,
        method: str,
        address: str,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Open an address; the key goes to the store itself and to no other host."""
        parts, own = urllib.parse.urlsplit(address), urllib.parse.urlsplit(self.account.url)
        if parts.scheme not in ("https", "http") or (own.scheme == "https" != parts.scheme):
            raise InputError(f"the Climate Data Store points to {address}", field="--source")
        send = dict(headers or {})
        if (parts.scheme, parts.netloc) == (own.scheme, own.netloc):
            send["PRIVATE-TOKEN"] = self.account.key
        request = urllib.request.Request(address, data, send, method=method)  # noqa: S310
        return urllib.request.urlopen(request, timeout=60)  # noqa: S310  # the scheme was checked


def _link(answer: dict[str, Any], rel: str) -> str | None:
    for link in answer.get("links", []):
        if link.get("rel") == rel:
            return str(link["href"])
    return None


def _refused(error: urllib.error.HTTPError) -> str:
    """Say in one line what the store said, which is often that a licence must be accepted."""
    try:
        answer = json.loads(error.read())
        said = "; ".join(str(answer[k]) for k in ("title", "detail") if k in answer)
    except (ValueError, OSError, TypeError):
        said = ""
    words = " ".join((said or str(error.reason)).split())
    return f"the Climate Data Store refuses the request ({error.code}): {words}"
