"""Evaluations of models, as jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.catalog import tables
from pipelines.catalog.errors import NotFoundError
from pipelines.catalog.identity import drop_none, evaluation_id
from pipelines.catalog.jobs import Jobs
from pipelines.catalog.records import (
    Evaluation,
    Priority,
)


class Evaluations(Jobs[Evaluation]):
    """Evaluations of models."""

    _table, _record_type, _noun = tables.evaluations, Evaluation, "evaluation"
    _plural = "evaluations"

    def submit(
        self,
        model: str,
        request: Mapping[str, Any],
        *,
        priority: int = Priority.BATCH,
        total: int = 1,
    ) -> tuple[Evaluation, bool]:
        """Submit an evaluation; equal requests are the same evaluation, as for runs."""
        wanted = self._complete(model, request)
        values = {"model": wanted["model"], "request": wanted, "total": total}
        return self._submit(evaluation_id(wanted), values, priority)

    def find(self, model: str, request: Mapping[str, Any]) -> Evaluation | None:
        """Return the evaluation of an equal earlier request, which is only read.

        Parameters
        ----------
        model
            Id or name.
        request
            As in :meth:`submit`.

        Returns
        -------
        Evaluation or None
            None if there was no such request.
        """
        try:
            return self.get(evaluation_id(self._complete(model, request)))
        except NotFoundError:
            return None

    def _complete(self, model: str, request: Mapping[str, Any]) -> dict[str, Any]:
        return drop_none({**request, "model": self._models.get(model).id})

    def restore(self, name: str, model: str, request: Mapping[str, Any], total: int) -> Evaluation:
        """Enter a finished evaluation whose files are on disk, as succeeded.

        Parameters
        ----------
        name
            Name of its folder.
        model
            Model id; the model may have been removed since.
        request
            What was evaluated.
        total
            Number of init times.

        Returns
        -------
        Evaluation
            The evaluation; one that has not finished otherwise is left as it is.
        """
        values = {"model": model, "request": drop_none(request), "total": total}
        job, new = self._submit(name, values, Priority.BATCH)
        return self._restored(name) if new else job
