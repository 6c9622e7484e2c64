"""The training loop: plain torch, one process or several, the same result after any resume."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pear.errors import InputError
from pear.models.base import StepNetwork
from pear.normaliser import Normaliser
from pear.progress import ProgressCallback
from pear.training.config import TrainingConfig
from pear.training.dataloader import Batch, BatchBuilder, Prefetch
from pear.training.distributed import ProcessGroup
from pear.training.losses import StepLoss
from pear.training.optimisation import Average, rate
from pear.training.run_log import RunLog
from pear.training.samples import Samples, batches


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to.

    Attributes
    ----------
    step
        Optimiser steps done.
    train_loss
        Mean over the last fiftieth of the steps.
    validation_loss
        Of the weights that were kept; None without validation data.
    seconds
        Of wall clock, all runs of a resumed training together.
    stopped
        ``"done"`` or ``"early"``.
    """

    step: int
    train_loss: float
    validation_loss: float | None
    seconds: float
    stopped: str


class Trainer:
    """One training of one model; :meth:`run` leaves the kept weights in the model.

    Parameters
    ----------
    model
        Initialised; its static fields and step scale are set.
    normaliser
        Statistics of the training period.
    train, validation
        Samples; the validation's may be None.
    config
        Settings.
    folder
        Of the journal.
    tick
        Told of progress, from 0 to 1 in all.
    """

    def __init__(
        self,
        model: StepNetwork,
        normaliser: Normaliser,
        train: Samples,
        validation: Samples | None,
        config: TrainingConfig,
        folder: Path,
        tick: ProgressCallback | None = None,
    ) -> None:
        self.model, self.normaliser, self.config = model, normaliser, config
        self.train, self.validation, self.tick = train, validation, tick
        if train.rollout != config.rollout:
            raise InputError(
                f"samples have {train.rollout} steps, the settings {config.rollout}",
                field="rollout",
            )
        self.team = ProcessGroup()
        self.journal = RunLog(folder, self.team.leads)
        self.loss = StepLoss(config, normaliser)
        self.maker = BatchBuilder(model, normaliser)
        self.optimiser = torch.optim.AdamW(
            _groups(model, config.weight_decay), lr=config.learning_rate, betas=(0.9, 0.95)
        )
        self.average = Average(model, config.ema)
        self.step = 0
        self.seconds = 0.0
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.worse = 0
        self.recent: list[float] = []

    @property
    def steps_an_epoch(self) -> int:
        """Optimiser steps in which each sample is seen once."""
        whole = self.config.batch * self.team.size * self.config.accumulate
        return max(self.train.starts.size // whole, 1)

    def run(self, resume: bool = False) -> TrainingResult:
        """Train to the end; with ``resume`` go on where the folder's journal stopped.

        Raises
        ------
        InputError
            If there is nothing to resume, or it was started with other settings.
        FloatingPointError
            If the loss or the data stop being finite.
        """
        if resume:
            self._load(self.journal.load())
        else:
            settings = self.config.to_dict()
            self.journal.write("start", config=settings, samples=int(self.train.starts.size))
        order = batches(
            self.train.starts.size,
            self.config.batch,
            self.config.seed,
            self.step * self.config.accumulate,
            self.team.rank,
            self.team.size,
        )
        reader = Prefetch(self.train, order)
        try:
            stopped = self._steps(reader)
        finally:
            reader.close()
        return self._finish(stopped)

    def _steps(self, reader: Prefetch) -> str:
        begun = time.perf_counter() - self.seconds
        saved, shown = time.perf_counter(), self._progress()
        while (progress := self._progress()) < 1.0:
            learning_rate = rate(self.config, progress)
            loss = self._update(reader, learning_rate)
            self.seconds = time.perf_counter() - begun
            self._note(loss, learning_rate)
            if self.tick is not None and self.team.leads:
                now = min(self._progress(), 1.0)
                self.tick(now - shown, f"step {self.step} loss {self._mean_loss():.4f}")
                shown = now
            if self.validation is not None and self.step % self._every() == 0 and self._validate():
                return "early"
            if time.perf_counter() - saved > self.config.save_seconds:
                self.journal.save(self._state())
                saved = time.perf_counter()
        return "done"

    def _progress(self) -> float:
        if self.config.steps is not None:
            return self.step / self.config.steps
        return self.team.agree(self.seconds / (60.0 * (self.config.minutes or 1.0)))

    def _every(self) -> int:
        return self.config.validate_every or self.steps_an_epoch

    def _update(self, reader: Prefetch, learning_rate: float) -> float:
        """Do one optimiser step; returns its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for part in range(self.config.accumulate):
            _, surface, upper, times = reader.get()
            batch = self.maker.make(surface, upper, times)
            if self.config.augmentation == "c4h":
                number = (self.step * self.config.accumulate + part) * self.team.size
                batch = self.maker.augment(batch, self.config.seed, number + self.team.rank)
            loss = self._rolled(batch) / self.config.accumulate
            torch.autograd.backward(loss)
            total += float(loss.detach())
        self.team.average_gradients(self.model.parameters())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        total = self.team.mean(total)
        if not math.isfinite(total):
            raise FloatingPointError(
                f"the loss is {total} at step {self.step}: lower the learning rate"
            )
        self.optimiser.step()
        self.average.update(self.model)
        self.step += 1
        return total

    def _rolled(self, batch: Batch) -> Tensor:
        """Mean loss over the steps of a roll-out from the batch's first states."""
        device = self.maker.device.type
        fields = batch.at(0)
        total = torch.zeros((), device=self.maker.device)
        for step in range(self.train.rollout):
            forcing = None if batch.forcing is None else batch.forcing[:, step]
            low = (
                torch.autocast(device, torch.bfloat16)
                if self.config.autocast
                else contextlib.nullcontext()
            )
            with low:
                fields = self.model(*fields, forcing)
            fields = (fields[0].float(), fields[1].float())
            total = total + self.loss(fields, batch.at(step + 1))
        return total / self.train.rollout

    def _note(self, loss: float, learning_rate: float) -> None:
        self.recent.append(loss)
        del self.recent[: -max(self.step // 50, 10)]
        if self.step % 10 == 0 or self.step == 1:
            progress = self._progress()
            left = self.seconds * (1.0 - progress) / max(progress, 1e-9)
            self.journal.write(
                "step",
                step=self.step,
                epoch=(self.step - 1) // self.steps_an_epoch,
                loss=self._mean_loss(10),
                learning_rate=learning_rate,
                seconds=round(self.seconds, 3),
                seconds_left=round(max(left, 0.0), 1),
                samples_per_second=round(
                    self.step
                    * self.config.batch
                    * self.config.accumulate
                    * self.team.size
                    / max(self.seconds, 1e-9),
                    3,
                ),
            )

    def _mean_loss(self, last: int | None = None) -> float:
        recent = self.recent[-last:] if last else self.recent
        return float(np.mean(recent))

    @torch.no_grad()
    def evaluate(self) -> float:
        """Loss of the averaged weights over the validation samples."""
        if self.validation is None:
            raise InputError("this training has no validation data", field="validation")
        self.average.swap(self.model)
        self.model.eval()
        try:
            losses = []
            for part in np.array_split(
                chosen := self.validation.spread(self.config.validation_samples),
                -(-chosen.size // self.config.batch),
            ):
                batch = self.maker.make(*self.validation.read(part))
                losses.append(float(self._rolled(batch)) * part.size)
            return float(np.sum(losses) / chosen.size)
        finally:
            self.average.swap(self.model)
            self.model.train()

    def _validate(self) -> bool:
        """Validate and remember the best weights; returns whether to stop early."""
        loss = self.evaluate()
        if self.best is None or loss < self.best[0]:
            self.best = (loss, {k: v.clone() for k, v in self.average.weights.items()})
            self.worse = 0
        else:
            self.worse += 1
        self.journal.write(
            "validation",
            step=self.step,
            loss=loss,
            best=self.best[0],
            seconds=round(self.seconds, 3),
        )
        return self.config.patience is not None and self.worse >= self.config.patience

    @torch.no_grad()
    def _finish(self, stopped: str) -> TrainingResult:
        if self.validation is not None and stopped == "done" and self.step % self._every():
            self._validate()
        self.journal.save(self._state())
        kept = self.average.weights if self.best is None else self.best[1]
        for name, parameter in self.model.named_parameters():
            parameter.copy_(kept[name])
        outcome = TrainingResult(
            self.step,
            self._mean_loss(),
            None if self.best is None else self.best[0],
            self.seconds,
            stopped,
        )
        self.journal.write(
            "end",
            step=self.step,
            **{
                "train_loss": outcome.train_loss,
                "validation_loss": outcome.validation_loss,
                "seconds": round(outcome.seconds, 3),
                "stopped": stopped,
            },
        )
        return outcome

    def _state(self) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "model": dict(self.model.named_parameters()),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(),
            "best": None if self.best is None else list(self.best),
            "worse": self.worse,
            "recent": self.recent,
        }

    @torch.no_grad()
    def _load(self, state: dict[str, Any]) -> None:
        held, now = dict(state["config"]), self.config.to_dict()
        for name, value in now.items():
            if name != "save_seconds" and held.get(name) != value:
                raise InputError(
                    f"this training was started with {name} = {held.get(name)}, not {value}",
                    field=name,
                    hint="resume with the same settings, or start anew elsewhere",
                )
        for name, parameter in self.model.named_parameters():
            parameter.copy_(state["model"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.load_state_dict(state["average"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.best = None if state["best"] is None else (state["best"][0], state["best"][1])
        self.worse, self.recent = state["worse"], list(state["recent"])
        self.journal.rewind(self.step)
        self.journal.write("resume", step=self.step)


def _groups(model: StepNetwork, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices only: norms, biases and position biases are scales, not directions."""
    matrices = [p for n, p in model.named_parameters() if p.ndim >= 2 and "position" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "position" in n]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
