"""Addresses such as ``s3://bucket/x.nc``: file systems for them, and errors in one line.

Credentials come from the environment of the provider or from fsspec's configuration
(``~/.config/fsspec/conf.json``). A public bucket needs none: where there are none, or they do not
fit, the bucket is asked without.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from pear.errors import InputError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

EXTRAS: Final = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
}
"""Extra of PEAR that reads a scheme."""
_ANONYMOUS: Final[Mapping[str, dict[str, object]]] = {
    "s3": {"anon": True},
    "s3a": {"anon": True},
    "gs": {"token": "anon"},
    "gcs": {"token": "anon"},
    "az": {"anon": True},
    "abfs": {"anon": True},
    "abfss": {"anon": True},
}
_GOOGLE_KEYS: Final = ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "GOOGLE_API_KEY")
_USER: Final = re.compile(r"([a-z0-9+.-]*)://([^/\s'\"@]*)@", re.IGNORECASE)
_QUERY: Final = re.compile(r"(://[^\s?'\"]*)\?[^\s'\")]*")
_SILENCE_SECONDS: Final = 60.0
_Answer = TypeVar("_Answer", covariant=True)


class RemoteError(InputError):
    """An address has nothing, refuses access, or answers with something else."""


def is_address(text: str) -> bool:
    """Return whether a text is an address and not a path.

    Returns
    -------
    bool
        True for an address.

    Examples
    --------
    >>> is_address("s3://bucket/era5.zarr"), is_address("era5.zarr")
    (True, False)
    """
    return "://" in text


def without_secrets(text: str) -> str:
    """Return a text without the user names, passwords and signatures of its addresses.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> without_secrets("403 at https://me:word@host/x.nc?X-Amz-Signature=6f")
    '403 at https://host/x.nc'
    """
    return _QUERY.sub(r"\1", _USER.sub(_without_user, text))


def _without_user(found: re.Match[str]) -> str:
    scheme, user = found[1], found[2]
    # What stands there in an address of Azure is a container: abfss://container@account/path.
    if scheme.lower() in ("abfs", "abfss") and ":" not in user:
        return found[0]
    return f"{scheme}://"


def storage_options(address: str, *, anonymous: bool = False) -> dict[str, Any]:
    """Return the options of fsspec for an address, beside those of its configuration.

    Parameters
    ----------
    address
        The address.
    anonymous
        Whether to ask without credentials, as public buckets allow.

    Returns
    -------
    dict
        Options of the file system.
    """
    scheme = urlsplit(address).scheme
    options: dict[str, Any] = {"use_listings_cache": False}
    if anonymous:
        options |= _ANONYMOUS.get(scheme, {})
    if scheme in ("gs", "gcs"):
        # gcsfs would ask by gRPC for the kind of each bucket, which takes long without a key.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    if scheme in ("http", "https"):
        from aiohttp import ClientTimeout
        from fsspec.config import conf

        own = {**conf.get("http", {}), **conf.get("https", {})}
        timeout = ClientTimeout(total=None, connect=_SILENCE_SECONDS, sock_read=_SILENCE_SECONDS)
        options["client_kwargs"] = {
            "timeout": timeout,
            "trust_env": True,  # proxies and ~/.netrc
            **own.get("client_kwargs", {}),
        }
        options["headers"] = {"Accept-Encoding": "identity", **own.get("headers", {})}
    return options


def impatient_options(address: str) -> dict[str, Any]:
    """Return options with which a client of S3 gives up early, beside those of the user.

    Returns
    -------
    dict
        Options of fsspec; none for other schemes.

    Examples
    --------
    >>> sorted(impatient_options("s3://bucket/a")["config_kwargs"])
    ['connect_timeout', 'read_timeout', 'retries']
    >>> impatient_options("file:///data")
    {}
    """
    if urlsplit(address).scheme not in ("s3", "s3a"):
        return {}
    from fsspec.config import conf

    own = {**conf.get("s3", {}), **conf.get("s3a", {})}.get("config_kwargs", {})
    limits = {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 1}}
    return {"config_kwargs": {**limits, **own}}


def open_filesystem(
    address: str, *, anonymous: bool = False, **options: object
) -> tuple[AbstractFileSystem, str]:
    """Return the file system of an address, and the path in it.

    Parameters
    ----------
    address
        The address.
    anonymous
        Whether to ask without credentials.
    **options
        Further options of the file system.

    Returns
    -------
    tuple
        File system of fsspec, and path.

    Raises
    ------
    RemoteError
        If the scheme is unknown, or needs a package that is not installed, or the address names
        neither host nor bucket.
    """
    require_host(address)
    shown, scheme = without_secrets(address), urlsplit(address).scheme
    try:
        from fsspec.core import url_to_fs

        given = storage_options(address, anonymous=anonymous) | options
        filesystem, path = url_to_fs(address, **given)
    except ImportError as error:
        extra = EXTRAS.get(scheme, "pipelines")
        raise RemoteError(
            f"{shown} needs a package that is not installed: {error.name or error}",
            field="address",
            hint=f'pip install "pear-weather[{extra}]"',
        ) from error
    except ValueError as error:
        raise RemoteError(
            f"{shown} has the unknown protocol {scheme}://",
            field="address",
            hint="PEAR reads https://, s3://, gs://, az:// and file://",
        ) from error
    return filesystem, str(path)


def require_host(address: str) -> None:
    """Refuse an address on the web or in object storage that names no server.

    Parameters
    ----------
    address
        The address; other schemes pass.

    Raises
    ------
    RemoteError
        If host or bucket is missing, or is written as no address can be.

    Examples
    --------
    >>> require_host("s3://bucket/era5.zarr")
    >>> require_host("s3:///era5.zarr")
    Traceback (most recent call last):
        ...
    pear.addresses.RemoteError: s3:///era5.zarr names no bucket; write s3://BUCKET/PATH
    """
    shown = without_secrets(address)
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RemoteError(f"{shown} is not an address: {error}", field="address") from error
    if parts.scheme in (*EXTRAS, "http", "https") and not host:
        what = "host" if parts.scheme in ("http", "https") else "bucket"
        raise RemoteError(
            f"{shown} names no {what}",
            field="address",
            hint=f"write {parts.scheme}://{what.upper()}/PATH",
        )


class Question(Protocol[_Answer]):
    """Asks a server, with or without credentials."""

    def __call__(self, *, anonymous: bool) -> _Answer:
        """Return the answer, or raise an error of the client."""
        ...


def with_access(address: str, ask: Question[_Answer]) -> tuple[_Answer, bool]:
    """Ask a server with the user's credentials, and without them if that is refused.

    Raises as :func:`require_host` before the server is asked.

    Parameters
    ----------
    address
        The address.
    ask
        The question.

    Returns
    -------
    tuple
        The answer, and whether it was given without credentials.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the address.
    """
    require_host(address)
    scheme = urlsplit(address).scheme
    if scheme not in _ANONYMOUS or _is_set(scheme):
        return ask(anonymous=False), False
    if scheme in ("gs", "gcs") and not _has_google_key():
        return ask(
            anonymous=True
        ), True  # to look for credentials of a machine takes long elsewhere
    try:
        return ask(anonymous=False), False
    except Exception as refused:
        if not (isinstance(refused, PermissionError) or _lacks_credentials(refused)):
            raise
        try:
            return ask(anonymous=True), True
        except FileNotFoundError:
            raise
        except Exception:  # the first answer says more
            raise refused from None


def _is_set(scheme: str) -> bool:
    """Return whether the user's configuration says how to be known to a provider."""
    from fsspec.config import conf

    own = {**conf.get(scheme, {}), **conf.get({"gcs": "gs", "s3a": "s3"}.get(scheme, scheme), {})}
    return bool({"anon", "token", "key", "account_key", "connection_string"} & set(own))


