"""The loop learns, stops, resumes bit for bit, and refuses what it cannot use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.diagnostics import equivariance_errors
from pear.models.pear import Pear
from pear.models.wind_statistics import isotropic
from pear.training import ArraySource, Samples, Trainer, TrainingConfig
from pear.training.statistics import fit_normaliser
from tests.fixtures.training import CONFIG, LAYOUT, source, trainer


def weights(run: object) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])  # type: ignore[attr-defined]


def test_training_beats_persistence_by_far(tmp_path: Path) -> None:
    run = trainer(tmp_path, steps=150, learning_rate=3e-3, ema=0.9)
    begun = run.evaluate()
    assert begun == pytest.approx(1.0, rel=0.05)  # a residual model starts as persistence
    outcome = run.run()
    assert outcome.validation_loss is not None
    assert outcome.validation_loss < 0.2
    assert outcome.train_loss < 0.2


def test_a_network_with_winds_in_no_frame_learns(tmp_path: Path) -> None:
    """With autocast, the average of weights, and half precision on disk."""
    states = source(20)
    layout = replace(LAYOUT, surface=(*LAYOUT.surface, "10m_u_component_of_wind"))
    more = np.concatenate([states.surface, 2 + 3 * states.surface[:, 1:]], axis=1)
    samples = Samples.from_source(ArraySource(layout, states.times, more, states.upper))
    normaliser = isotropic(fit_normaliser(samples))
    torch.manual_seed(0)
    config = replace(
        CONFIG, layout=layout, wind="gauge", forcings=(), symmetry="c4h", heads=(2,) * 4
    )
    model = Pear(config)
    model.set_step_scale(normaliser)
    settings = TrainingConfig(
        steps=6, batch=2, autocast=True, ema=0.5, augmentation="c4h", validation_samples=4
    )
    run = Trainer(model, normaliser, samples, samples, settings, tmp_path / "run")
    begun, result = run.evaluate(), run.run()
    assert result.validation_loss is not None
    assert result.validation_loss < begun
    saved = checkpoint.save(tmp_path / "model", model, normaliser, {}, "float16")
    assert saved.config == config
    assert max(equivariance_errors(saved.model).values()) <= 1e-12


def test_resume_after_a_kill_equals_an_unbroken_run(tmp_path: Path) -> None:
    settings = {
        "steps": 12,
        "accumulate": 2,
        "augmentation": "c4h",
        "validate_every": 4,
        "save_seconds": 1e-9,
    }
    whole = trainer(tmp_path / "whole", **settings)
    outcome = whole.run()

    def kill(advance: float, note: str) -> None:
        if note.startswith("step 7 "):
            raise KeyboardInterrupt

    broken = trainer(tmp_path / "broken", kill, **settings)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    resumed = trainer(tmp_path / "broken", **settings)
    again = resumed.run(resume=True)
    assert torch.equal(weights(whole), weights(resumed))
    assert outcome.validation_loss == again.validation_loss

    def losses(folder: str) -> list[tuple[object, ...]]:
        lines = (tmp_path / folder / "train.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        return [
            (e["event"], e["step"], e["loss"])
            for e in entries
            if e["event"] in ("step", "validation")
        ]

    assert losses("whole") == losses("broken")
    assert len(losses("whole")) >= 4


def test_kept_weights_are_the_best_validated_ones(tmp_path: Path) -> None:
    run = trainer(tmp_path, steps=40, validate_every=5, learning_rate=3e-3, ema=0.5)
    outcome = run.run()
    lines = [json.loads(line) for line in run.log.path.read_text().splitlines()]
    validated = [e["loss"] for e in lines if e["event"] == "validation"]
    assert len(validated) == 8
    assert outcome.validation_loss == min(validated)


def test_stops_early_when_validation_stops_improving(tmp_path: Path) -> None:
    run = trainer(tmp_path, steps=100, validate_every=2, patience=2, learning_rate=1e-9, ema=0.0)
    outcome = run.run()
    assert outcome.stopped == "early"
    assert outcome.step < 20


def test_minutes_end_the_run(tmp_path: Path) -> None:
    run = trainer(tmp_path, steps=None, minutes=0.02)
    outcome = run.run()
    assert outcome.seconds >= 1.2
    assert outcome.step >= 1


def test_rollout_loss_is_the_mean_over_its_steps(tmp_path: Path) -> None:
    run = trainer(tmp_path, rollout=2)
    with torch.no_grad():
        for p in run.model.parameters():
            p.add_(0.02)
        batch = run.batches.build(*run.train.read(np.array([3, 9])))
        assert batch.forcing is not None
        one = run.model(*batch.at(0), batch.forcing[:, 0])
        two = run.model(*one, batch.forcing[:, 1])
        wanted = (run.loss(one, batch.at(1)) + run.loss(two, batch.at(2))) / 2
        assert float(run.rollout_loss(batch, run.model)) == pytest.approx(float(wanted), rel=1e-6)


def test_autocast_computes_nearly_the_same_loss(tmp_path: Path) -> None:
    losses = []
    for autocast in (False, True):
        run = trainer(tmp_path / str(autocast), autocast=autocast)
        with torch.no_grad():
            for p in run.model.parameters():
                p.add_(0.02)
        loss = run.rollout_loss(run.batches.build(*run.train.read(np.arange(4))), run.model)
        losses.append(float(loss.detach()))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


def test_refuses_to_resume_nothing_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no training to resume"):
        trainer(tmp_path / "none").run(resume=True)
    trainer(tmp_path / "some", steps=2).run()
    with pytest.raises(InputError, match="started with seed = 0, not 1"):
        trainer(tmp_path / "some", steps=2, seed=1).run(resume=True)


def test_missing_values_stop_the_training_loudly(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.train.source.upper[5, 0, 0, 3] = np.nan  # type: ignore[attr-defined]
    with pytest.raises(FloatingPointError, match="not finite between 2001"):
        run.run()


def test_an_error_while_reading_reaches_the_loop(tmp_path: Path) -> None:
    run = trainer(tmp_path)

    class Broken:
        layout, nside, times = run.train.source.layout, 4, run.train.source.times

        def read(self, indices: object) -> object:
            raise InputError("the disk went away")

    object.__setattr__(run.train, "source", Broken())
    with pytest.raises(InputError, match="the disk went away"):
        run.run()


def test_too_few_samples_for_a_batch(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot fill a batch"):
        trainer(tmp_path, days=4, batch=8).run()


DUEL = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from tests.fixtures.training import trainer
run = trainer(Path(sys.argv[1]), steps=4, batch=int(sys.argv[2]), clip=1e9, validate_every=9)
run.run()
if run.processes.is_main:
    torch.save([p.detach() for p in run.model.parameters()], sys.argv[3])
run.processes.close()
"""


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    def launch(name: str, batch: int, **environment: str) -> subprocess.Popen[bytes]:
        arguments = [str(tmp_path / name), str(batch), str(tmp_path / f"{name}.pt")]
        return subprocess.Popen(
            [sys.executable, "-c", DUEL, *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )

    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29731", "WORLD_SIZE": "2"}
    running = [launch("two", 4, RANK=str(rank), **meeting) for rank in range(2)]
    running.append(launch("one", 8))
    assert [process.wait(timeout=300) for process in running] == [0, 0, 0]
    one, two = (torch.load(tmp_path / f"{name}.pt") for name in ("one", "two"))
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6)
