"""A folder in object storage, or anywhere else that fsspec writes to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from fsspec.core import url_to_fs

from pear.addresses import EXTRAS, impatient_options, status_of, without_secrets
from pear.errors import InputError

_BLOCK: Final = 1 << 20
_MD5: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class RemoteFile:
    """Size and MD5 digest of a remote file; the digest is None where the server tells none."""

    size: int
    md5: str | None


@dataclass(frozen=True)
class Remote:
    """A remote folder.

    Attributes
    ----------
    address
        Address of the folder, without a slash at its end.
    filesystem
        File system of fsspec.
    root
        Path of the folder in it.
    """

    address: str
    filesystem: Any
    root: str

    @classmethod
    def open(cls, address: str, *, impatient: bool = False) -> Remote:
        """Open the folder at an address; nothing is asked of the server yet.

        Credentials are those of fsspec's configuration or of the provider's own environment
        variables; an address that holds some is refused, since addresses are shown and stored.

        Parameters
        ----------
        address
            Such as ``s3://bucket/prefix``.
        impatient
            Whether a server that does not respond is given up within seconds.

        Returns
        -------
        Remote

        Raises
        ------
        InputError
            If it is not an address, holds credentials, or needs a package that is not installed.
        """
        parts = urlsplit(address)
        if "://" not in address or not (parts.netloc or parts.path):
            raise InputError(
                f"{address!r} is not an address", field="address", hint="e.g. s3://bucket/prefix"
            )
        if without_secrets(address) != address:
            raise InputError(
                f"the {parts.scheme} address holds credentials",
                field="address",
                hint="set them in the environment or in ~/.config/fsspec/conf.json",
            )
        try:
            options: dict[str, Any] = {"use_listings_cache": False}
            if parts.scheme in ("file", "local"):
                options["auto_mkdir"] = True
            if impatient:
                options |= impatient_options(address)
            filesystem, root = url_to_fs(address, **options)
        except ImportError as error:
            extra = EXTRAS.get(parts.scheme, "")
            raise InputError(
                f"{parts.scheme}:// needs a package that is not installed: {error.name or error}",
                field="address",
                hint=f'pip install "pear-weather[{extra}]"' if extra else None,
            ) from error
        except ValueError as error:
            raise InputError(
                f"unknown protocol {parts.scheme}://",
                field="address",
                hint="PEAR publishes to s3://, gs://, az:// and file://",
            ) from error
        return cls(address.rstrip("/"), filesystem, str(root).rstrip("/"))

    def path(self, name: str) -> str:
        """Return the path of a file in the folder."""
        return f"{self.root}/{name}"

    def list_files(self, folder: str) -> dict[str, RemoteFile]:
        """Return the files below a folder by their path relative to it."""
        base = self.path(folder).rstrip("/")
        with explained(self.address):
            try:
                found = self.filesystem.find(base, detail=True)
            except FileNotFoundError:
                return {}
        return {
            path[len(base) + 1 :]: RemoteFile(int(info["size"]), _md5_of(info))
            for path, info in found.items()
        }

    def put(self, source: Path, name: str) -> None:
        """Upload a file as :meth:`put_bytes` does bytes."""
        self.put_bytes(source.read_bytes(), name)

    def put_bytes(self, data: bytes, name: str) -> None:
        """Upload bytes, and compare what arrived.

        Parameters
        ----------
        data
            The bytes.
        name
            Path in the folder.

        Raises
        ------
        OSError
            If the server fails, or what it holds afterwards differs.
        """
        path = self.path(name)
        with explained(self.address):
            self.filesystem.pipe_file(path, data)
            info = self.filesystem.info(path)
        arrived = RemoteFile(int(info["size"]), _md5_of(info) or self.digest(name))
        if arrived != RemoteFile(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest()):
            raise OSError(f"{self.address}/{name} differs from what was sent")

    def digest(self, name: str) -> str:
        """Return the MD5 digest of a file by reading it."""
        digest = hashlib.md5(usedforsecurity=False)
        with explained(self.address), self.filesystem.open(self.path(name), "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return a JSON document, or None if there is none."""
        text = self.read_bytes(name)
        with explained(self.address):
            document: dict[str, Any] | None = None if text is None else json.loads(text)
        return document

    def read_bytes(self, name: str) -> bytes | None:
        """Return the bytes of a file, or None if there is none."""
        with explained(self.address):
            try:
                return bytes(self.filesystem.cat_file(self.path(name)))
            except FileNotFoundError:
                return None

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with explained(self.address), suppress(FileNotFoundError):
            self.filesystem.rm_file(self.path(name))


def md5_of(path: Path) -> str:
    """Return the MD5 digest of a local file."""
    with path.open("rb") as file:
        return hashlib.file_digest(
            file,
            lambda: hashlib.md5(usedforsecurity=False),
        ).hexdigest()


def _md5_of(info: Mapping[str, Any]) -> str | None:
    """Return the digest that a server tells; that of an S3 upload in parts is not an MD5."""
    tag = str(info.get("ETag") or "").strip('"')
    return tag if _MD5.fullmatch(tag) else None


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn the errors of a storage client into one line that holds no secret."""
    try:
        yield
    except (InputError, KeyboardInterrupt):
        raise
    except FileNotFoundError as error:
        raise InputError(
            f"{address}: no such bucket or folder", field="address", hint="make it first"
        ) from error
    except Exception as error:  # every client has errors of its own kinds
        if isinstance(error, PermissionError) or status_of(error) in (401, 403):
            raise InputError(
                f"{address}: the server refuses access",
                field="address",
                hint="check the credentials and what they may write",
            ) from error
        kind = type(error).__name__
        if "credential" in kind.lower() or "credential" in str(error).lower():
            raise InputError(
                f"{address}: no credentials", field="address", hint="set those of the provider"
            ) from error
        raise OSError(f"{address}: {kind}: {' '.join(str(error).split())[:200]}") from error
