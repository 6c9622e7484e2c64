"""The perturbation that makes the members of an ensemble differ unless another is asked for.

Of those measured with the shipped model, noise before every step is the best calibrated. Spread
over skill (standard deviation of the members over the error of their mean) at days 1 and 10, of the
default on 12 init times of the simulated year 2007 (:mod:`pear.models.spread_skill` keeps all
channels and lead times) and of noise at the start alone:

=================  ===================  ==================
variable           noise, every step    noise, start alone
=================  ===================  ==================
z500               1.29, 1.04           .50, .20
t850               .85, .98
q700               .66, .94             .23, .18
=================  ===================  ==================
"""

from __future__ import annotations

from typing import Final

DEFAULT_SCALE: Final = 0.3
"""Standard deviation of the noise, in units of each channel's change over one step."""
DEFAULT_PERTURB_STEPS: Final = True
"""Perturb before every step, not at the start alone: networks damp what is added once."""
DEFAULT_FIELD_SCALE: Final = 0.1
"""Size of random field perturbations, in units of the climatological spread."""
