"""From samples to standardised tensors, read one batch ahead in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pear.errors import InputError
from pear.models.base import StepNetwork
from pear.models.config import FORCINGS, PearConfig
from pear.normaliser import Normaliser
from pear.sphere.symmetry import C4H, permutation
from pear.training.samples import Array, Samples

Read = tuple[int, Array, Array, npt.NDArray[np.datetime64]]


@dataclass(frozen=True)
class Batch:
    """Standardised samples.

    Attributes
    ----------
    surface, upper
        (batch, step, surface, cell) and (batch, step, upper, level, cell); step 0 is the input.
    forcing
        (batch, step, forcing, cell) at the times of the states, or None.
    """

    surface: Tensor
    upper: Tensor
    forcing: Tensor | None

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the standardised state at a step."""
        return self.surface[:, step], self.upper[:, step]


class Prefetch:
    """Reads samples in the given order, a few batches ahead of who asks.

    Parameters
    ----------
    samples
        Where to read.
    order
        Yields (epoch, sample indices).
    ahead
        Batches kept ready.
    """

    def __init__(
        self, samples: Samples, order: Iterator[tuple[int, npt.NDArray[np.int64]]], ahead: int = 2
    ) -> None:
        self._samples, self._order = samples, order
        self._ready: queue.Queue[Read | BaseException] = queue.Queue(ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            for epoch, which in self._order:
                if not self._put((epoch, *self._samples.read(which))):
                    return
        except BaseException as error:  # handed to the reader, who raises it
            self._put(error)

    def _put(self, item: Read | BaseException) -> bool:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def get(self) -> Read:
        """Return the next batch, waiting for it; errors of the reading thread are raised here."""
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()


class BatchBuilder:
    """Turns what was read into a :class:`Batch` on the model's device.

    Parameters
    ----------
    model
        Gives the forcing.
    normaliser
        Standardises; on the device where the batch is wanted.
    """

    def __init__(self, model: StepNetwork, normaliser: Normaliser) -> None:
        self.model, self.normaliser = model, normaliser
        self.device = normaliser.surface_mean.device
        self._signs = [FORCINGS[name] for name in model.config.forcings]

    @torch.no_grad()
    def make(self, surface: Array, upper: Array, times: npt.NDArray[np.datetime64]) -> Batch:
        """Standardise (batch, step, …) arrays in physical units and add the forcing.

        Raises
        ------
        FloatingPointError
            If a value is not finite, naming the times of the batch.
        """
        tensors = [torch.from_numpy(part).to(self.device) for part in (surface, upper)]
        flat = [part.flatten(0, 1) for part in tensors]
        standard = self.normaliser(*flat)
        for part in standard:
            if not bool(torch.isfinite(part).all()):
                raise FloatingPointError(
                    f"training data are not finite between {times.min()} and {times.max()}"
                )
        forcing = self.model.forcing(times.ravel())
        shape = times.shape
        return Batch(
            standard[0].view(*shape, *standard[0].shape[1:]),
            standard[1].view(*shape, *standard[1].shape[1:]),
            None if forcing is None else forcing.to(self.device).view(*shape, *forcing.shape[1:]),
        )

    def augment(self, batch: Batch, seed: int, number: int) -> Batch:
        """Move each sample by a random element of C4h, decided by seed and batch number alone.

        Northward wind and the forcings that are odd under the mirror change sign with it; land
        and mountains move along, so that the moved sample is as true as the given one.

        Raises
        ------
        InputError
            If the network is not on HEALPix.
        """
        config = self.model.config
        if not isinstance(config, PearConfig):
            raise InputError(
                "only networks on HEALPix can be augmented by C4h", field="augmentation"
            )
        layout, nside, statistics = config.layout, config.nside, self.normaliser
        odd = (layout.mirror_signs("surface"), layout.mirror_signs("upper"), self._signs)
        means = (
            statistics.surface_mean / statistics.surface_std,
            statistics.upper_mean / statistics.upper_std,
            None,
        )
        chosen = np.random.default_rng([seed, number]).integers(len(C4H), size=len(batch.surface))
        parts: list[list[Tensor]] = [[], [], []]
        for index, element in enumerate(C4H[i] for i in chosen):
            cells = torch.from_numpy(np.array(permutation(element, nside))).to(self.device)
            moved = [batch.surface[index][..., cells], batch.upper[index][..., cells]]
            if batch.forcing is not None:
                moved.append(batch.forcing[index][..., cells])
            if element.mirror:
                for part, signs, mean in zip(moved, odd, means, strict=False):
                    sign = torch.tensor(signs, dtype=part.dtype, device=self.device)
                    part.mul_(sign.reshape(1, -1, *(1,) * (part.ndim - 2)))
                    if mean is not None:  # it is the value in physical units that changes sign
                        part[:, sign < 0] -= 2 * mean[sign < 0, ..., None]
            for held, values in zip(parts, moved, strict=False):
                held.append(values)
        forcing = torch.stack(parts[2]) if parts[2] else None
        return Batch(torch.stack(parts[0]), torch.stack(parts[1]), forcing)
