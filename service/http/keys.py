"""API keys of a service: a JSON file with names, scopes and hashes.

Keys are random, so only a plain SHA-256 digest of each is stored.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pear.errors import InputError
from pipelines.catalog.clients import Clients
from pipelines.faults import describe_fault
from pipelines.logging import logger
from pipelines.storage.data_folder import check_name
from service.http.permissions import Scope


class ApiKey(BaseModel):
    """One API key, without its secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    scope: Scope
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    created_at: str


class NoKeyError(InputError):
    """No key has the name that was given."""


_ROWS: Final = TypeAdapter(Annotated[list[ApiKey], Field(strict=True)])


class KeyFile:
    """API keys of a data folder, in a JSON file that only its owner can read.

    Parameters
    ----------
    path
        The file; a missing one holds no keys.
    clients
        The keys that hosts share, which this file then is a copy of; default: it is the only place.

    Attributes
    ----------
    fault
        Why the file cannot be read, if so; the keys that were read before stay valid.
    """

    def __init__(self, path: Path, clients: Clients | None = None) -> None:
        self._path, self._clients = path, clients
        self._lock = threading.Lock()
        self._version: tuple[int, int, int] | None = None
        self._keys: dict[str, ApiKey] = {}
        self._known = False
        self.fault: str | None = None

    def all(self) -> list[ApiKey]:
        """Return every key, in the order of creation.

        Returns
        -------
        list of ApiKey
            As the file holds them.

        Raises
        ------
        InputError
            If the file is damaged or cannot be read.
        """
        try:
            return _ROWS.validate_python(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"{self._path} cannot be read: {_describe(error)}",
                field="keys",
                hint="restore it, or remove it and add the keys again",
            ) from error

    def share(self, clients: Clients) -> None:
        """Take the keys that hosts share from now on; those of this file, if there are none."""
        self._clients = clients
        self.synchronise()

    def synchronise(self) -> None:
        """Copy the keys that hosts share into the file, if they differ."""
        clients = self._clients
        if clients is None:
            return
        shared = clients.read_keys()
        if shared is not None and self._holds(shared):
            return
        with self._changing():
            shared = clients.read_keys()
            if shared is None:
                own = self.all()
                if not own:
                    return
                shared = clients.change_keys(list, _dump(own))
            if not self._holds(shared):
                self._write(_ROWS.validate_python(shared))

    def _holds(self, rows: list[dict[str, Any]]) -> bool:
        """Return whether the file has these keys; a damaged one does not."""
        try:
            return _dump(self.all()) == rows
        except InputError:
            return False

    def find(self, secret: str) -> ApiKey | None:
        """Return the key with this secret, or None."""
        digest = _sha256(secret)
        key = self._current().get(digest)
        return key if key is not None and hmac.compare_digest(key.sha256, digest) else None

    def find_by_id(self, beginning: str) -> ApiKey | None:
        """Return the key whose hash begins so, or None."""
        found = (key for digest, key in self._current().items() if digest.startswith(beginning))
        return next(found, None)

    def check(self) -> tuple[bool, str]:
        """Return whether keys can be checked, and the state of the file in one line."""
        self._current()
        if self.fault is None:
            return True, "ok"
        if self._known:
            return True, f"{self.fault}: the keys that were read before stay valid"
        return False, self.fault

    def add(self, name: str, scope: Scope, created_at: str) -> str:
        """Create a key.

        Returns
        -------
        str
            The secret, which cannot be read again; InputError if the name is invalid, or a key of
            this name exists.
        """
        check_name(name)
        secret = "pear_" + secrets.token_urlsafe(32)
        made = ApiKey(name=name, scope=scope, sha256=_sha256(secret), created_at=created_at)

        def with_it(keys: list[ApiKey]) -> list[ApiKey]:
            if any(key.name == name for key in keys):
                raise InputError(
                    f"an API key named {name!r} exists",
                    field="name",
                    hint="choose another name, or remove it first",
                )
            return [*keys, made]

        self._change(with_it)
        return secret

    def remove(self, name: str) -> None:
        """Remove a key; NoKeyError if none has this name."""

        def without_it(keys: list[ApiKey]) -> list[ApiKey]:
            kept = [key for key in keys if key.name != name]
            if len(kept) == len(keys):
                names = ", ".join(key.name for key in keys) or "none"
                raise NoKeyError(
                    f"no API key named {name[:64]!r}", field="name", hint=f"keys: {names}"
                )
            return kept

        self._change(without_it)

    def _change(self, change: Callable[[list[ApiKey]], list[ApiKey]]) -> None:
        """Replace the keys: those that hosts share first, then the file."""
        with self._changing():
            keys = self.all()
            if self._clients is None:
                self._write(change(keys))
                return
            rows = self._clients.change_keys(
                lambda shared: _dump(change(_ROWS.validate_python(shared))), _dump(keys)
            )
            self._write(_ROWS.validate_python(rows))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let one process at a time read the file and replace it, so that no change is lost."""
        handle = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _current(self) -> dict[str, ApiKey]:
        """Return the keys by hash: those of the file, or the last ones that could be read."""
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
        except FileNotFoundError:
            version = (0, 0, 0)
        except OSError as error:
            self.fault = f"{self._path.name} cannot be read: {_describe(error)}"
            return self._keys
        with self._lock:
            if version != self._version:
                try:
                    self._keys = {key.sha256: key for key in self.all()}
                except InputError as error:
                    self.fault = f"{self._path.name} cannot be read"
                    logger().error("keys cannot be read", reason=str(error))
                else:
                    self.fault, self._known = None, True
                self._version = version
            return self._keys

    def _write(self, keys: list[ApiKey]) -> None:
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".keys")  # mode 0600
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(_dump(keys), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _dump(keys: Sequence[ApiKey]) -> list[dict[str, Any]]:
    return [key.model_dump() for key in keys]


def _describe(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors(include_url=False)[0]
        fault["input"] = "…"  # which may be a key
        message, _ = describe_fault(fault, ".".join(map(str, fault["loc"])))
        return f"entry {message}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return " ".join(str(error).split())[:200]


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
