"""Settings of the HTTP service, from the command line or from ``PEAR_…`` environment variables."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pear.environment import check_environment
from pear.errors import InputError
from pipelines.faults import describe_fault


def _split(given: object) -> object:
    """Read a list as people write it in the environment: by commas, or as JSON."""
    if not isinstance(given, str):
        return given
    if given.strip().startswith("["):
        return json.loads(given)
    return tuple(part.strip() for part in given.split(",") if part.strip())


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """Settings of the HTTP service.

    A request that exceeds a limit gets a 4xx problem that names the limit.
    """

    model_config = SettingsConfigDict(env_prefix="PEAR_", env_ignore_empty=True, extra="ignore")

    data: Path = Field(description="Data folder.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one."
    )
    catalog: str | None = Field(
        default=None, description="URL of the catalog (default: SQLite in the data folder)."
    )
    workers: int = Field(default=1, ge=1, le=64, description="Processes that run the model.")
    scheduler: str | None = Field(
        default=None, description="Address of an existing dask scheduler (default: own workers)."
    )
    device: str | None = Field(
        default=None, description="Device of the model: auto, cpu, cuda or cuda:1 (default: auto)."
    )
    batch: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Runs of one model computed as one batch; above 1 for accelerators.",
    )
    schedules: bool = Field(default=True, description="True if this process runs the schedules.")
    queue_limit: int = Field(
        default=64, ge=1, description="Largest number of queued and running jobs."
    )
    max_lead_hours: int = Field(default=15 * 24, ge=1, description="Longest forecast, hours.")
    max_body_bytes: int = Field(default=64 * 1024, ge=1024, description="Largest request body.")
    max_query_bytes: int = Field(default=8 * 1024, ge=256, description="Longest query string.")
    max_points: int = Field(default=100, ge=1, description="Points in one request.")
    max_values: int = Field(
        default=500_000, ge=1000, description="Values in one JSON or CSV response."
    )
    max_download_bytes: int = Field(
        default=2_000_000_000,
        ge=1_000_000,
        description="Largest download, bytes before compression.",
    )
    max_concurrent_requests: int = Field(
        default=512, ge=8, description="Requests handled at the same time."
    )
    max_requests_per_client: int = Field(
        default=384, ge=4, description="Requests of one address handled at the same time."
    )
    max_listeners: int = Field(
        default=64, ge=1, description="Clients of /v1/events at the same time; more get 503."
    )
    cache_bytes: int = Field(
        default=256 * 1024 * 1024, ge=1024 * 1024, description="Memory for fields read from stores."
    )
    response_cache_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Memory for responses, as much for the pixel tables of maps, and as much "
        "for those of tiles.",
    )
    heavy_slots: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Maps, downloads and other expensive responses made at the same time.",
    )
    heavy_waiting: int = Field(
        default=16,
        ge=0,
        description="Expensive responses that may wait; more get 503 with Retry-After.",
    )
    cors_origins: Texts = Field(
        default=("*",),
        description="Origins whose pages may read the API; other requests need the same origin.",
    )
    allowed_hosts: Texts = Field(
        default=(),
        description="Host names of the service (default: any; on loopback, its own only).",
    )
    require_keys: bool | None = Field(
        default=None, description="True if an API key is needed (default: unless on loopback)."
    )
    rate_limit: int | None = Field(
        default=None,
        ge=1,
        description="Tokens of each client per minute (default: 1200; no limit on loopback).",
    )
    failure_limit: int = Field(
        default=120,
        ge=1,
        description="Requests of one address without a valid key, per minute; more get 429. A "
        "right key passes all the same.",
    )
    trusted_proxies: Texts = Field(
        default=(),
        description="Addresses and networks of the proxies whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed (default: none).",
    )
    keys_file: Path | None = Field(
        default=None, description="File of API keys (default: keys.json in the data folder)."
    )

    link_secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="Secret that signs links (default: the file links.secret in the data folder).",
    )
    max_link_seconds: int = Field(
        default=30 * 86_400,
        ge=0,
        le=366 * 86_400,
        description="Longest lifetime of a signed link, seconds; 0: no links are signed.",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for each in given:
            try:
                ipaddress.ip_network(each)
            except ValueError as error:
                raise ValueError(
                    f"{each!r} is not an address or network such as 10.0.0.0/8: {error}"
                ) from error
        return given

    @classmethod
    def read(cls, data: Path | None, **options: object) -> Settings:
        """Return settings from options and, where these are None, from the environment.

        Returns
        -------
        Settings
            The settings.

        Raises
        ------
        InputError
            If no data folder is given, a value is invalid, or a variable has an old name.
        """
        check_environment()
        given = {name: value for name, value in options.items() if value is not None}
        if data is not None:
            given["data"] = data
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            name = ".".join(str(part) for part in fault["loc"])
            if name == "data":
                raise InputError(
                    "no data folder is given", field="--data", hint="use --data DIR or PEAR_DATA"
                ) from error
            if name == "link_secret":  # a secret is not shown
                fault["input"] = "…"
            message, hint = describe_fault(fault, f"PEAR_{name.upper()}")
            raise InputError(message, field=name, hint=hint) from error

    @property
    def keys_required(self) -> bool:
        """True if an API key is needed."""
        return not self.loopback if self.require_keys is None else self.require_keys

    @property
    def tokens_per_minute(self) -> int | None:
        """Rate limit of each client, tokens; None for no limit."""
        if self.rate_limit is None:
            return None if self.loopback else 1200
        return self.rate_limit

    @property
    def hosts(self) -> frozenset[str]:
        """Host names by which the service may be addressed; empty for any."""
        if self.allowed_hosts or not self.loopback:
            return frozenset(self.allowed_hosts)
        return frozenset({"localhost", "127.0.0.1", "[::1]", self.host})

    @property
    def loopback(self) -> bool:
        """True if only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
