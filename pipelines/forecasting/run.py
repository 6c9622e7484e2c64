"""One run being computed: its members, its step, what it keeps, and where it can go on from.

A step is written while the next one is computed, and is told as done when a kill cannot take it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from pear.rollout import PearForecaster, check_physical, concat_states
from pear.rollout.perturbations import Noise, perturb
from pear.sphere.symmetry import C4H, IDENTITY, Element
from pear.state import State
from pipelines.catalog import Model, Run
from pipelines.catalog.lease import JobLease
from pipelines.forecasting import restart
from pipelines.forecasting.options import ForecastOptions
from pipelines.forecasting.outputs import OutputWriter

Loader = Callable[[Model, str, tuple[Element, ...]], PearForecaster]
"""Gives the forecaster of a model, a precision and a group; the same one each time."""


class ForecastRun:
    """A run in our hands, from its initial state or its last complete step on.

    Parameters
    ----------
    work
        The run.
    load
        Gives forecasters.

    Attributes
    ----------
    parts
        (forecaster, members that it steps) in member order.
    """

    def __init__(self, work: JobLease, load: Loader) -> None:
        run = work.job
        if not isinstance(run, Run):
            raise TypeError(f"{run.id} is no forecast run")
        self.work, self._run = work, run
        self._options = ForecastOptions.of(run.options)
        self._hand = ThreadPoolExecutor(1, "writer")
        self._writing: Future[None] | None = None
        self._model = work.catalog.models.get(run.model)
        self.total = run.lead_hours // self._model.step_hours
        crew = self._crew(load)
        count = 1 if self._options.members is None else self._options.members
        self._recorder = OutputWriter(
            work.data, run, self._model, crew[0].layout, count * len(crew), self.total
        )
        self.step = 0
        self.parts: list[tuple[PearForecaster, State]] = []
        if not self._recorder.published:
            self.parts = self._resume(crew) or self._begin(crew, count)

    @property
    def done(self) -> bool:
        """Whether nothing is left to compute."""
        return not self.parts or self.step == self.total

    def next_inputs(self) -> list[tuple[PearForecaster, State]]:
        """What is to be stepped next: the parts, their members perturbed anew if that is asked for.

        What is kept of a step is as the model gave it; the noise depends on seed, member and step
        alone, so that a resumed run meets the same.
        """
        if not self._options.perturb_steps or self.step == 0:
            return self.parts
        return [
            (forecaster, self._noise(forecaster).perturb(state, self.step))
            for forecaster, state in self.parts
        ]

    def accept(self, states: list[State]) -> None:
        """Take the members' states one step on: check them, keep them, say so.

        Raises
        ------
        InputError
            If a member is no weather, naming step, variable and level.
        """
        self._settle()
        self.step += 1
        where = f"model {self._model.id}: step {self.step} of {self.total}"
        self.parts = [
            (forecaster, check_physical(state, where))
            for (forecaster, _), state in zip(self.parts, states, strict=True)
        ]
        self._keep()

    def publish(self) -> None:
        """Publish the stores of the run."""
        self._settle()
        self._recorder.publish()

    def close(self) -> None:
        """Wait until nothing of this run is being written any more."""
        self._hand.shutdown(wait=True)

    def _crew(self, load: Loader) -> list[PearForecaster]:
        """Return the forecasters of the run, one for each model or each element of the orbit."""
        options = self._options
        models = [self._model, *(self.work.catalog.models.get(name) for name in options.models)]
        if options.source == "orbit":
            groups: list[tuple[Element, ...]] = [(element,) for element in C4H]
        else:
            groups = [C4H if options.symmetrise else (IDENTITY,)]
        return [load(model, options.precision, group) for model in models for group in groups]

    def _begin(self, crew: list[PearForecaster], count: int) -> list[tuple[PearForecaster, State]]:
        path = self.work.data.analysis(self._run.options["analysis"])
        initial = State.from_store(path, self._run.init_time, crew[0].layout, crew[0].nside)
        self.parts = [
            (forecaster, forecaster.prepare(perturb(initial, count, self._noise(forecaster))))
            for forecaster in crew
        ]
        self._keep()
        return self.parts

    def _noise(self, forecaster: PearForecaster) -> Noise:
        options, scale = self._options, forecaster.checkpoint.normaliser
        surface, upper = (
            torch.tensor([options.amplitude_of(name) for name in names])
            for names in (forecaster.layout.surface, forecaster.layout.upper)
        )
        return Noise(
            surface * scale.surface_step_std.cpu(),
            upper[:, None] * scale.upper_step_std.cpu(),
            options.length_km,
            options.seed,
        )

    def _keep(self) -> None:
        """Begin to write the step; :meth:`_settle` sees it done."""
        states = [state for _, state in self.parts]
        self._writing = self._hand.submit(self._write, self.step, states)

    def _write(self, step: int, states: list[State]) -> None:
        self._recorder.record(step, concat_states(states))
        if not self._recorder.whole and step < self.total:
            restart.save(self._recorder.main.scratch, step, states)
        self.work.progress(step, self.total)

    def _settle(self) -> None:
        """Wait until the last step is kept and told.

        Raises
        ------
        JobCancelled, NotOwnerError
            As :meth:`pipelines.catalog.lease.JobLease.progress`; and whatever the writing came to.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _resume(self, crew: list[PearForecaster]) -> list[tuple[PearForecaster, State]] | None:
        """Find the last step whose outputs are all on disk; None to begin at the beginning."""
        if self._recorder.whole:
            found = restart.last_whole(self._recorder.main, crew[0].layout)
        else:
            layouts = [forecaster.layout for forecaster in crew]
            found = restart.load(self._recorder.main.scratch, layouts)
            if found is not None and not self._recorder.holds(found[0]):
                found = None  # a step was lost after its restart was kept: from the beginning
        if found is None:
            return None
        self.step, states = found
        self.work.progress(self.step, self.total)
        return [
            (forecaster, forecaster.prepare(state))
            for forecaster, state in zip(crew, states, strict=True)
        ]
