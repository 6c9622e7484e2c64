"""Training in plain torch: losses, samples, the training loop and its log.

Data come from any :class:`StateSource`; :mod:`pipelines.training.dataset` makes one from a store.
"""

from pear.training.config import TrainingConfig
from pear.training.samples import ArraySource, Samples, StateSource
from pear.training.trainer import Trainer, TrainingResult

__all__ = ["ArraySource", "Samples", "StateSource", "Trainer", "TrainingConfig", "TrainingResult"]
