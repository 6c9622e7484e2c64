"""A PEAR checkpoint as a forecaster: standardise, step, return to physical units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from pear.rollout.baselines import check_fits
from pear.rollout.generator import rollout
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
        Precision of weights and fields.
    """

    name = "pear"

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.checkpoint = checkpoint
        self.layout = checkpoint.config.layout
        self.nside = checkpoint.config.nside
        self.step = np.timedelta64(checkpoint.config.step_hours * 3600, "s")
        self.device = torch.device(device)
        self.dtype = dtype
        self._model = checkpoint.model.to(device=self.device, dtype=dtype).eval()
        self._normaliser = checkpoint.normaliser.to(device=self.device, dtype=dtype)
        self._context = f"model {checkpoint.id}"

    def forecast(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the states one step apart after the initial one.

        Raises
        ------
        InputError
            If the state has another layout or grid than the model, is not finite, or a step
            leaves the atmosphere.
        """
        check_fits(initial, self.layout, self.nside, self._context)
        state = initial.map(lambda values: values.to(device=self.device, dtype=self.dtype))
        return rollout(self._step, state, steps, step=self.step, context=self._context)

    @torch.inference_mode()
    def _step(self, state: State) -> State:
        surface, upper = self._normaliser(state.surface, state.upper)
        forcing = self._model.forcing(state.valid_time)
        if forcing is not None:
            forcing = forcing.to(surface)
        surface, upper = self._model(surface, upper, forcing)
        surface, upper = self._normaliser.inverse(surface, upper)
        return state.advanced(surface, upper, self.step)
