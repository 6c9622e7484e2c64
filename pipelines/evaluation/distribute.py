"""Verification on dask workers: each takes some init times, and the sums merge."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from distributed import Client, as_completed

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.checkpoint import Checkpoint
from pear.progress import ProgressCallback
from pear.rollout import (
    ClimatologyForecaster,
    Ensemble,
    Forecaster,
    OneStepForecaster,
    PearForecaster,
    Persistence,
)
from pear.rollout.statistical import StatisticalFit, statistical_forecasters
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.typing import Channel, Times
from pipelines.catalog.installed_models import is_installed
from pipelines.evaluation.accumulators import Accumulators, EvaluationDesign, merge_accumulators
from pipelines.evaluation.derived import check_derivable
from pipelines.evaluation.stored_forecasts import StoredForecasts
from pipelines.evaluation.verify import verify
from pipelines.forecasting.ensemble import (
    DTYPES,
    Group,
    averaging_group,
    build_ensemble,
    open_without_symmetries,
)
from pipelines.forecasting.options import ForecastOptions

_BATCHES_PER_TASK = 4
"""Neighbouring init times share most of the analyses that they read."""


@dataclass(frozen=True)
class EvaluationSources:
    """Paths of everything that an evaluation reads, for any worker to open.

    Attributes
    ----------
    analysis, climatology
        Paths of the stores.
    model
        Checkpoint folder of the model to forecast with.
    runs
        Forecast stores to score instead.
    device
        Device of the model.
    options
        Options of the forecasts; if they describe an ensemble, it is verified as well.
    models
        Checkpoint folders of the further models that the options name.
    derived
        Quantities that are computed from the channels.
    """

    analysis: Path
    climatology: Path
    model: Path | None = None
    runs: tuple[Path, ...] = ()
    device: str = "cpu"
    options: ForecastOptions = field(default=ForecastOptions(), hash=False)
    models: tuple[Path, ...] = ()
    derived: tuple[Channel, ...] = ()

    def ensemble(self) -> Ensemble | None:
        """Build the ensemble to verify as well, with the constructor of served forecasts.

        Returns
        -------
        Ensemble or None
            None if the options describe a single forecast.

        Raises
        ------
        InputError
            If finished forecasts are scored.
        """
        if not self.options.is_ensemble:
            return None
        if self.model is None:
            raise InputError("finished forecasts cannot be perturbed", field="members")
        return build_ensemble(self.options, (self.model, *self.models), self._load, self.analysis)

    def open(self) -> tuple[Forecaster, Analysis, Climatology]:
        """Open the forecaster and, on its channels and grid, the analysis and the climatology."""
        forecaster = self._forecaster()
        like = (forecaster.layout, forecaster.nside)
        check_derivable(self.derived, forecaster.layout)
        return (
            forecaster,
            Analysis(self.analysis, *like),
            Climatology.open(self.climatology, *like, derived=self.derived),
        )

    def _forecaster(self) -> Forecaster:
        if self.model is None:
            return StoredForecasts(self.runs)
        return self._load(self.model, averaging_group(self.options))

    def _load(self, model: Path, group: Group) -> OneStepForecaster:
        if is_installed(model):
            return open_without_symmetries(model, self.device, group)
        return PearForecaster(
            _checkpoint(model),
            device=self.device,
            dtype=DTYPES[self.options.precision],
            group=group,
            correct=self.options.correction,
        )


@lru_cache(maxsize=12)
def _checkpoint(folder: Path) -> Checkpoint:
    return checkpoint.load(folder)


def with_baselines(
    forecaster: Forecaster,
    climatology: Climatology,
    ensemble: Ensemble | None = None,
    fit: StatisticalFit | None = None,
) -> list[Forecaster]:
    """Return a forecaster, the baselines that its scores are shown beside, and its ensemble."""
    return [
        forecaster,
        Persistence(forecaster.layout, forecaster.nside, forecaster.time_step),
        ClimatologyForecaster(climatology, forecaster.time_step),
        *statistical_forecasters(fit, climatology),
        *([] if ensemble is None else [ensemble]),
    ]


def verify_distributed(
    client: Client,
    sources: EvaluationSources,
    design: EvaluationDesign,
    *,
    batch: int = 4,
    fit: StatisticalFit | None = None,
    tick: ProgressCallback | None = None,
) -> Accumulators:
    """Verify as :func:`pipelines.evaluation.verify.verify` does, on the workers of a client.

    Parts are merged in the order in which workers finish; the order does not change the sums.

    Parameters
    ----------
    client
        Its workers can read the sources.
    sources
        What to verify.
    design
        Axes of the sums.
    batch
        Number of forecasts that run side by side on a worker.
    fit
        Fitted baselines; sent to each worker once.
    tick
        Receives the number of init times done.

    Returns
    -------
    dict
        Sums of each forecaster, by name.

    Raises
    ------
    RuntimeError
        If the design has no init times.
    """
    inits, threads = design.inits, max(1, sum(client.nthreads().values()))  # type: ignore[no-untyped-call]
    size = max(1, min(_BATCHES_PER_TASK * batch, -(-len(inits) // threads)))
    shared = None if fit is None else client.scatter(fit, broadcast=True)  # type: ignore[no-untyped-call]
    futures = {
        client.submit(verify_part, sources, design, part, batch, shared, pure=False): len(part)
        for part in (inits[i : i + size] for i in range(0, len(inits), size))
    }
    merged: Accumulators | None = None
    try:
        for future in as_completed(futures):  # type: ignore[no-untyped-call]
            part = future.result()
            merged = part if merged is None else merge_accumulators(merged, part)
            if tick is not None:
                tick(futures[future], "")
    finally:
        client.cancel(list(futures))  # type: ignore[no-untyped-call]
    if merged is None:
        raise RuntimeError("the evaluation has no init times")
    return merged


def verify_part(
    sources: EvaluationSources,
    design: EvaluationDesign,
    inits: Times,
    batch: int,
    fit: StatisticalFit | None = None,
) -> Accumulators:
    """Verify some init times of the design; runs on a worker."""
    forecaster, analysis, climatology = _open(sources)
    return verify(
        design,
        with_baselines(forecaster, climatology, sources.ensemble(), fit),
        analysis,
        climatology,
        inits=inits,
        batch=batch,
    )


@lru_cache(maxsize=1)
def _open(sources: EvaluationSources) -> tuple[Forecaster, Analysis, Climatology]:
    return sources.open()
