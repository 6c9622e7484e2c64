"""Transfers over HTTP: exact byte ranges, retried with backoff, resumed, checked by length.

A range is written to a file beside its target and moved there when all of its bytes have arrived,
so a file that exists is whole. A transfer that breaks off goes on at the byte where it stopped, in
this process or in a later one.
"""

from __future__ import annotations

import re
import time as clock
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pear import __version__
from pear.errors import InputError

_BLOCK: Final = 1 << 14  # what is lost when a connection breaks off
_RETRIED: Final = (408, 429, 500, 502, 503, 504)
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class MissingError(OSError):
    """A server has nothing at an address (404, or 403 from an object store)."""


@dataclass(frozen=True)
class ByteRange:
    """Bytes of a remote file.

    Attributes
    ----------
    url
        Address of the file.
    offset, length
        First byte and number of bytes.
    """

    url: str
    offset: int
    length: int

    @property
    def last(self) -> int:
        """Offset of the last byte."""
        return self.offset + self.length - 1


@dataclass(frozen=True)
class TransferOptions:
    """How a server is asked.

    Attributes
    ----------
    tries
        Attempts for each request, and for each range without a new byte.
    backoff_seconds
        Wait after the first failed attempt; doubled after each other one.
    timeout_seconds
        Longest silence of a server.
    """

    tries: int = 6
    backoff_seconds: float = 1.0
    timeout_seconds: float = 60.0


@dataclass
class Transfer:
    """A session with one server.

    Attributes
    ----------
    options
        Attempts, waits and time limits.
    received
        Called with the number of bytes of each block that arrives.
    fetched
        Bytes received so far, those of indexes included.
    """

    options: TransferOptions = field(default_factory=TransferOptions)
    received: Callable[[int], object] = lambda _: None
    fetched: int = 0

    def __post_init__(self) -> None:
        retry = Retry(
            total=self.options.tries - 1,
            backoff_factor=self.options.backoff_seconds,
            status_forcelist=_RETRIED,
            respect_retry_after_header=True,
            raise_on_status=False,
        )
        self.session = requests.Session()
        self.session.headers["User-Agent"] = f"pear-weather/{__version__}"
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(max_retries=retry))

    def exists(self, url: str) -> bool:
        """Return whether a server has a file; raise OSError if it does not respond."""
        try:
            self._check(self._request("HEAD", url), url)
        except MissingError:
            return False
        return True

    def size(self, url: str) -> int:
        """Return the length of a remote file in bytes.

        Parameters
        ----------
        url
            Address of the file.

        Returns
        -------
        int
            Its length.

        Raises
        ------
        OSError
            If the server does not respond or tells no length.
        """
        response = self._request("HEAD", url)
        self._check(response, url)
        length = response.headers.get("Content-Length", "")
        if not length.isdigit():
            raise OSError(f"{url}: the server does not tell the length")
        return int(length)

    def read_text(self, url: str) -> str:
        """Return a small text file; raise MissingError or OSError if there is none."""
        response = self._request("GET", url)
        self._check(response, url)
        self.fetched += len(response.content)
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and "Content-Encoding" not in response.headers:
            got = len(response.content)
            if got != int(announced):
                raise OSError(f"{url} is cut short: {got} of {announced} bytes")
        return response.text

    def fetch(self, wanted: ByteRange, target: Path) -> None:
        """Write a range of a remote file to a file, unless it is there already.

        An InputError says that the server answers with other bytes than were asked for, a
        MissingError that it has no such file.

        Parameters
        ----------
        wanted
            The range.
        target
            Path of the file; ``TARGET.part`` holds what has arrived so far.

        Raises
        ------
        OSError
            If the server does not respond after all attempts.
        """
        if target.exists():
            return
        part = target.with_name(target.name + ".part")
        idle = 0
        while (have := part.stat().st_size if part.exists() else 0) < wanted.length:
            try:
                self._continue(wanted, part, have)
            except requests.RequestException as error:
                have_now = part.stat().st_size if part.exists() else 0
                idle = 0 if have_now > have else idle + 1
                if idle >= self.options.tries:
                    raise OSError(f"{wanted.url} breaks off: {_reason(error)}") from error
                clock.sleep(self.options.backoff_seconds * 2**idle)
        part.rename(target)  # checked again as GRIB before use, so it need not be synced

    def _continue(self, wanted: ByteRange, part: Path, have: int) -> None:
        """Append what is missing of a range; whatever arrives before a fault is kept."""
        first = wanted.offset + have
        headers = {"Range": f"bytes={first}-{wanted.last}", "Accept-Encoding": "identity"}
        with self._request("GET", wanted.url, headers=headers, stream=True) as response:
            self._check(response, wanted.url)
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if response.status_code != 206 or found is None:
                raise InputError(
                    f"{wanted.url}: the server ignores byte ranges (status {response.status_code})",
                    field="--mirror",
                    hint="use another mirror",
                )
            if (int(found[1]), int(found[2])) != (first, wanted.last):
                raise InputError(
                    f"{wanted.url}: asked for bytes {first}-{wanted.last}, the server sends "
                    f"{found[1]}-{found[2]}: the file is shorter than its index says",
                    field="--time",
                    hint="it may still be written: try again later",
                )
            left = wanted.length - have
            with part.open("ab") as file:
                for block in response.iter_content(_BLOCK):
                    kept = block[:left]
                    file.write(kept)
                    left -= len(kept)
                    self.fetched += len(kept)
                    self.received(len(kept))
            if left > 0:
                raise requests.ConnectionError(f"{left} bytes are missing")

    def _request(
        self, method: str, url: str, headers: dict[str, str] | None = None, *, stream: bool = False
    ) -> requests.Response:
        try:
            return self.session.request(
                method,
                url,
                headers=headers,
                stream=stream,
                timeout=self.options.timeout_seconds,
                allow_redirects=True,
            )
        except requests.RequestException as error:
            if stream:
                raise  # the caller counts attempts of a range
            raise OSError(f"{url} does not respond: {_reason(error)}") from error

    @staticmethod
    def _check(response: requests.Response, url: str) -> None:
        # Object stores that do not list their contents answer 403 where a file is missing.
        if response.status_code in (403, 404):
            raise MissingError(url)
        if response.status_code >= 400:
            raise OSError(f"{url} answers {response.status_code} {response.reason}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
