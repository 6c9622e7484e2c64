"""Training: losses, samples, the loop and what it leaves behind, in plain torch.

Data come from any :class:`StateSource`; stores become one in :mod:`pipelines.training_data`.
"""

from pear.training.config import TrainingConfig
from pear.training.loop import Outcome, Trainer
from pear.training.source import ArraySource, Samples, StateSource

__all__ = ["ArraySource", "Outcome", "Samples", "StateSource", "Trainer", "TrainingConfig"]
