"""Settings of a training: everything that determines its result besides model and data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pear.config import Config
from pear.errors import InputError

Loss = Literal["published", "tendency"]
Schedule = Literal["constant", "cosine"]
Augmentation = Literal["none", "c4h"]
_POSITIVE: Final = (
    "learning_rate",
    "clip",
    "steps",
    "minutes",
    "batch",
    "accumulate",
    "rollout",
    "validate_every",
    "validation_samples",
    "patience",
)


@dataclass(frozen=True)
class TrainingConfig(Config):
    """Settings of the training loop.

    Attributes
    ----------
    loss
        ``published``: mean absolute error of standardised fields, surface weighted by
        ``surface_weight`` (arXiv 2505.17720, section 3). ``tendency``: mean squared error in units
        of the standard deviation of each channel's change over one step, all channels alike.
    surface_weight
        Weight of the surface term; default: 0.25 for ``published``, all channels alike for
        ``tendency``.
    learning_rate, weight_decay
        Settings of AdamW.
    clip
        Largest norm of the gradient.
    schedule
        ``constant``, or ``cosine`` down to ``final_rate`` times the learning rate.
    warmup
        Fraction of the run over which the learning rate rises linearly from zero.
    final_rate
        Last learning rate of the ``cosine`` schedule, as a fraction of the first.
    steps, minutes
        Length of the run: optimiser steps, or minutes of wall-clock time; exactly one is given.
    batch, accumulate
        Samples in a batch, and batches whose gradients are summed before a step.
    rollout
        Steps that the model is rolled out in training; the loss is the mean over them.
    ema
        Decay of the averaged weights that are validated and kept; 0 keeps the raw weights.
    autocast
        Run the network in bfloat16; weights, optimiser and loss stay float32.
    augmentation
        ``c4h``: transform each sample by a random element of C4h.
    seed
        Random seed of sample order, augmentation and initial weights.
    validate_every
        Steps between validations; default: once an epoch.
    validation_samples
        Samples of a validation, evenly spread over the validation period.
    patience
        Validations without improvement after which training stops early; default: never.
    save_seconds
        Shortest time between two resume states.

    Raises
    ------
    InputError
        If a setting is out of range, or not exactly one of steps and minutes is given.

    Examples
    --------
    >>> TrainingConfig(steps=8000, augmentation="c4h").learning_rate
    0.001
    """

    kind = "training"

    loss: Loss = "tendency"
    surface_weight: float | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    clip: float = 1.0
    schedule: Schedule = "cosine"
    warmup: float = 0.03
    final_rate: float = 0.01
    steps: int | None = None
    minutes: float | None = None
    batch: int = 4
    accumulate: int = 1
    rollout: int = 1
    ema: float = 0.995
    autocast: bool = True
    augmentation: Augmentation = "none"
    seed: int = 0
    validate_every: int | None = None
    validation_samples: int = 32
    patience: int | None = None
    save_seconds: float = 60.0

    @classmethod
    def published(cls, **changes: object) -> Self:
        """Build the published recipe: L1, AdamW at 5e-4 constant, weight decay 3e-6, batch 1."""
        settings: dict[str, Any] = {
            "loss": "published",
            "learning_rate": 5e-4,
            "weight_decay": 3e-6,
            "batch": 1,
            "schedule": "constant",
            "warmup": 0.0,
            "ema": 0.0,
            "autocast": False,
        }
        settings.update(changes)
        return cls(**settings)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive(*_POSITIVE)
        for name in ("warmup", "final_rate", "ema"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name} must be in [0, 1), got {getattr(self, name)}", field=name)
        if (self.steps is None) == (self.minutes is None):
            raise InputError(
                "the length of a training is given by exactly one of steps and minutes",
                field="steps",
                hint="--steps N or --minutes M",
            )
