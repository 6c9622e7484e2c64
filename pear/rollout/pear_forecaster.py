"""A PEAR checkpoint as a forecaster: standardise, step, return to physical units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from pear.device import threads_for
from pear.errors import InputError
from pear.models.climate import (
    INITIAL_STATE_NOTE,
    OTHER_CLIMATE,
    TrainingClimate,
    analysis_atmosphere,
)
from pear.models.compiled import compile_model
from pear.models.correction import CORRECTION, describe_correction
from pear.models.diagnostics import representations
from pear.models.symmetries import distinct_elements
from pear.normaliser import keep_forcings
from pear.rollout.forecaster import OneStepForecaster
from pear.sphere.symmetry import C4H, IDENTITY, Element
from pear.state import State
from pear.store.schema import lead_time_name
from pear.times import HOUR, as_utc, to_iso
from pear.variables import SIMULATED

if TYPE_CHECKING:
    from pear.models.checkpoint import Checkpoint


class PearForecaster(OneStepForecaster):
    """Forecast with a trained PEAR, one model step at a time, in physical units.

    The forcing of a step is that of the time the step starts from, as in training.

    Parameters
    ----------
    checkpoint
        Model, statistics and provenance; moved to ``device`` and put into evaluation mode.
    device
        Device of the computation and of the yielded states.
    dtype
        Precision of weights and fields. ``bfloat16`` applies inside the network only: weights,
        states and statistics stay float32, since bfloat16 resolves surface pressure to 512 Pa.
    group
        Symmetries over which each step is averaged: g⁻¹ Φ(g x). All of C4h makes any network
        equivariant, and costs a step for each element whose forecast differs from the others; a
        single element gives one member of a symmetry ensemble.
    correct
        Apply the checkpoint's correction after each step, if it has one.

    Attributes
    ----------
    correction
        What is applied after each step; None for the network alone.

    Examples
    --------
    >>> from pear.rollout import PearForecaster
    >>> from pear.models.checkpoint import Checkpoint
    >>> from pear.models.config import PearConfig
    >>> from pear.models.pear import Pear
    >>> from pear.normaliser import Normaliser
    >>> config = PearConfig(nside=4, embed=8, depths=(1,) * 4, heads=(1,) * 4, patch=4)
    >>> checkpoint = Checkpoint(Normaliser.identity(config.layout), {}, "0" * 64, Pear(config))
    >>> surface, upper = torch.randn(1, 4, 192), torch.randn(1, 5, 13, 192)
    >>> initial = State(surface, upper, np.datetime64("2001-01-01"), config.layout)
    >>> following = PearForecaster(checkpoint).step(initial)
    >>> torch.allclose(following.upper, upper)  # persistence before training
    True
    """

    name = "pear"
    allow_other_climate = False
    """Whether :meth:`forecast` takes states of another climate than that of the training data."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        group: Sequence[Element] = (IDENTITY,),
        *,
        correct: bool = True,
    ) -> None:
        self.checkpoint = checkpoint
        self.layout = checkpoint.config.layout
        self.nside = checkpoint.config.nside
        self.time_step = np.timedelta64(checkpoint.config.step_hours * 3600, "s")
        self.multiply_adds = checkpoint.config.multiply_adds
        self.device = torch.device(device)
        self._mixed = dtype is torch.bfloat16
        self.dtype = dtype = torch.float32 if self._mixed else dtype
        self.group = tuple(group)
        if set(group) == set(C4H):  # the others repeat these
            self.group = distinct_elements(vars(checkpoint.config))
        self._moves = representations(checkpoint.config)
        model = checkpoint.model.to(device=self.device, dtype=dtype).eval()
        self._model = compile_model(model)
        self._normaliser = checkpoint.normaliser.to(device=self.device, dtype=dtype)
        self.correction = checkpoint.correction if correct else None
        if self.correction is not None:
            self.correction = self.correction.to(device=self.device, dtype=dtype)

    @property
    def context(self) -> str:
        """Label of the model in error messages."""
        return f"model {self.checkpoint.id}"

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the Datasets that :meth:`forecast` returns."""
        found = self.checkpoint
        return {
            "title": "PEAR forecast",
            "source": f"PEAR model {found.id}, checkpoint sha256 {found.sha256}",
            "model": found.id,
            "model_sha256": found.sha256,
            CORRECTION: self.correction_text,
        }

    @property
    def correction_text(self) -> str:
        """What is done to the fields after each step of the network, in words."""
        return describe_correction(self.checkpoint.correction, applied=self.correction is not None)

    @cached_property
    def climate(self) -> TrainingClimate:
        """Climate of the training data."""
        parts = [
            torch.cat(
                [
                    getattr(self.checkpoint.normaliser, f"{part}_{kind}").cpu().flatten()
                    for part in ("surface", "upper")
                ]
            )
            .double()
            .numpy()
            for kind in ("mean", "std")
        ]
        return TrainingClimate.build(self.checkpoint.provenance, self.layout, *parts)

    def describe_initial(
        self, states: Sequence[State], source: xr.Dataset | None
    ) -> dict[str, str]:
        """Describe the initial states, and refuse those of another climate unless allowed.

        Parameters
        ----------
        states
            One (batch 1) for each init time.
        source
            Dataset they come from; None for given states, whose kind of atmosphere is not known:
            their global means are checked alone.

        Returns
        -------
        dict
            Attributes of the forecast: ``simulated``, ``other_climate``, ``initial_state_note``.

        Raises
        ------
        InputError
            Naming the init time and the difference.
        """
        given = None if source is None else analysis_atmosphere(source.attrs)
        simulated = "simulated" in (given, self.climate.atmosphere if given is None else None)
        about = {SIMULATED: "true"} if simulated else {}
        notes: dict[str, list[str]] = {}
        for state in states:
            time = to_iso(state.valid_time[0])
            fields = super().prepare(state).to_channels()[0]
            difference = self.climate.difference(given, fields)
            if difference is not None and not self.allow_other_climate:
                raise InputError(
                    f"the initial state at {time} is of another climate than {self.context}: "
                    f"{difference}",
                    field="initial",
                    hint="load the model with allow_other_climate=True",
                )
            lead = _lead_hours(source, state.valid_time[0])
            note = self.climate.note(state.valid_time[0], lead)
            for name, text in ((OTHER_CLIMATE, difference), (INITIAL_STATE_NOTE, note)):
                if text is not None and text not in notes.setdefault(name, []):
                    notes[name].append(text)
        return about | {name: "; ".join(texts) for name, texts in notes.items()}

    def prepare(self, initial: State) -> State:
        """Return the initial state on the device and in the dtype of the model."""
        fitting = super().prepare(initial)
        return fitting.map(lambda values: values.to(device=self.device, dtype=self.dtype))

    @torch.inference_mode()
    def step(self, state: State) -> State:
        """Return the state one step later, unchecked; batch entries advance side by side."""
        return self._advance(state)

    def differentiable_step(self, state: State) -> State:
        """Return the state of :meth:`step` with gradients by the state given, not by parameters."""
        with _frozen(self._model):
            return self._advance(state)

    def _advance(self, state: State) -> State:
        forcing = self._model.forcing(state.valid_time)
        if forcing is not None:
            forcing = forcing.to(state.surface)
        with threads_for(self.multiply_adds):
            parts = [self._moved(element, state, forcing) for element in self.group]
        surface, upper = (_mean(each) for each in zip(*parts, strict=True))
        if self.correction is not None:
            surface, upper = self.correction(
                surface,
                upper,
                state.valid_time + self.time_step,
                (state.surface, state.upper),
            )
        surface = keep_forcings(surface, state.surface, self.layout.surface)
        upper = keep_forcings(upper, state.upper, self.layout.upper)
        return state.advanced(surface, upper, self.time_step)

    def _moved(
        self, element: Element, state: State, forcing: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return g⁻¹ Φ(g x); the forcing moves too, so an equivariant network is unchanged."""
        move_surface, move_upper = self._moves[:2]
        plain = element == IDENTITY
        surface, upper = state.surface, state.upper
        if not plain:
            surface, upper = move_surface.act(element, surface), move_upper.act(element, upper)
            forcing = None if forcing is None else self._moves[2].act(element, forcing)
        surface, upper = self._normaliser(surface, upper)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._mixed):
            surface, upper = self._model(surface, upper, forcing)
        surface, upper = self._normaliser.inverse(surface.to(self.dtype), upper.to(self.dtype))
        if plain:
            return surface, upper
        back = element.inverse
        return move_surface.act(back, surface), move_upper.act(back, upper)


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Compute without gradients by the parameters, whoever trains them elsewhere."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)  # noqa: FBT003
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)  # noqa: FBT003


def _mean(members: Sequence[Tensor]) -> Tensor:
    return members[0] if len(members) == 1 else torch.stack(list(members)).mean(dim=0)


def _lead_hours(source: xr.Dataset | None, time: np.datetime64) -> float:
    """Return the lead time of a state that is itself a forecast, hours; 0 if it does not say so."""
    if source is None or (name := lead_time_name(source.coords)) not in source.coords:
        return 0.0
    at = np.flatnonzero(as_utc(source["time"].values) == time)
    leads = source[name].values
    return float(leads.ravel()[at[0]] / HOUR) if at.size else 0.0
