"""Settings of a training run: everything that decides its result besides model and data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, get_args

from pear.errors import InputError, check_settings, did_you_mean

Loss = Literal["published", "tendency"]
Schedule = Literal["constant", "cosine"]
Augmentation = Literal["none", "c4h"]
_CHOICES: Final = {"loss": Loss, "schedule": Schedule, "augmentation": Augmentation}
_POSITIVE: Final = ("learning_rate", "batch", "accumulate", "rollout", "clip", "validation_samples")


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of the loop.

    Attributes
    ----------
    loss
        ``published``: mean absolute error of standardised fields, surface weighted by
        ``surface_weight`` (arXiv 2505.17720, section 3). ``tendency``: mean squared error in units
        of each channel's standard deviation of the change over one step, every channel alike.
    surface_weight
        Weight of the surface term; None means 0.25 for ``published`` and each channel alike for
        ``tendency``.
    learning_rate, weight_decay, clip
        Of AdamW; ``clip`` bounds the norm of the gradient.
    schedule
        ``constant``, or ``cosine`` down to ``final_rate`` times the rate.
    warmup
        Share of the run over which the rate rises linearly from zero.
    steps, minutes
        Length of the run: optimiser steps, or minutes of wall clock; exactly one is given.
    batch, accumulate
        Samples in a batch, and batches whose gradients are summed before a step.
    rollout
        Steps that the model is rolled out in training; the loss is the mean over them.
    ema
        Decay of the averaged weights that are validated and kept; 0 keeps the raw weights.
    autocast
        Whether the network runs in bfloat16 (weights, optimiser and loss stay float32).
    augmentation
        ``c4h``: each sample is moved by a random element of C4h.
    seed
        Of sample order, augmentation and initial weights.
    validate_every
        Steps between validations; None means once an epoch.
    validation_samples
        Samples of a validation, evenly spread over the validation period.
    patience
        Validations without improvement after which training stops early; None never does.
    save_seconds
        Least time between two resume states.

    Raises
    ------
    InputError
        If a setting is out of its range, or not exactly one of steps and minutes is given.
    """

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
    def published(cls, **changes: Any) -> Self:
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
        return cls(**{**settings, **changes})

    def __post_init__(self) -> None:
        for name, choice in _CHOICES.items():
            value, known = getattr(self, name), get_args(choice)
            if value not in known:
                raise InputError(
                    f"{name} {value!r} is unknown", field=name, hint=did_you_mean(str(value), known)
                )
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}", field=name)
        for name in ("warmup", "final_rate", "ema"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name} must be in [0, 1), got {getattr(self, name)}", field=name)
        if (self.steps is None) == (self.minutes is None):
            raise InputError(
                "give the length of the training once: steps or minutes",
                field="steps",
                hint="--steps N or --minutes M",
            )
        for name in ("steps", "minutes", "validate_every", "patience"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be positive, got {value}", field=name)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """Build from :meth:`to_dict`.

        Raises
        ------
        InputError
            If a setting is unknown or out of range.
        """
        check_settings(settings, cls, "training")
        return cls(**settings)
