"""Training: losses, samples, the loop and what it leaves behind, in plain torch.

Data come from any :class:`StateSource`; stores become one in :mod:`pipelines.training.dataset`.
"""

from pear.training.config import TrainingConfig
from pear.training.samples import ArraySource, Samples, StateSource
from pear.training.trainer import Trainer, TrainingResult

__all__ = ["ArraySource", "Samples", "StateSource", "Trainer", "TrainingConfig", "TrainingResult"]
