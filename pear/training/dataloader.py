"""From samples to standardised tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pear.errors import InputError
from pear.models.base import StepNetwork
from pear.models.config import FORCINGS, PearConfig
from pear.normaliser import Normaliser
from pear.sphere.symmetry import C4H, permutation
from pear.typing import Float32, TensorPair, Times


@dataclass(frozen=True)
class Batch:
    """Standardised samples.

    Attributes
    ----------
    surface, upper
        (batch, step, surface, cell) and (batch, step, upper, level, cell); step 0 is the input.
    forcing
        (batch, step, forcing, cell) at the times of the states, or None.

    Examples
    --------
    >>> from pear.training.dataloader import Batch
    >>> batch = Batch(torch.zeros(2, 3, 4, 192), torch.zeros(2, 3, 5, 13, 192), forcing=None)
    >>> surface, upper = batch.at(0)  # step 0 of two steps
    >>> tuple(surface.shape), tuple(upper.shape)
    ((2, 4, 192), (2, 5, 13, 192))
    """

    surface: Tensor
    upper: Tensor
    forcing: Tensor | None

    def at(self, step: int) -> TensorPair:
        """Return the standardised states at a step."""
        return self.surface[:, step], self.upper[:, step]


class BatchBuilder:
    """Makes a :class:`Batch` from samples, on the device of the normaliser.

    Parameters
    ----------
    model
        Network whose forcing is added.
    normaliser
        Statistics to standardise with.

    Examples
    --------
    >>> from pear.training.dataloader import BatchBuilder
    >>> from pear.models.pear import Pear
    >>> config = PearConfig(nside=4, embed=8, depths=(1,) * 4, heads=(1,) * 4, patch=4)
    >>> builder = BatchBuilder(Pear(config), Normaliser.identity(config.layout))
    >>> times = np.array([["2001-01-01", "2001-01-02"]], dtype="datetime64[s]")
    >>> fields = np.ones((1, 2, 4, 192), "f4"), np.ones((1, 2, 5, 13, 192), "f4")
    >>> batch = builder.build(*fields, times)
    >>> moved = builder.augment(batch, seed=0, number=0)
    >>> moved.upper.shape == batch.upper.shape
    True
    """

    def __init__(self, model: StepNetwork, normaliser: Normaliser) -> None:
        self.model, self.normaliser = model, normaliser
        self.device = normaliser.surface_mean.device

    @torch.no_grad()
    def build(self, surface: Float32, upper: Float32, times: Times) -> Batch:
        """Standardise samples and add the forcing.

        Parameters
        ----------
        surface, upper
            (batch, step, surface, cell) and (batch, step, upper, level, cell), physical units.
        times
            (batch, step) valid times.

        Returns
        -------
        Batch
            On the device of the normaliser.

        Raises
        ------
        FloatingPointError
            If a value is not finite, naming the times of the batch.
        """
        tensors = [torch.from_numpy(part).to(self.device) for part in (surface, upper)]
        standard = self.normaliser(*(part.flatten(0, 1) for part in tensors))
        if not all(bool(torch.isfinite(part).all()) for part in standard):
            raise FloatingPointError(
                f"training data are not finite between {times.min()} and {times.max()}"
            )
        forcing = self.model.forcing(times.ravel())
        if forcing is not None:
            forcing = forcing.to(self.device).view(*times.shape, *forcing.shape[1:])
        surface_part, upper_part = (part.view(*times.shape, *part.shape[1:]) for part in standard)
        return Batch(surface_part, upper_part, forcing)

    def augment(self, batch: Batch, seed: int, number: int) -> Batch:
        """Transform each sample by a random element of C4h.

        Northward wind and the forcings that are odd under the mirror change sign with it; land
        and mountains move along, so the transformed sample is as valid as the original.

        Parameters
        ----------
        batch
            Samples on HEALPix.
        seed, number
            Seed of the training and number of the batch; they determine the elements.

        Returns
        -------
        Batch
            Transformed samples.

        Raises
        ------
        InputError
            If the network is not on HEALPix.
        """
        config, statistics = self.model.config, self.normaliser
        if not isinstance(config, PearConfig):
            raise InputError("augmentation by C4h needs a network on HEALPix", field="augmentation")
        chosen = np.random.default_rng([seed, number]).integers(len(C4H), size=len(batch.surface))
        tables = [torch.from_numpy(np.array(permutation(C4H[i], config.nside))) for i in chosen]
        cells = torch.stack(tables).to(self.device)
        mirrored = torch.tensor([C4H[i].mirror for i in chosen], device=self.device)

        def transform(values: Tensor, signs: tuple[int, ...], mean: Tensor | None) -> Tensor:
            index = cells.view(len(chosen), *(1,) * (values.ndim - 2), -1).expand_as(values)
            moved = values.gather(-1, index)
            odd = torch.tensor(signs, device=self.device) < 0
            # The physical value changes sign: x = (y - mean) / std becomes -x - 2 mean / std.
            opposite = -moved[:, :, odd]
            if mean is not None:
                opposite = opposite - 2 * mean[odd, ..., None]
            sample = mirrored.view(-1, *(1,) * (values.ndim - 1))
            moved[:, :, odd] = torch.where(sample, opposite, moved[:, :, odd])
            return moved

        surface_mean = statistics.surface_mean / statistics.surface_std
        upper_mean = statistics.upper_mean / statistics.upper_std
        forcing = batch.forcing
        if forcing is not None:
            signs = tuple(FORCINGS[name] for name in config.forcings)
            forcing = transform(forcing, signs, None)
        return Batch(
            transform(batch.surface, config.layout.mirror_signs("surface"), surface_mean),
            transform(batch.upper, config.layout.mirror_signs("upper"), upper_mean),
            forcing,
        )
