"""Models of the catalog."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pear.errors import InputError, did_you_mean
from pipelines.catalog import tables
from pipelines.catalog.database import Database
from pipelines.catalog.errors import NotFoundError
from pipelines.catalog.records import Model


class Models:
    """Checkpoints, identified by the SHA-256 of their weights."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = database, clock

    def add(
        self,
        sha256: str,
        path: str,
        *,
        nside: int,
        step_hours: int,
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Model:
        """Add a checkpoint, or update its entry.

        Parameters
        ----------
        sha256
            SHA-256 of the checkpoint, 64 hex digits; the first 12 are the model's id.
        path
            Folder of the checkpoint, absolute or relative to the data folder.
        nside, step_hours
            Resolution and step of the model.
        name
            Name of the model; default: its id.
        attributes
            Other facts, as JSON values.

        Returns
        -------
        Model
            The entry.

        Raises
        ------
        InputError
            If ``sha256`` is not a SHA-256.
        """
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise InputError(f"invalid SHA-256 {sha256!r}: expected 64 hex digits", field="sha256")
        model_id = sha256[:12]
        values = {
            "path": path,
            "nside": nside,
            "step_hours": step_hours,
            "attributes": dict(attributes or {}),
            "name": name or model_id,
        }
        once = {"sha256": sha256, "created_at": self._clock()}
        self._db.upsert(tables.models, {"id": model_id}, values, once)
        return self.get(model_id)

    def get(self, name: str | None = None) -> Model:
        """Return a model by id, unique prefix of an id, SHA-256 or name (default: newest).

        Parameters
        ----------
        name
            Id, SHA-256, name or unique prefix of an id, in this order of precedence.

        Returns
        -------
        Model
            The newest model of that name.

        Raises
        ------
        NotFoundError
            If there is no such model.
        """
        known = self.all()
        if name is None and not known:
            raise NotFoundError(
                "no model in the catalog",
                field="model",
                hint="add one with `pear models add CHECKPOINT --data DIR`",
            )
        if name is None:
            return known[0]
        by_id = [model for model in known if name in (model.id, model.sha256)]
        by_name = [model for model in known if name == model.name]
        by_prefix = [model for model in known if model.id.startswith(name)] if name else []
        for model in by_id + by_name + (by_prefix if len(by_prefix) == 1 else []):
            return model
        names = [label for model in known for label in (model.id, model.name)]
        raise NotFoundError(
            f"no model {name!r} in the catalog", field="model", hint=did_you_mean(name, names)
        )

    def all(self) -> list[Model]:
        """Return all models, newest first."""
        columns = tables.models.c
        query = sa.select(tables.models).order_by(columns.created_at.desc(), columns.id)
        with self._db.read() as connection:
            return [Model(**row) for row in connection.execute(query).mappings()]
