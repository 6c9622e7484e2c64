"""The perturbation that makes the members of an ensemble differ unless another is asked for.

Of those measured with the shipped model, noise before every step is the best calibrated. Spread
over skill (standard deviation of the members over the error of their mean) at days 1 and 10, of the
default on 14 init times of the simulated year 2010 (:mod:`pear.models.spread_skill` keeps all
channels and lead times) and of noise at the start alone (without the correction, in 2007):

=================  ===================  ==================
variable           noise, every step    noise, start alone
=================  ===================  ==================
z500               1.20, .94            .50, .20
t850               .87, .95
q700               .68, .92             .23, .18
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
