r"""Build the files shipped with PEAR from a simulation and a training on it.

From scratch (half an hour to simulate, three hours to train)::

    pear simulate --start 2000-01-01 --days 2557 --output SIM
    pear ingest SIM/*.nc --output SIM/nside16.zarr --nside 16
    pear train --analysis SIM/nside16.zarr -o TRAIN --config pear/resources/recipe.json \
        --steps 8000 --period 2000-01-01..2004-12-31 --validation 2005-01-01..2005-12-31
    pear train --analysis SIM/nside16.zarr -o TUNE --config pear/resources/finetune.json \
        --initial TRAIN/checkpoint --steps 800 --period 2000-01-01..2004-12-31 \
        --validation 2005-01-01..2005-12-31
    pear simulate --start 2007-01-01 --days 365 --shipped-restart --output SIM7
    pear ingest SIM7/*.nc --output SIM7/nside16.zarr --nside 16
    pear models correct TUNE/checkpoint --analysis SIM7/nside16.zarr -o FILTERED
    pear simulate --start 2004-01-01 --days 731 --shipped-restart --output SIM4
    pear ingest SIM4/*.nc --output SIM4/nside16.zarr --nside 16
    pear models correct FILTERED --keep --hydrostatic --dry-mass -o CORRECTED \
        --analysis SIM4/nside16.zarr --period 2005-01-01..2005-12-31
    python -m service.cli.build_resources --simulated SIM --store SIM/nside16.zarr \
        --model CORRECTED

2000-2004 is for training, 2005 for selection, 2006 for tests and the sample; 2007 for the mean
error of a step, 2008 for the choice of its filter, 2005 of the last simulation for its balance,
later years for tests. ``pear evaluate
--members 6 --record`` then measures the members (the handbook's page on skill).
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from pear import resources
from pear.errors import InputError
from pear.models import checkpoint
from pear.store.static_fields import GROUND, LAND
from pear.times import DAY, as_utc
from pear.typing import Float32
from pear.variables import VARIABLES
from pipelines.evaluation.climatology import HarmonicFit
from pipelines.evaluation.climatology import build_climatology as climatology
from pipelines.simulation import files, run

TRAINING: Final = ("2000-01-01", "2004-12-31T23:59:59")
SAMPLE_START: Final = "2006-11-01"
SAMPLE_DAYS: Final = 25
HARMONICS: Final = 2
CLIMATOLOGY_BITS: Final = 12
"""Temperature is then kept in steps of at most .012 K; the sample has steps of .06 K."""
MAX_BYTES: Final = 17_400_000
"""So that the wheel, with the handbook and the code, has at most 20 MB."""


def build_sample(
    simulated: Path, out: Path, start: str = SAMPLE_START, days: int = SAMPLE_DAYS
) -> Path:
    """Write consecutive days of a simulation as one coarsely packed ERA5-style file.

    Parameters
    ----------
    simulated
        Folder of the simulation.
    out
        Folder of the resources.
    start, days
        First day and number of days.

    Returns
    -------
    pathlib.Path
        The file, in the folder ``sample``.

    Raises
    ------
    InputError
        If the simulation lacks one of the days.
    """
    first = np.datetime64(start, "D")
    wanted = np.arange(first, first + days * DAY)
    parts = []
    for source in sorted(simulated.glob("simulated_*.nc")):
        with xr.open_dataset(source) as month:
            keep = np.isin(month["valid_time"].values.astype("datetime64[D]"), wanted)
            if keep.any():
                parts.append(month.isel(valid_time=keep).load())
    found = sum(part.sizes["valid_time"] for part in parts)
    if found != days:
        raise InputError(
            f"{simulated} has {found} of the {days} days from {start}",
            field="--simulated",
            hint="simulate the missing days first",
        )
    whole = xr.concat(parts, "valid_time", data_vars="minimal")

    def field(name: str) -> Float32:
        return whole[name].values[..., ::-1, :].astype(np.float32)

    folder = out / "sample"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.nc"):
        old.unlink()
    target = folder / f"simulated_{wanted[0]}_{wanted[-1]}.nc"
    files.write(
        target,
        as_utc(whole["valid_time"].values),
        files.Grid(
            whole["latitude"].values[::-1],
            whole["longitude"].values,
            {name: field(name) for name in (GROUND, LAND) if name in whole},
        ),
        {name: field(name) for name in [row.short_name for row in VARIABLES if row.published]},
        {str(name): str(value) for name, value in whole.attrs.items()},
        files.COARSE,
    )
    return target


def build_climatology(store: Path, out: Path) -> Path:
    """Fit the harmonics of the training years."""
    target = out / "climatology.zarr"
    climatology(store, target, fit=HarmonicFit(HARMONICS, CLIMATOLOGY_BITS), period=TRAINING)
    return target


def build_checkpoint(trained: Path, out: Path) -> Path:
    """Save a trained model as float16, with its provenance."""
    model = checkpoint.load(trained)
    target = out / "checkpoint"
    about = {"atmosphere": run.LABEL, "simulated": True, **_impersonal(model.provenance)}
    checkpoint.save(target, model.model, model.normaliser, about, "float16", model.correction)
    return target


def _impersonal(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return provenance without the folders of the machine in its commands."""
    kept = dict(provenance)
    for name, value in provenance.items():
        if isinstance(value, Mapping):
            kept[name] = _impersonal(value)
        elif name == "command":
            kept[name] = re.sub(r"(?<=\s)/\S*/(?=[^/\s]+(?:\s|$))", "", value)
    return kept


def build_restart(simulated: Path, out: Path) -> Path:
    """Copy the last restart state of a simulation.

    Parameters
    ----------
    simulated
        Folder of the simulation.
    out
        Folder of the resources.

    Returns
    -------
    pathlib.Path
        The copy.

    Raises
    ------
    InputError
        If the folder has none.
    """
    kept = sorted(simulated.glob("restart_*.npz"))
    if not kept:
        raise InputError(f"{simulated} has no restart state", field="--simulated")
    return Path(shutil.copyfile(kept[-1], out / "restart.npz"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the requested files and check the size of all together.

    Parameters
    ----------
    arguments
        Command line; default: that of the process.

    Raises
    ------
    InputError
        If the package data are larger than :data:`MAX_BYTES`.
    """
    parser = argparse.ArgumentParser(description="Build the files shipped with PEAR.")
    parser.add_argument("--simulated", type=Path, help="folder of `pear simulate`")
    parser.add_argument("--store", type=Path, help="analysis store made from it")
    parser.add_argument("--model", type=Path, help="checkpoint folder of `pear train`")
    parser.add_argument("--output", dest="out", type=Path, default=Path(resources.__file__).parent)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.simulated is not None:
        build_sample(given.simulated, given.out)
        build_restart(given.simulated, given.out)
    if given.store is not None:
        build_climatology(given.store, given.out)
    if given.model is not None:
        build_checkpoint(given.model, given.out)
    size = sum(path.stat().st_size for path in given.out.rglob("*") if path.is_file())
    if size > MAX_BYTES:
        raise InputError(f"package data is {size} bytes, limit {MAX_BYTES}", field="--output")


if __name__ == "__main__":
    main()
