"""Files shipped with PEAR, so that the demo works offline; all weather in them is simulated.

``sample``
    ERA5-style NetCDF: consecutive days from the test year of the simulated atmosphere.
``climatology.zarr``
    Day-of-year climatology of its training years, as harmonics.
``checkpoint``
    A PEAR trained on its training years.
``restart.npz``
    A spun-up state from which to start further simulations.
``recipe.json``, ``finetune.json``
    Settings of that training.
``natural_earth_110m.npz``, ``natural_earth_50m.npz``, ``borders_110m.npz``, ``borders_50m.npz``,
``land_fraction.npz``
    Coastlines and land; see :mod:`pear.resources.natural_earth`.

``python -m service.cli.build_resources`` makes the simulated ones.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from pear.errors import InputError, did_you_mean

NAMES: Final = (
    "sample",
    "climatology.zarr",
    "checkpoint",
    "restart.npz",
    "recipe.json",
    "finetune.json",
    "natural_earth_110m.npz",
    "natural_earth_50m.npz",
    "borders_110m.npz",
    "borders_50m.npz",
    "land_fraction.npz",
)


def path(name: str) -> Path:
    """Return the path of a shipped file or folder.

    Parameters
    ----------
    name
        One of :data:`NAMES`; ``"climatology"`` is accepted for ``"climatology.zarr"``.

    Returns
    -------
    pathlib.Path
        An existing path.

    Raises
    ------
    InputError
        If the name is unknown or the installation lacks the file.

    Examples
    --------
    >>> path("checkpoint").name
    'checkpoint'
    """
    wanted = "climatology.zarr" if name == "climatology" else name
    if wanted not in NAMES:
        raise InputError(
            f"PEAR ships no resource {name!r}", field="resource", hint=did_you_mean(name, NAMES)
        )
    found = Path(str(resources.files(__package__))) / wanted
    if not found.exists():
        raise InputError(
            f"this installation lacks {wanted}", field="resource", hint="install PEAR again"
        )
    return found
