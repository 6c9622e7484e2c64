"""``pear study``: its list, one study from options to table and JSON, and wrong options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from service.cli.claims import CLAIM_STUDIES
from tests.fixtures.command_line import CommandLine
from tests.fixtures.evaluation import LAYOUT, NSIDE, days, write_steady_analysis


def test_studies_are_listed(pear: CommandLine) -> None:
    studies = pear("study", "list", "--json").json
    names = [study["name"] for study in studies]
    assert names[:5] == ["ablation", "mixing", "pangu", "symmetrisation", "stability"]
    assert set(names[5:]) == set(CLAIM_STUDIES)
    for study in studies[5:]:
        assert study["claims"]
        assert all(claim["text"] and claim["source"] for claim in study["claims"])
    assert "stability" in pear("study", "list").out
    for name in names:
        assert "Examples:" in pear("study", name, "--help").out


def test_an_untrained_residual_model_is_stable(pear: CommandLine, tmp_path: Path) -> None:
    store = write_steady_analysis(tmp_path / "a.zarr", days("2001-01-01", 12))
    config = PearConfig(
        nside=NSIDE,
        layout=LAYOUT,
        embed=12,
        depths=(1, 1, 1, 1),
        heads=(2, 2, 2, 2),
        patch=4,
        window=4,
    )
    network = Pear(config)
    model = tmp_path / "model"
    checkpoint.save(model, network, Normaliser.identity(LAYOUT), {})
    words = ["study", "stability", "--model", str(model), "--analysis", str(store)]
    words += ["--init", "2001-01-01,2001-01-03", "--lead", "5d", "-o", str(tmp_path / "s")]
    answer = pear(*words, "--json")
    found = answer.json
    assert found["stable"]
    assert found["reached"] == 5
    assert {row["quantity"] for row in found["soundness"]} == {"imprint", "mean_t2m", "mean_z500"}
    assert {(row["field"], row["day"]) for row in found["rows"]} == {
        (field, day) for field in ("z500", "u850", "t2m") for day in (1, 5)
    }
    assert np.allclose([row["spread"] for row in found["rows"]], 1.0, atol=0.1)
    assert "stable" in answer.err
    (line,) = (line for line in answer.err.splitlines() if "mean_t2m" in line)
    assert line.split()[:3] == ["mean_t2m", "difference", "0.7"]
    assert max(len(line) for line in answer.err.splitlines()) <= 80
    assert (tmp_path / "s/stability.csv").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--init", "2006-01-01"), "a study needs a range of init times"),
        (("--arms", "c5h"), "unknown arm 'c5h'; did you mean c4h?"),
        (("--axes", "space"), "unknown axis 'space'"),
        (("--seeds", "one"), "Invalid value for '--seeds'"),
        (("--period", "2005-01-01..2006-06-01"), "training and test periods overlap"),
    ],
)
def test_wrong_options_are_one_line_and_status_2(
    pear: CommandLine, words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    common = ("--analysis", "a.zarr", "--climatology", "c.zarr", "-o", str(tmp_path / "s"))
    pear("study", "ablation", *common, *words).refused(message)
    assert not (tmp_path / "s").exists()
