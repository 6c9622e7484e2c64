"""The Chern study: data, training and its resumption, report on a budget of seconds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch import nn

from pear.models.geblnet import GEBLNet
from pear.progress import no_progress
from pipelines.studies.chern import ChernStudy
from pipelines.studies.chern_training import (
    Lattices,
    Training,
    accuracy,
    draw,
    loss,
    one_cycle,
    predict,
    rescale,
)
from pipelines.studies.claims import Values


def test_lattices_have_integer_labels_that_their_phases_add_up_to() -> None:
    lattices = draw(50, 2, 3, seed=1)
    assert lattices.eigenvalues.shape == (50, 4, 1, 3)
    total = torch.angle(lattices.eigenvalues).flatten(1).sum(1) / (2 * torch.pi)
    torch.testing.assert_close(total, lattices.chern, rtol=0, atol=1e-5)
    trivial = draw(30, 2, 3, seed=1, trivial=True)
    assert len(trivial.chern) == 30
    assert not trivial.chern.any()
    assert lattices.chern.any()


def test_the_loss_is_zero_for_right_sums_that_vary() -> None:
    g = torch.tensor([[2.0, 0.0, -1.0, 0.0]])
    assert loss(g, torch.tensor([1.0])).item() == pytest.approx(0)
    assert loss(torch.zeros(1, 4), torch.tensor([0.0])).item() == pytest.approx(0.5)


def test_accuracy_and_factor() -> None:
    chern = torch.tensor([1.0, -2.0, 0.0])
    assert accuracy(torch.tensor([1.4, -2.2, 0.6]), chern) == pytest.approx(2 / 3)
    assert rescale(2 * chern, chern) == pytest.approx(0.5)


def test_a_stopped_training_ends_where_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.studies.chern_training._SAVE_EVERY", 3)
    pool = draw(64, 2, 2, seed=1)

    def train(path: Path, stop: int | None) -> nn.Module:
        torch.manual_seed(0)
        network = GEBLNet((2,))
        calls = 0

        def tick(advance: float = 1, note: str = "") -> None:
            nonlocal calls
            calls += 1
            if calls == stop:
                raise KeyboardInterrupt

        Training(network, pool, path, 0, steps=8).run(lambda _: 0.5, tick)
        return network

    whole = train(tmp_path / "a.pt", None)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b.pt", 5)
    resumed = train(tmp_path / "b.pt", None)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not (tmp_path / "b.pt").exists()


def test_a_training_in_minutes_times_its_steps(tmp_path: Path) -> None:
    training = Training(GEBLNet((2,)), draw(64, 2, 2, seed=1), tmp_path / "t.pt", 0, minutes=1e-4)
    steps, curve = training.run(lambda _: 0.25, no_progress)
    assert steps[-1] >= 1
    assert set(curve) == {0.25}


def test_a_busy_machine_does_not_shorten_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes one second of a core, and by the clock as long as it may."""
    clock = iter(range(1000))
    monkeypatch.setattr(time, "process_time", lambda: float(next(clock)))
    monkeypatch.setattr(time, "perf_counter", lambda: float(100 * next(clock)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    training = Training(GEBLNet((2,)), draw(64, 2, 2, seed=1), tmp_path / "t.pt", 0, minutes=0.1)
    steps, _ = training.run(lambda _: 0.25, no_progress)
    assert steps[-1] == 12  # 6 s at 1 s of two threads each


def test_learning_rate_rises_and_falls() -> None:
    rates = [one_cycle(step, 1000) for step in (0, 99, 100, 550, 999)]
    assert rates == pytest.approx([0.01, 1.0, 1.0, 0.5, 0.0], abs=1e-3)


def test_a_network_that_is_right_is_right() -> None:
    """The sum of the phases is the label: the best network there is."""

    class Phases(nn.Module):
        def forward(self, w: torch.Tensor) -> torch.Tensor:
            return torch.angle(w[:, :, 0]).sum(-1) / (2 * torch.pi)

    lattices = draw(40, 3, 4, seed=3)
    assert accuracy(predict(Phases(), lattices), lattices.chern) == 1
    part = lattices.take(torch.tensor([0, 5]))
    assert isinstance(part, Lattices)
    assert len(part.chern) == 2


def test_exact_claims_are_met_on_a_short_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.studies.chern.TEST_LATTICES", 32)
    monkeypatch.setattr("pipelines.studies.chern.SIDES", (3,))
    monkeypatch.setattr("pipelines.studies.chern_training._TIMED_STEPS", 2)
    monkeypatch.setattr("pipelines.studies.chern_training.BATCH", 8)
    study = ChernStudy(folder=tmp_path, minutes=1e-4, pool=100)
    report = study.run()
    met = {finding.claim.key: finding.met for finding in report.findings}
    assert not report.unmet
    exact = ("integer", "invariance", "forms", "flux", "second_flux", "second_invariance")
    assert all(met[key] for key in exact)
    values = {finding.claim.key: finding.value for finding in report.findings}
    assert values["accuracy_4"] is not None
    assert values["accuracy_trivial"] is not None
    assert met["accuracy_4"] is None
    assert values["accuracy_5"] is None
    assert (tmp_path / "chern.png").is_file()


def test_of_several_starts_the_one_that_fits_its_lattices_best_counts(tmp_path: Path) -> None:
    study = ChernStudy(folder=tmp_path)
    pairs = zip((0.1, 0.05, 0.07), (0.76, 0.94, 0.97), strict=True)
    parts: dict[str, Values] = {
        f"trivial-{start}": {"training_loss": loss, "accuracy": found}
        for start, (loss, found) in enumerate(pairs, start=1)
    }
    assert study.measured(parts)["accuracy_trivial"] == 0.94
    del parts["trivial-3"]  # not trained yet
    assert "accuracy_trivial" not in study.measured(parts)


@pytest.mark.nightly
def test_four_bands_are_learnt(tmp_path: Path) -> None:
    assert not ChernStudy(folder=tmp_path).run().unmet
