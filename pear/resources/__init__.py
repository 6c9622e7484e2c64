"""What PEAR carries with it, so that the demo needs no network: all of it simulated.

``sample``
    ERA5-style NetCDF: consecutive days of the embedded atmosphere's test year.
``climatology.zarr``
    Day-of-year climatology of its training years, as harmonics.
``checkpoint``
    A PEAR trained on its training years.
``restart.npz``
    A spun-up state to start further simulations from.

``python -m service.cli.build_resources`` makes all of them.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pear.errors import InputError, did_you_mean

NAMES = ("sample", "climatology.zarr", "checkpoint", "restart.npz")


def path(name: str) -> Path:
    """Return where a shipped thing lies.

    Parameters
    ----------
    name
        One of :data:`NAMES`; ``"climatology"`` is accepted for ``"climatology.zarr"``.

    Raises
    ------
    InputError
        If nothing of this name ships, or the installation lacks it.
    """
    wanted = "climatology.zarr" if name == "climatology" else name
    if wanted not in NAMES:
        raise InputError(
            f"nothing ships as {name!r}", field="shipped", hint=did_you_mean(name, NAMES)
        )
    found = Path(str(resources.files(__package__))) / wanted
    if not found.exists():
        raise InputError(
            f"this installation lacks {wanted}", field="shipped", hint="install PEAR again"
        )
    return found
