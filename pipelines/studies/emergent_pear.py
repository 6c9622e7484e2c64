"""Ensembles of PEAR networks that were trained with the symmetries of the grid as augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.models import checkpoint
from pear.progress import ProgressCallback
from pear.rollout import PearForecaster
from pear.sphere.symmetry import IDENTITY, M
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.reader import stored_layout
from pear.times import to_iso
from pear.training import TrainingConfig
from pear.typing import Times
from pipelines.studies.ablation import BASE, config_of
from pipelines.studies.claims import Values
from pipelines.studies.symmetrisation import (
    common_error,
    ensemble_error,
    error_products,
    step_scale,
)
from pipelines.training.train import CHECKPOINT, TrainingJob, train

EMBED: Final = 32
BATCH: Final = 4
TEST_STATES: Final = 4
MIN_TIMES: Final = 10


def train_members(
    store: Path, folder: Path, members: int, steps: int, seed: int, tick: ProgressCallback
) -> list[Path]:
    """Train members that differ in their seeds; one that is there is not trained again.

    Parameters
    ----------
    store
        Analysis store; the last fifth of its times is left for the test.
    folder
        Folder of the members.
    members, steps, seed
        Their number, the optimiser steps of each, and the first seed.
    tick
        Called after each member.

    Returns
    -------
    list of Path
        Checkpoint folders; InputError if the store has too few times.
    """
    _, layout, nside = stored_layout(store)
    train_times, _ = _split(Analysis(store, layout, nside).times)
    period = to_iso(train_times[0]), to_iso(train_times[-1])
    found = []
    for number in range(members):
        out = folder / f"seed{seed + number}"
        if not (out / CHECKPOINT / checkpoint.DOCUMENT).exists():
            settings = TrainingConfig.from_dict(
                {
                    "steps": steps,
                    "batch": BATCH,
                    "seed": seed + number,
                    "ema": 0.98,
                    "augmentation": "c4h",
                }
            )
            config = config_of(BASE, nside, EMBED, layout)
            job = TrainingJob(store, config, settings, period, command="pear study emergent")
            train(job, out, resume=(out / "resume.pt").exists())
        (out / "resume.pt").unlink(missing_ok=True)
        found.append(out / CHECKPOINT)
        tick(1, f"PEAR {number + 1}")
    return found


def measure_ensemble(store: Path, folders: Sequence[Path]) -> Values:
    """Measure the error of means of members under the mirror, which no member keeps.

    Parameters
    ----------
    store
        Analysis store.
    folders
        Checkpoint folders of the members.

    Returns
    -------
    dict
        Errors of means of 1, 2, 4, … members as ``errors``; ``pear_one``, and ``pear_common`` that
        infinitely many members would keep, over that of one. Units: standard deviation of each
        channel's change over a step.
    """
    models = [checkpoint.load(folder) for folder in folders]
    layout, nside = models[0].config.layout, models[0].config.nside
    analysis = Analysis(store, layout, nside)
    _, times = _split(analysis.times)
    times = times[np.unique(np.linspace(0, times.size - 1, TEST_STATES).astype(int))]
    initial = State.from_channels(np.stack([analysis.read(t) for t in times]), times, layout)
    own, moved = (
        np.stack(
            [
                next(iter(PearForecaster(model, group=group).iterate(initial, 1))).to_channels()
                for model in models
            ]
        )
        for group in ((IDENTITY,), (M,))
    )
    gram = error_products((moved - own) / step_scale(models[0]))
    sizes = [2**power for power in range(len(models).bit_length()) if 2**power <= len(models)]
    errors = [ensemble_error(gram, size)[0] for size in sizes]
    return {
        "sizes": [float(size) for size in sizes],
        "errors": errors,
        "pear_one": errors[0],
        "pear_common": common_error(gram) / errors[0],
    }


def _split(times: Times) -> tuple[Times, Times]:
    """Return the times of the training and those of the test."""
    if times.size < MIN_TIMES:
        raise InputError(
            f"the analysis has {times.size} times, an ensemble needs {MIN_TIMES}",
            field="--analysis",
        )
    cut = times.size * 4 // 5
    return times[:cut], times[cut:]
