"""The training loop: plain torch, in one process or several, bit-exact after a resume."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pear.device import threads_for
from pear.errors import InputError
from pear.models.base import StepNetwork
from pear.models.compiled import compile_model
from pear.normaliser import Normaliser, keep_forcings
from pear.prefetch import prefetch
from pear.progress import ProgressCallback, no_progress
from pear.training.config import TrainingConfig
from pear.training.dataloader import Batch, BatchBuilder
from pear.training.distributed import ProcessGroup
from pear.training.losses import StepLoss
from pear.training.optimisation import averaged_model, learning_rate
from pear.training.run_log import RunLog, TrainingState
from pear.training.samples import Samples, shuffled_batches
from pear.typing import Float32, Times


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training.

    Attributes
    ----------
    step
        Optimiser steps done.
    train_loss
        Mean over the last fiftieth of the steps.
    validation_loss
        Loss of the weights that were kept; None without validation data.
    seconds
        Wall-clock seconds, accumulated over resumed runs.
    stopped
        ``"done"`` or ``"early"``.

    Examples
    --------
    >>> from pear.training import TrainingResult
    >>> result = TrainingResult(100, 0.5, validation_loss=None, seconds=60.0, stopped="done")
    >>> result.step, result.train_loss
    (100, 0.5)
    """

    step: int
    train_loss: float
    validation_loss: float | None
    seconds: float
    stopped: str


