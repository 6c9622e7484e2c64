"""The study of digits on the sphere: their place, what is exact, and its figure, in seconds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pear.sphere.healpix import cell_of
from pipelines.studies import sphere_digits
from pipelines.studies.group import digits
from pipelines.studies.sphere import SphereStudy
from pipelines.studies.sphere_digits import (
    BACKGROUND,
    EquivariantNetwork,
    PlainNetwork,
    Task,
    labels_of,
    mean_iou,
    on_sphere,
    random_rotations,
)

pytest.importorskip("sklearn")


def test_exact_claims_are_met_on_a_short_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [part[:1310] for part in digits()]
    monkeypatch.setattr(sphere_digits, "digits", lambda: few)
    monkeypatch.setattr(sphere_digits, "BATCH", 2)
    report = SphereStudy(folder=tmp_path, minutes=0.001, large=True).run()
    met = {finding.claim.key: finding.met for finding in report.findings}
    exact = ("rotations", "grid", "left", "quadrature", "tanh_2", "tanh_8")
    assert {key: met.pop(key) for key in exact} == dict.fromkeys(exact, True)
    assert met == dict.fromkeys(met, None)
    assert all(finding.value is not None for finding in report.findings)
    assert (tmp_path / "sphere.png").stat().st_size > 5000
    large = json.loads((tmp_path / "large_32.json").read_text())["values"]
    assert large["parameters"] > 2e5


def test_digits_lie_where_they_should() -> None:
    """The first row is north, the last column east; a rotation carries the field with it."""
    image = torch.zeros(1, 1, 8, 8)
    image[..., 0, -1] = 1.0
    upright = on_sphere(image, torch.eye(3)[None], 32)[0]
    # The pixel's centre is 7/8 of the half-width to the north and to the east.
    step = 7 / 8 * math.tan(math.radians(38))
    place = np.array([1.0, step, step]) / math.sqrt(1 + 2 * step**2)
    assert upright[found(place)] > 0.7
    turn = random_rotations(1, torch.Generator().manual_seed(0))
    turned = on_sphere(image, turn, 32)[0]
    assert turned[found(turn[0].double().numpy() @ place)] > 0.7
    assert float(turned.sum()) == pytest.approx(float(upright.sum()), rel=0.02)
    assert not on_sphere(torch.ones_like(image), torch.eye(3)[None], 8)[0][found([-1, 0, 0], 8)]


def found(place: object, nside: int = 32) -> int:
    x, y, z = np.asarray(place, dtype=np.float64)
    return int(cell_of(np.degrees(np.arcsin(z)), np.degrees(np.arctan2(y, x)), nside))


def test_rotations_are_drawn_from_all() -> None:
    turns = random_rotations(4000, torch.Generator().manual_seed(1)).double()
    unit = torch.eye(3, dtype=torch.float64).expand_as(turns)
    torch.testing.assert_close(turns @ turns.mT, unit, rtol=0, atol=1e-6)
    assert (torch.linalg.det(turns) > 0.999).all()
    assert turns.mean(0).abs().max() < 0.04
    # The angle has density (1 − cos)/π, and mean π/2 + 2/π.
    trace = turns.diagonal(dim1=1, dim2=2).sum(1)
    angle = torch.acos(((trace - 1) / 2).clamp(-1, 1)).mean()
    assert float(angle) == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.04)


def test_only_the_equivariant_network_knows_turned_digits() -> None:
    """Untrained: change of the logits over their spread; edges of the digits alias."""
    torch.manual_seed(0)
    images, _ = digits()
    turns = random_rotations(40, torch.Generator().manual_seed(0))
    upright = on_sphere(images[:40], torch.eye(3).expand(40, 3, 3))
    turned = on_sphere(images[:40], turns)
    changes = []
    for network in (EquivariantNetwork(), PlainNetwork()):
        with torch.no_grad():
            plain, moved = (network(fields)[0] for fields in (upright, turned))
        changes.append(float((moved - plain).norm() / (plain - plain.mean(0)).norm()))
    assert changes[0] < 0.6 < 1.2 < changes[1], changes


def test_copies_are_turned_and_none_is_upright(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    plain = on_sphere

    def record(images: torch.Tensor, turns: torch.Tensor, nside: int = 8) -> torch.Tensor:
        seen.append(turns)
        return plain(images, turns, nside)

    few = [part[:1300] for part in digits()]
    monkeypatch.setattr(sphere_digits, "digits", lambda: few)
    monkeypatch.setattr(sphere_digits, "on_sphere", record)
    Task(copies=0, steps=1).run(PlainNetwork(2), lambda advance=1, note="": None)
    Task(copies=2, steps=1).run(PlainNetwork(2), lambda advance=1, note="": None)
    upright = [bool((turns == torch.eye(3)).all()) for turns in seen]
    assert upright == [True, False, True, False, False, True]


def test_scores_of_cells() -> None:
    fields = torch.tensor([[0.0, 0.34, 0.36, 1.0]])
    labels = labels_of(fields, torch.tensor([3]))
    assert labels.tolist() == [[BACKGROUND, BACKGROUND, 3, 3]]
    assert mean_iou(labels, labels) == 1.0
    assert mean_iou(torch.full_like(labels, BACKGROUND), labels) == 0.25  # of 2/4 and 0
