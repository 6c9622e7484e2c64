"""The study of turned digits: what is exact, on a budget of a second."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from pear.errors import InputError
from pipelines.studies import group as study
from pipelines.studies.group import DigitNetwork, GroupStudy, digits, turned_by

pytest.importorskip("sklearn")


def test_exact_claims_are_met_on_a_short_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [part[:560] for part in digits()]
    monkeypatch.setattr(study, "digits", lambda: few)
    monkeypatch.setattr(study, "SEEDS", 1)
    report = GroupStudy(folder=tmp_path, minutes=0.0004).run()
    met = {finding.claim.key: finding.met for finding in report.findings}
    assert met == {
        "error_p4": True,
        "error_cnn": True,
        "parameters": True,
        "gain": None,
        "gain_augmented": None,
        "gain_upright": None,
    }
    assert (tmp_path / "group.png").stat().st_size > 5000
    # A p4 network answers alike in every turn, even one that is hardly trained.
    by_turn = json.loads((tmp_path / "p4_upright_0.json").read_text())["values"]["by_turn"]
    assert len(set(by_turn)) == 1


def test_images_are_turned_one_by_one() -> None:
    images, _ = digits()
    found = turned_by(images[:3], torch.tensor([0, 1, 3]))
    for image, one, turn in zip(images, found, (0, 1, 3), strict=False):
        assert torch.equal(one, torch.rot90(image, turn, (-2, -1)))
    assert images.max() == 1


def test_a_plain_network_does_not_know_the_turns() -> None:
    images, _ = digits()
    torch.manual_seed(0)
    p4, plain = DigitNetwork(4).eval(), DigitNetwork(1).eval()
    turned = torch.rot90(images[:9], 1, (-2, -1))
    torch.testing.assert_close(p4(turned), p4(images[:9]), rtol=1e-4, atol=1e-5)
    assert (plain(turned) - plain(images[:9])).abs().max() > 0.01


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match="come with scikit-learn, which is not installed"):
        digits()