class Trainer:
    """Trains a model; :meth:`run` leaves the best weights in it.

    Parameters
    ----------
    model
        Initialised network with its static fields and step scale.
    normaliser
        Statistics of the training period.
    train
        Samples to train on.
    validation
        Samples to select the weights by, or None.
    config
        Settings.
    folder
        Folder of the log and the resume state.
    progress
        Called after each step with the fraction of the training it took.

    Raises
    ------
    InputError
        If the samples and the settings disagree on the rollout.
    """

    def __init__(
        self,
        model: StepNetwork,
        normaliser: Normaliser,
        train: Samples,
        validation: Samples | None,
        config: TrainingConfig,
        folder: Path,
        progress: ProgressCallback | None = None,
    ) -> None:
        if train.rollout != config.rollout:
            raise InputError(
                f"samples have {train.rollout} steps, the settings {config.rollout}",
                field="rollout",
            )
        self.model, self.normaliser, self.config = model, normaliser, config
        self.network = compile_model(model)
        self.train, self.validation = train, validation
        self.progress = progress or no_progress
        self.processes = ProcessGroup()
        self.log = RunLog(folder, active=self.processes.is_main)
        self.loss = StepLoss(config, normaliser)
        self.batches = BatchBuilder(model, normaliser)
        self.optimiser = torch.optim.AdamW(
            _parameter_groups(model, config.weight_decay),
            lr=config.learning_rate,
            betas=(0.9, 0.95),
        )
        self.average = averaged_model(model, config.ema)
        self.step = 0
        self.seconds = 0.0
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.worse = 0
        self.recent: list[float] = []

    @property
    def batch(self) -> int:
        """Samples in an optimiser step, over all processes."""
        return self.config.batch * self.processes.size * self.config.accumulate

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in which each sample is seen once."""
        return max(self.train.starts.size // self.batch, 1)

    @property
    def done(self) -> float:
        """Fraction of the training that is done."""
        if self.config.steps is not None:
            return self.step / self.config.steps
        return self.processes.broadcast(self.seconds / (60.0 * (self.config.minutes or 1.0)))

    def run(self, *, resume: bool = False) -> TrainingResult:
        """Train to the end.

        Settings other than those of the training to resume are an InputError.

        Parameters
        ----------
        resume
            Continue from the folder's resume state.

        Returns
        -------
        TrainingResult
            Losses, steps and time.
        """
        # Forward, and backward with respect to fields and weights.
        work = 3 * self.config.batch * self.model.config.multiply_adds
        with threads_for(work):
            return self._run(resume=resume)

    def _run(self, *, resume: bool) -> TrainingResult:
        if resume:
            self._load(self.log.load())
        else:
            settings = self.config.to_dict()
            self.log.write("start", config=settings, samples=int(self.train.starts.size))
        order = shuffled_batches(
            self.train.starts.size,
            self.config.batch,
            self.config.seed,
            self.step * self.config.accumulate,
            self.processes.rank,
            self.processes.size,
        )
        with closing(prefetch(map(self.train.read, order))) as samples:
            stopped = self._train(samples)
        return self._finish(stopped)

    def _train(self, samples: Iterator[tuple[Float32, Float32, Times]]) -> str:
        """Do optimiser steps until the end; returns why it stopped."""
        start = time.perf_counter() - self.seconds
        saved, done = time.perf_counter(), self.done
        while done < 1.0:
            rate = learning_rate(self.config, done)
            loss = self._update(samples, rate)
            self.seconds = time.perf_counter() - start
            before, done = done, self.done
            self._record(loss, rate, done)
            if self.processes.is_main:
                note = f"step {self.step} loss {self._mean_loss():.4f}"
                self.progress(min(done, 1.0) - before, note)
            if self.validation is not None and self.step % self._every() == 0 and self._validate():
                return "early"
            if time.perf_counter() - saved > self.config.save_seconds:
                self.log.save(self._state())
                saved = time.perf_counter()
        return "done"

    def _every(self) -> int:
        return self.config.validate_every or self.steps_per_epoch

    def _update(self, samples: Iterator[tuple[Float32, Float32, Times]], rate: float) -> float:
        """Do one optimiser step and return its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for part in range(self.config.accumulate):
            batch = self.batches.build(*next(samples))
            if self.config.augmentation == "c4h":
                number = (self.step * self.config.accumulate + part) * self.processes.size
                number += self.processes.rank
                batch = self.batches.augment(batch, self.config.seed, number)
            loss = self.rollout_loss(batch, self.network) / self.config.accumulate
            torch.autograd.backward(loss)
            total += float(loss.detach())
        self.processes.average_gradients(self.model.parameters())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        total = self.processes.mean(total)
        if not math.isfinite(total):
            raise FloatingPointError(
                f"the loss is {total} at step {self.step}: lower the learning rate"
            )
        self.optimiser.step()
        self.average.update_parameters(self.model)
        self.step += 1
        return total

    def rollout_loss(self, batch: Batch, model: nn.Module) -> Tensor:
        """Return the mean loss over the steps of a rollout from the batch's first states."""
        device = self.batches.device
        fields = batch.at(0)
        total = torch.zeros((), device=device)
        for step in range(self.train.rollout):
            forcing = None if batch.forcing is None else batch.forcing[:, step]
            with torch.autocast(device.type, torch.bfloat16, enabled=self.config.autocast):
                surface, upper = model(*fields, forcing)
            layout = self.normaliser.layout
            fields = (
                keep_forcings(surface.float(), fields[0], layout.surface),
                keep_forcings(upper.float(), fields[1], layout.upper),
            )
            total = total + self.loss(fields, batch.at(step + 1))
        return total / self.train.rollout

    def _record(self, loss: float, rate: float, done: float) -> None:
        """Write every tenth step to the log."""
        self.recent.append(loss)
        del self.recent[: -max(self.step // 50, 10)]
        if self.step % 10 == 0 or self.step == 1:
            left = self.seconds * (1.0 - done) / max(done, 1e-9)
            self.log.write(
                "step",
                step=self.step,
                epoch=(self.step - 1) // self.steps_per_epoch,
                loss=self._mean_loss(10),
                learning_rate=rate,
                seconds=round(self.seconds, 3),
                seconds_left=round(max(left, 0.0), 1),
                samples_per_second=round(self.step * self.batch / max(self.seconds, 1e-9), 3),
            )

    def _mean_loss(self, last: int = 0) -> float:
        return float(np.mean(self.recent[-last:]))

    @torch.no_grad()
    def evaluate(self) -> float:
        """Return the loss of the averaged weights over the validation samples.

        Returns
        -------
        float
            Mean over at most ``validation_samples`` samples.

        Raises
        ------
        InputError
            If there are no validation data.
        """
        if self.validation is None:
            raise InputError("this training has no validation data", field="validation")
        model = compile_model(self.average.module.eval())
        chosen = self.validation.spread(self.config.validation_samples)
        losses = []
        for part in np.array_split(chosen, -(-chosen.size // self.config.batch)):
            batch = self.batches.build(*self.validation.read(part))
            losses.append(float(self.rollout_loss(batch, model)) * part.size)
        return float(np.sum(losses) / chosen.size)

    def _validate(self) -> bool:
        """Validate, remember the best weights, and return whether to stop early."""
        loss = self.evaluate()
        if self.best is None or loss < self.best[0]:
            weights = {k: v.clone() for k, v in _weights(self.average.module).items()}
            self.best = (loss, weights)
            self.worse = 0
        else:
            self.worse += 1
        seconds = round(self.seconds, 3)
        self.log.write("validation", step=self.step, loss=loss, best=self.best[0], seconds=seconds)
        return self.config.patience is not None and self.worse >= self.config.patience

    def _finish(self, stopped: str) -> TrainingResult:
        """Keep the best weights and close the log."""
        if self.validation is not None and stopped == "done" and self.step % self._every():
            self._validate()
        self.log.save(self._state())
        best, weights = self.best or (None, _weights(self.average.module))
        _set_weights(self.model, weights)
        result = TrainingResult(self.step, self._mean_loss(), best, self.seconds, stopped)
        self.log.write(
            "end",
            step=self.step,
            train_loss=result.train_loss,
            validation_loss=result.validation_loss,
            seconds=round(self.seconds, 3),
            stopped=stopped,
        )
        return result

    def _state(self) -> TrainingState:
        return {
            "config": self.config.to_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "model": _weights(self.model),
            "average": _weights(self.average.module),
            "updates": int(self.average.n_averaged),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            "worse": self.worse,
            "recent": self.recent,
        }

    def _load(self, state: TrainingState) -> None:
        for name, value in self.config.to_dict().items():
            held = state["config"].get(name)
            if name != "save_seconds" and held != value:
                raise InputError(
                    f"this training was started with {name} = {held}, not {value}",
                    field=name,
                    hint="resume with the same settings, or start a new one in another folder",
                )
        _set_weights(self.model, state["model"])
        _set_weights(self.average.module, state["average"])
        self.average.n_averaged.fill_(state["updates"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.best, self.worse, self.recent = state["best"], state["worse"], state["recent"]
        self.log.rewind(self.step)
        self.log.write("resume", step=self.step)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights by name, without copying them."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


@torch.no_grad()
def _set_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a model."""
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])


def _parameter_groups(model: StepNetwork, weight_decay: float) -> list[dict[str, Any]]:
    """Apply weight decay to matrices only, not to norms, biases and position biases."""
    matrices = [p for n, p in model.named_parameters() if p.ndim >= 2 and "position" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "position" in n]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
