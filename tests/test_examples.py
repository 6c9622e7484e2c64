"""The examples of the handbook run, print what their text says, and draw their pictures."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "deploy" / "docs" / "examples"
PICTURES = EXAMPLES.parent / "images" / "examples"
NIGHTLY = {"counterfactual", "ensemble", "fine_tuning"}
PRINTED = {
    "counterfactual": r"chart: 262\.\d K becomes 267\.\d K, asked 267\.\d K; size 0\.2\d+ ",
    "equivariant_layer": r"Mixer: \d\.\de-1[4-7]\nPlain: \d\.\de[+-]0[01]\n",
    "ensemble": r"cells with frost likelier than 50 %: \d+%",
    "evaluation": r"largest relative difference: (0\.0e\+00|\d\.\de-1\d)\n",
    "fine_tuning": r"<pear.Model [0-9a-f]{12}: nside 16",
    "forecast_and_plot": r"'latitude': 73, 'longitude': 144",
}


@pytest.mark.timeout(1800)  # a year of forecasts, on a busy machine
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.nightly if name in NIGHTLY else pytest.mark.slow)
        for name in sorted(PRINTED)
    ],
)
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parents[2]))
    mpl.use("agg")
    try:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    finally:
        plt.close("all")
    assert re.search(PRINTED[name], capsys.readouterr().out)
    drawn, kept = (plt.imread(folder / f"{name}.png") for folder in (tmp_path, PICTURES))
    assert drawn.shape == kept.shape
    assert drawn.std() > 0.05


def test_every_example_is_listed_and_has_its_picture() -> None:
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == set(PRINTED) == {path.stem for path in PICTURES.glob("*.png")}
    listed = set(re.findall(r"\]\((\w+)\.md\)", (EXAMPLES / "README.md").read_text()))
    assert listed == found