def _has_google_key() -> bool:
    folder = Path.home() / ".config" / "gcloud"
    return any(os.environ.get(name) for name in _GOOGLE_KEYS) or folder.is_dir()


def _lacks_credentials(error: BaseException) -> bool:
    return "credential" in f"{type(error).__name__} {error}".lower()


def status_of(error: BaseException | None) -> int | None:
    """Return the HTTP status of an error of any client, or of what caused it."""
    while error is not None and "Payload" not in type(error).__name__:  # cut short, whatever it had
        for name in ("status", "code", "status_code"):
            value = getattr(error, name, None)
            if isinstance(value, int) and 100 <= value < 600:
                return value
        error = error.__cause__ or error.__context__
    return None


def is_transient(error: BaseException) -> bool:
    """Return whether the same question may be answered later."""
    if isinstance(error, InputError | ImportError | PermissionError) or _lacks_credentials(error):
        return False
    status = status_of(error)
    if status is not None:
        return status in (408, 425, 429) or status >= 500
    return not isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)


@contextmanager
def reading(address: str) -> Iterator[None]:
    """Turn the errors of a storage client into one line that holds no secret.

    An InputError passes unchanged.

    Parameters
    ----------
    address
        What is read.

    Raises
    ------
    RemoteError
        If there is nothing at the address, or access is refused.
    OSError
        If the server fails or does not respond.
    """
    shown = without_secrets(address)
    try:
        yield
    except Exception as error:  # every client has errors of its own kinds
        if isinstance(error, InputError):
            raise
        status = status_of(error)
        if isinstance(error, PermissionError) or status in (401, 403) or _lacks_credentials(error):
            raise RemoteError(
                f"{shown}: the server refuses access" + (f" ({status})" if status else ""),
                field="address",
                hint="set the credentials of the provider or those in ~/.config/fsspec/conf.json",
            ) from error
        if status in (404, 410) or (status is None and isinstance(error, FileNotFoundError)):
            if status is None and (reason := _connection_fault(error)) is not None:
                raise OSError(f"{shown} does not respond: {reason}") from error
            raise RemoteError(f"{shown}: no such file or bucket", field="address") from error
        if status is not None:
            raise OSError(f"{shown}: the server answers {status}") from error
        reason = " ".join(without_secrets(str(error)).split())[:200]
        raise OSError(f"{shown}: {type(error).__name__}: {reason}".rstrip(": ")) from error


def _connection_fault(error: BaseException | None) -> str | None:
    """Return why a server was not reached; fsspec calls that a missing file."""
    while error is not None:
        if type(error).__name__.startswith("Client") or isinstance(error, TimeoutError):
            return " ".join(without_secrets(str(error)).split())[:200] or type(error).__name__
        error = error.__cause__
    return None
