"""A PEAR checkpoint as a forecaster: standardise, step, return to physical units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pear.models.diagnostics import representations
from pear.rollout.baselines import check_fits
from pear.rollout.forecaster import rollout
from pear.sphere.symmetry import IDENTITY, Element
from pear.state import State

if TYPE_CHECKING:
    from pear.models.checkpoint import Checkpoint


class PearForecaster:
    """Rolls a trained PEAR out, one model step at a time, in physical units.

    The forcing of a step is that of the time it starts from, as in training.

    Parameters
    ----------
    checkpoint
        Model, statistics and provenance; moved to ``device`` and put into evaluation mode.
    device
        Where to compute; the yielded states stay there.
    dtype
        Precision of weights and fields. ``bfloat16`` is used inside the network only: a state in
        it would know the pressure to 512 Pa, so weights, state and statistics stay float32.
    group
        Each step is the mean over these of moving the state, stepping and moving it back. All of
        C4h makes any network equivariant; a single element is one member of the orbit.
    """

    name = "pear"

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        group: Sequence[Element] = (IDENTITY,),
    ) -> None:
        self.checkpoint = checkpoint
        self.layout = checkpoint.config.layout
        self.nside = checkpoint.config.nside
        self.time_step = np.timedelta64(checkpoint.config.step_hours * 3600, "s")
        self.device = torch.device(device)
        self._mixed = dtype is torch.bfloat16
        self.dtype = dtype = torch.float32 if self._mixed else dtype
        self.group = tuple(group)
        self._moves = representations(checkpoint.config)
        self._model = checkpoint.model.to(device=self.device, dtype=dtype).eval()
        self._normaliser = checkpoint.normaliser.to(device=self.device, dtype=dtype)
        self._context = f"model {checkpoint.id}"

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the states one step apart after the initial one.

        Raises
        ------
        InputError
            If the state has another layout or grid than the model, is not finite, or a step
            leaves the atmosphere.
        """
        return rollout(
            self.step, self.prepare(initial), steps, time_step=self.time_step, context=self._context
        )

    def prepare(self, initial: State) -> State:
        """Return the state where the model can step from it; InputError if it does not fit."""
        check_fits(initial, self.layout, self.nside, self._context)
        return initial.map(lambda values: values.to(device=self.device, dtype=self.dtype))

    @torch.inference_mode()
    def step(self, state: State) -> State:
        """Return the state one step later, unchecked; batch entries advance side by side."""
        forcing = self._model.forcing(state.valid_time)
        if forcing is not None:
            forcing = forcing.to(state.surface)
        parts = [self._moved(element, state, forcing) for element in self.group]
        surface, upper = (_mean(each) for each in zip(*parts, strict=True))
        return state.advanced(surface, upper, self.time_step)

    def _moved(
        self, element: Element, state: State, forcing: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """g⁻¹ Φ(g x): the forcing moves along, so that an equivariant network changes nothing."""
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


def _mean(members: Sequence[Tensor]) -> Tensor:
    return members[0] if len(members) == 1 else torch.stack(list(members)).mean(dim=0)
