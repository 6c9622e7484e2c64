"""The wind study: its flows against differences, its figure, and all claims on a short budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pear.sphere.transport import links_between
from pear.sphere.vectors import Frames, cell_frames
from pipelines.studies import wind
from pipelines.studies.wind import WindStudy, analytic_flows, fit_layer, rotation


def test_a_solid_rotation_is_fastest_far_from_its_axis() -> None:
    x, _, _ = cell_frames(4).positions()
    np.testing.assert_allclose(np.abs(rotation([1.0, 0.0, 0.0], 4)) ** 2, 1 - x**2, atol=1e-14)
    eastward = rotation([0.0, 0.0, 1.0], 4)
    assert np.abs(eastward.imag).max() < 1e-14
    assert eastward.real.min() > 0


def test_flows_are_gradients_and_their_quarter_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Differences of winds at points a hundredth of a radian around one place."""
    step, place = 1e-3, (0.4, 1.1)
    points = np.array([(0, 0), (step, 0), (-step, 0), (0, step), (0, -step)]) + place
    frames = Frames.at(*np.degrees(points).T)
    monkeypatch.setattr(wind, "cell_frames", lambda nside: frames)
    flows = analytic_flows(1, (1, 3), 1, np.random.default_rng(0))
    carried = np.stack(
        [links_between(frames.take([0]), frames.take([k]))[0] * flows[0][:, k] for k in range(1, 5)]
    )
    northward = (carried[0] - carried[1]) / (2 * step)
    eastward = (carried[2] - carried[3]) / (2 * step * np.cos(place[0]))
    np.testing.assert_allclose(eastward.real + northward.imag, flows[1][:, 0], atol=1e-4)
    np.testing.assert_allclose(eastward.imag - northward.real, flows[2][:, 0], atol=1e-4)


def test_a_layer_learns_what_a_layer_computes() -> None:
    winds, *_ = analytic_flows(4, (1, 2, 3), 8, np.random.default_rng(0))
    other = fit_layer(4, winds, [np.zeros(winds.shape)] * 2)
    with torch.no_grad():
        other.scalar_wind.copy_(torch.randn(other.scalar_wind.shape))
        wanted, _ = other(
            torch.empty(len(winds), 0, 192).double(), torch.from_numpy(winds[:, None])
        )
        fitted = fit_layer(4, winds, wanted.numpy().transpose(1, 0, 2))
        found, _ = fitted(
            torch.empty(len(winds), 0, 192).double(), torch.from_numpy(winds[:, None])
        )
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9 * float(wanted.abs().max()))


def test_all_claims_are_met_on_a_short_budget(tmp_path: Path) -> None:
    report = WindStudy(folder=tmp_path, minutes=0.01).run()
    assert all(finding.met for finding in report.findings)
    assert (tmp_path / "wind.png").is_file()


def test_components_taken_for_scalars_do_not_meet_the_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wind, "links", lambda nside: np.ones((12 * nside**2, 8)))
    monkeypatch.setattr(wind, "FLOWS", (16, 64))
    parts = WindStudy(folder=tmp_path).parts()[1:2]
    monkeypatch.setattr(WindStudy, "parts", lambda self: parts)
    monkeypatch.setattr(WindStudy, "draw", lambda *_: False)
    report = WindStudy(folder=tmp_path).run()
    assert {finding.claim.key for finding in report.unmet} == {"transported_16", "transported_64"}
