"""What an operator may set, each by an environment variable ``PEAR_…`` or by the command line."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pear.errors import InputError


class Settings(BaseSettings):
    """Settings of the HTTP service.

    Every limit answers with a 4xx problem that names it; none is silent.
    """

    model_config = SettingsConfigDict(env_prefix="PEAR_", extra="ignore")

    data: Path = Field(description="The data folder.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one."
    )
    catalog: str | None = Field(
        default=None, description="URL of the catalog; by default SQLite in the data folder."
    )
    workers: int = Field(default=1, ge=1, le=64, description="Processes that run the model.")
    scheduler: str | None = Field(
        default=None, description="Address of an existing dask scheduler instead of own workers."
    )
    device: str | None = Field(
        default=None, description="Where they compute: auto, cpu, cuda, cuda:1; by default auto."
    )
    batch: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Runs of one model computed side by side; above 1 for accelerators.",
    )
    schedules: bool = Field(default=True, description="Whether to fire the schedules.")
    queue_limit: int = Field(default=64, ge=1, description="Runs that may wait or run at once.")
    max_lead_hours: int = Field(default=15 * 24, ge=1, description="Longest forecast, hours.")
    max_body_bytes: int = Field(default=64 * 1024, ge=1024, description="Largest request body.")
    max_query_bytes: int = Field(default=8 * 1024, ge=256, description="Longest query string.")
    max_points: int = Field(default=100, ge=1, description="Points in one request.")
    max_values: int = Field(
        default=500_000, ge=1000, description="Numbers in one JSON or CSV answer."
    )
    max_download_bytes: int = Field(
        default=2_000_000_000,
        ge=1_000_000,
        description="Largest download, bytes before compression.",
    )
    max_at_once: int = Field(default=512, ge=8, description="Requests under way at once.")
    cache_bytes: int = Field(
        default=256 * 1024 * 1024, ge=1024 * 1024, description="Memory for fields read from stores."
    )
    answer_cache_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Memory for finished answers and maps.",
    )
    cors_origins: tuple[str, ...] = Field(
        default=("*",),
        description="Origins whose pages may read the API; writes need a key or loopback.",
    )

    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="Names of the service; by default any, on loopback its own."
    )
    require_keys: bool | None = Field(
        default=None, description="Whether a key is needed; by default unless on loopback."
    )
    rate_limit: int | None = Field(
        default=None,
        ge=1,
        description="Tokens of each client a minute; by default 1200, none on loopback.",
    )
    keys_file: Path | None = Field(
        default=None, description="File of the keys; by default keys.json in the data folder."
    )

    @classmethod
    def read(cls, data: Path | None, **options: Any) -> Settings:
        """Settings from options and, where these are None, from the environment.

        Raises
        ------
        InputError
            If no data folder is named or a setting cannot be used; names the variable.
        """
        given = {name: value for name, value in options.items() if value is not None}
        if data is not None:
            given["data"] = data
        try:
            return cls(**given)
        except ValidationError as error:
            fault = error.errors(include_input=False)[0]
            name = ".".join(str(part) for part in fault["loc"])
            if name == "data":
                raise InputError(
                    "no data folder named", field="--data", hint="give --data DIR"
                ) from error
            raise InputError(f"PEAR_{name.upper()}: {fault['msg']}", field=name) from error

    @property
    def keys_required(self) -> bool:
        """Whether a key is needed."""
        return not self.loopback if self.require_keys is None else self.require_keys

    @property
    def tokens_per_minute(self) -> int | None:
        """Rate limit of each client; None for none."""
        if self.rate_limit is None:
            return None if self.loopback else 1200
        return self.rate_limit

    @property
    def hosts(self) -> frozenset[str]:
        """Names by which the service may be addressed; empty for any."""
        if self.allowed_hosts or not self.loopback:
            return frozenset(self.allowed_hosts)
        return frozenset({"localhost", "127.0.0.1", "[::1]", self.host})

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
