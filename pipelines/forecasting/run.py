"""A forecast run in progress: its members, its outputs and the step to resume from.

A step is written while the next one is computed, and recorded as done once it is on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pear.rollout import OneStepForecaster, check_physical, concat_states
from pear.state import State
from pipelines.catalog import Model, Run
from pipelines.catalog.lease import JobLease
from pipelines.forecasting import counterfactual, restart
from pipelines.forecasting.ensemble import Group, build_ensemble
from pipelines.forecasting.options import ForecastOptions
from pipelines.forecasting.outputs import OutputWriter
from pipelines.storage.shared import SharedStores

ForecasterLoader = Callable[[Model, ForecastOptions, Group], OneStepForecaster]
"""Returns the forecaster of a model, options and a group; the same object for equal ones."""


class ForecastRun:
    """A forecast run in progress, from its initial state or its last complete step.

    Parameters
    ----------
    lease
        The claimed run.
    load
        Returns forecasters.

    Attributes
    ----------
    lease
        The claimed run.
    step, total
        Steps done, and all steps.
    states
        (member, …) for each group of the ensemble, after ``step`` steps.

    Raises
    ------
    TypeError
        If the job is not a forecast run.
    """

    def __init__(self, lease: JobLease, load: ForecasterLoader) -> None:
        run = lease.job
        if not isinstance(run, Run):
            raise TypeError(f"job {run.id} is not a forecast run")
        self.lease = lease
        options = ForecastOptions.from_dict(run.options)
        model, *others = (lease.catalog.models.get(name) for name in (run.model, *options.models))
        self.total = run.lead_hours // model.step_hours
        self._context = f"model {model.id}"
        self._shared = SharedStores.of(lease.data)
        if self._shared is not None:
            _fetch_inputs(self._shared, run, [model, *others])
        analysis = lease.data.analysis(run.options["analysis"])
        self._ensemble = build_ensemble(
            options,
            [model, *others],
            lambda each, group: load(each, options, group),
            analysis,
        )
        initial, about = None, {}
        if options.counterfactual is not None and not lease.data.forecast(run.id).exists():
            layout, nside = self._ensemble.layout, self._ensemble.nside
            factual = State.from_store(analysis, run.init_time, layout, nside)
            forecaster = self._ensemble.groups[0].forecaster
            initial, figures = counterfactual.change_initial(lease, forecaster, model, factual)
            about = {counterfactual.ATTRIBUTE: figures}
        self._outputs = OutputWriter(lease.data, run, model, self._ensemble, self.total, about)
        self._thread = ThreadPoolExecutor(1, "writer")
        self._pending: Future[None] | None = None
        self.step = 0
        self.states: list[State] = []
        if not self._outputs.published and not self._resume():
            if initial is None:
                layout, nside = self._ensemble.layout, self._ensemble.nside
                initial = State.from_store(analysis, run.init_time, layout, nside)
            self.states = self._ensemble.start(initial)
            self._start_writing()

    @property
    def is_complete(self) -> bool:
        """True if no step is left to compute."""
        return not self.states or self.step == self.total

    def next_inputs(self) -> list[tuple[OneStepForecaster, State]]:
        """Return the forecasters and the states that they step next, perturbed if wanted."""
        return self._ensemble.inputs(self.states, self.step)

    def accept(self, states: list[State]) -> None:
        """Check the members one step later and start to write them; InputError names bad values.

        Parameters
        ----------
        states
            One step after :meth:`next_inputs`.
        """
        self._finish_writing()
        self.step += 1
        where = f"{self._context}: step {self.step} of {self.total}"
        self.states = [check_physical(state, where) for state in states]
        self._start_writing()

    def publish(self) -> None:
        """Publish the stores of the run, for other hosts too."""
        self._finish_writing()
        self._outputs.publish()
        if self._shared is not None:
            run = self.lease.job.id
            digest = self._shared.push("forecasts", run)
            self.lease.catalog.runs.log(run, "stored in object storage", index_sha256=digest)
        counterfactual.forget(self.lease)

    def close(self) -> None:
        """Wait until nothing of this run is being written."""
        self._thread.shutdown(wait=True)

    def _start_writing(self) -> None:
        self._pending = self._thread.submit(self._write, self.step, self.states)

    def _write(self, step: int, states: list[State]) -> None:
        self._outputs.write(step, concat_states(states))
        if not self._outputs.keeps_everything and step < self.total:
            restart.save(self._outputs.main.scratch, step, states)
        self.lease.progress(step, self.total)

    def _finish_writing(self) -> None:
        """Wait until the last step is written and recorded; re-raise what went wrong."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def _resume(self) -> bool:
        """Load the last step whose outputs are all on disk; False to start from the beginning."""
        layout, groups = self._ensemble.layout, self._ensemble.groups
        if self._outputs.keeps_everything:
            found = restart.last_complete(self._outputs.main, layout)
        else:
            found = restart.load(self._outputs.main.scratch, [layout] * len(groups))
            if found is not None and not self._outputs.has_all_until(found[0]):
                found = None  # an output was lost after its restart was saved
        if found is None:
            return False
        self.step, states = found
        self.lease.progress(self.step, self.total)
        self.states = [
            group.forecaster.prepare(state) for group, state in zip(groups, states, strict=True)
        ]
        return True


def _fetch_inputs(shared: SharedStores, run: Run, models: list[Model]) -> None:
    """Fetch what a run begins with; the run itself, if a worker that died had finished it."""
    for model in models:
        shared.fetch("models", Path(model.path).name)
    shared.fetch("analyses", run.options["analysis"])
    shared.ensure("forecasts", run.id)
