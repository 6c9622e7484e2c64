"""The determinant study: the exact construction, and a budget of seconds."""

from __future__ import annotations

from pathlib import Path

import torch

from pipelines.studies.determinant import Bilinear, DeterminantStudy, laplace_network
from tests.fixtures.layer_checks import noise


def test_two_bilinear_layers_are_the_determinant() -> None:
    matrices = noise(20, 4, 4)
    found = laplace_network()(matrices.flatten(1))[:, 0].detach()
    torch.testing.assert_close(found, torch.linalg.det(matrices), rtol=0, atol=1e-12)
    wrong = laplace_network()
    with torch.no_grad():
        wrong[1].weight.abs_()  # without the signs
    difference = wrong(matrices.flatten(1))[:, 0].detach() - torch.linalg.det(matrices)
    assert difference.abs().max() > 0.1


def test_a_bilinear_layer_is_a_quadratic_form_in_the_numbers_and_one() -> None:
    layer = Bilinear(2, 1).double()
    x, y = 0.3, -1.2
    (row,) = layer.weight.detach()
    one = torch.tensor([x, y, 1.0], dtype=torch.float64)
    want = one @ row @ one
    torch.testing.assert_close(
        layer(torch.tensor([[x, y]], dtype=torch.float64))[0, 0].detach(), want
    )


def test_exact_claims_are_met_on_a_short_budget(tmp_path: Path) -> None:
    report = DeterminantStudy(folder=tmp_path, minutes=0.005).run()
    met = {finding.claim.key: finding.met for finding in report.findings}
    assert met == {"laplace": True, "bilinear": None, "mlp": None, "ratio": None}
    assert (tmp_path / "determinant.png").is_file()
