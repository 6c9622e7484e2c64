"""Make what PEAR carries with it, from a simulation and a training on it.

From nothing (half an hour to simulate, three hours to train)::

    pear simulate --start 2000-01-01 --days 2557 --out SIM
    pear ingest SIM/*.nc --out SIM/nside16.zarr --nside 16
    pear train --store SIM/nside16.zarr --out TRAIN --config pear/resources/recipe.json \\
        --steps 8000 --period 2000-01-01..2004-12-31 --validation 2005-01-01..2005-12-31
    pear train --store SIM/nside16.zarr --out TUNE --config pear/resources/finetune.json \\
        --initial TRAIN/checkpoint --steps 800 --period 2000-01-01..2004-12-31 \\
        --validation 2005-01-01..2005-12-31
    python -m service.cli.build_resources --simulated SIM --store SIM/nside16.zarr \\
        --model TUNE/checkpoint

2000-2004 trains, 2005 selects, 2006 is the test year and the sample's.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.models import checkpoint
from pear.times import as_utc
from pipelines.evaluation.climatology import build_climatology as climatology
from pipelines.simulation import files, run

TRAINING: Final = ("2000-01-01", "2004-12-31T23:59:59")
SAMPLE_START: Final = "2006-11-01"
SAMPLE_DAYS: Final = 25
HARMONICS: Final = 2
MOST_BYTES: Final = 20_000_000
_NAMES: Final = ("msl", "u10", "v10", "t2m", "z", "q", "t", "u", "v")


def ship_sample(
    simulated: Path, out: Path, start: str = SAMPLE_START, days: int = SAMPLE_DAYS
) -> Path:
    """Write consecutive days of a simulation as one coarsely packed ERA5-style file.

    Raises
    ------
    InputError
        If the simulation lacks one of the days.
    """
    first = np.datetime64(start, "D")
    wanted = np.arange(first, first + days * run.DAY)
    parts, attributes = [], {}
    for source in sorted(simulated.glob("simulated_*.nc")):
        with xr.open_dataset(source) as month:
            keep = np.isin(month["valid_time"].values.astype("datetime64[D]"), wanted)
            if keep.any():
                parts.append(month.isel(valid_time=keep).load())
                attributes = {str(k): str(v) for k, v in month.attrs.items()}
    found = sum(part.sizes["valid_time"] for part in parts)
    if found != days:
        raise InputError(
            f"{simulated} holds {found} of the {days} days from {start}",
            field="--simulated",
            hint="simulate the missing days first",
        )
    whole = xr.concat(parts, "valid_time")
    fields = {name: whole[name].values[..., ::-1, :].astype(np.float32) for name in _NAMES}
    folder = out / "sample"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"simulated_{wanted[0]}_{wanted[-1]}.nc"
    for old in folder.glob("*.nc"):
        old.unlink()
    files.write(
        target,
        as_utc(whole["valid_time"].values),
        whole["latitude"].values[::-1],
        whole["longitude"].values,
        fields,
        attributes,
        files.COARSE,
    )
    return target


def ship_climatology(store: Path, out: Path) -> Path:
    """Fit the harmonics of the training years."""
    target = out / "climatology.zarr"
    climatology(store, target, harmonics=HARMONICS, period=TRAINING)
    return target


def ship_checkpoint(trained: Path, out: Path) -> Path:
    """Keep a trained model as float16, with its provenance."""
    model = checkpoint.load(trained)
    target = out / "checkpoint"
    about = {"atmosphere": run.LABEL, "simulated": True, **_impersonal(model.provenance)}
    checkpoint.save(target, model.model, model.normaliser, about, "float16")
    return target


def _impersonal(value: Any, key: str = "") -> Any:
    """Return provenance whose commands name no folders of the machine that they ran on."""
    if isinstance(value, dict):
        return {name: _impersonal(inner, name) for name, inner in value.items()}
    if key == "command":
        return re.sub(r"(?<=\s)/\S*/(?=[^/\s]+(?:\s|$))", "", value)
    return value


def ship_restart(simulated: Path, out: Path) -> Path:
    """Copy the last restart state of the simulation.

    Raises
    ------
    InputError
        If the folder holds none.
    """
    kept = sorted(simulated.glob("restart_*.npz"))
    if not kept:
        raise InputError(f"{simulated} holds no restart state", field="--simulated")
    return Path(shutil.copyfile(kept[-1], out / "restart.npz"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the parts that are asked for and check that all together are small enough.

    Raises
    ------
    InputError
        If a source is missing, or what ships weighs more than 20 MB.
    """
    from pear import resources

    parser = argparse.ArgumentParser(description="Make what PEAR carries with it.")
    parser.add_argument("--simulated", type=Path, help="folder of `pear simulate`")
    parser.add_argument("--store", type=Path, help="analysis store made from it")
    parser.add_argument("--model", type=Path, help="checkpoint folder of `pear train`")
    parser.add_argument("--out", type=Path, default=Path(resources.__file__).parent)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.simulated is not None:
        ship_sample(given.simulated, given.out)
        ship_restart(given.simulated, given.out)
    if given.store is not None:
        ship_climatology(given.store, given.out)
    if given.model is not None:
        ship_checkpoint(given.model, given.out)
    weight = sum(path.stat().st_size for path in given.out.rglob("*") if path.is_file())
    if weight > MOST_BYTES:
        raise InputError(f"what ships weighs {weight} bytes, more than {MOST_BYTES}", field="ship")


if __name__ == "__main__":
    main()
