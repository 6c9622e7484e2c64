"""The pass over the data split over dask workers: each takes some init times, the sums merge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from distributed import as_completed

from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.rollout import ClimatologyForecaster, Ensemble, Forecaster, PearForecaster, Persistence
from pear.rollout.perturbations import PastDifferences
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.typing import Times
from pipelines.evaluation.stored_forecasts import StoredForecasts
from pipelines.evaluation.tables import EvaluationAccumulators, Plan, merge_all
from pipelines.evaluation.verify import verify

_BATCHES_A_PART = 4
"""Batches that one task does: neighbouring init times share most of the truth they read."""


@dataclass(frozen=True)
class Sources:
    """Where everything lies that an evaluation reads, so that any worker can open it.

    Attributes
    ----------
    analysis, climatology
        Their stores.
    model
        Checkpoint folder, if a model is rolled out.
    runs
        Finished forecast stores, if those are scored instead.
    device
        Where the model runs.
    members
        Members of an ensemble that is verified as well; 0 for none.
    amplitude
        Size of its perturbations over climatology's spread, at the start and after every step.
    """

    analysis: Path
    climatology: Path
    model: Path | None = None
    runs: tuple[Path, ...] = ()
    device: str = "cpu"
    members: int = 0
    amplitude: float = 0.15

    def ensemble(
        self, forecaster: Forecaster, analysis: Analysis, first_init: np.datetime64
    ) -> Ensemble | None:
        """Make the ensemble, if one is wanted.

        Raises
        ------
        InputError
            If finished forecasts are scored, or there are too few members or past times.
        """
        if self.members == 0:
            return None
        if self.model is None:
            raise InputError("finished forecasts make no ensemble", field="--members")
        perturb = PastDifferences.before(analysis, first_init, self.amplitude)
        return Ensemble([forecaster], self.members, perturb, sustained=True)

    def open(self) -> tuple[Forecaster, Analysis, Climatology]:
        """Open the forecaster and, on its channels and grid, truth and climatology.

        Raises
        ------
        InputError
            If one of them is not there or does not fit.
        """
        forecaster = self._forecaster()
        like = (forecaster.layout, forecaster.nside)
        return (
            forecaster,
            Analysis(self.analysis, *like),
            Climatology.open(self.climatology, *like),
        )

    def _forecaster(self) -> Forecaster:
        if self.model is None:
            return StoredForecasts(self.runs)
        from pear.models import checkpoint  # the network, only where it is run

        return PearForecaster(checkpoint.load(self.model), device=self.device)


def with_baselines(forecaster: Forecaster, climatology: Climatology) -> list[Forecaster]:
    """A forecaster and what its scores are shown beside."""
    return [
        forecaster,
        Persistence(forecaster.layout, forecaster.nside, forecaster.time_step),
        ClimatologyForecaster(climatology, forecaster.time_step),
    ]


def verify_spread(
    client: Any,
    sources: Sources,
    plan: Plan,
    *,
    batch: int = 4,
    tick: ProgressCallback | None = None,
) -> dict[str, EvaluationAccumulators]:
    """As :func:`pipelines.evaluation.verify.verify`, by the workers of a dask client.

    Parts are merged as they come, so the order in which workers finish does not matter.
    """
    size = max(1, min(_BATCHES_A_PART * batch, -(-len(plan.inits) // _places(client))))
    parts = [plan.inits[i : i + size] for i in range(0, len(plan.inits), size)]
    futures = {
        client.submit(verify_part, sources, plan, part, batch, pure=False): len(part)
        for part in parts
    }
    merged: dict[str, EvaluationAccumulators] | None = None
    try:
        for future in as_completed(futures):  # type: ignore[no-untyped-call]
            found = future.result()
            merged = found if merged is None else merge_all([merged, found])
            if tick is not None:
                tick(futures[future], "")
    finally:
        client.cancel(list(futures))
    if merged is None:
        raise RuntimeError("no part of the evaluation came back")
    return merged


def verify_part(
    sources: Sources, plan: Plan, inits: Times, batch: int
) -> dict[str, EvaluationAccumulators]:
    """Verify some of the plan's init times; what a worker runs."""
    forecaster, analysis, climatology = _opened(sources)
    return verify(
        plan,
        with_baselines(forecaster, climatology),
        analysis,
        climatology,
        ensemble=sources.ensemble(forecaster, analysis, plan.inits[0]),
        inits=inits,
        batch=batch,
    )


@lru_cache(maxsize=1)
def _opened(sources: Sources) -> tuple[Forecaster, Analysis, Climatology]:
    return sources.open()


def _places(client: Any) -> int:
    return max(1, int(sum(client.nthreads().values())))
