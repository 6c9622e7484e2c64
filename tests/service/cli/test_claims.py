"""``pear study NAME`` of published claims: table, JSON, ``--check`` and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.studies import kernel
from pipelines.studies.claims import Part, Values
from tests.fixtures.command_line import CommandLine


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Replace the measurements of the kernel study; the values may be changed."""
    values = {"sphere": 1e-15, "torus": 1e-15, "control": 0.5}

    def measure(tick: object) -> Values:
        return dict(values)

    def finite(tick: object) -> Values:
        return {"widths": [1.0, 2.0], "deviations": [0.2, 0.1]}

    parts = [Part("exact", measure), Part("finite", finite)]
    monkeypatch.setattr(kernel.KernelStudy, "parts", lambda self: parts)
    return values


def test_table_json_and_check(pear: CommandLine, fast: dict[str, float], tmp_path: Path) -> None:
    folder = tmp_path / "k"
    answer = pear("study", "kernel", "--check", "-o", str(folder))
    assert answer.status == 0, answer.err
    assert answer.out.splitlines()[0].split() == ["CLAIM", "PUBLISHED", "HERE", "TOLERANCE", "MET"]
    assert (folder / "report.json").is_file()
    assert (folder / "kernel.png").is_file()
    fast["torus"] = 0.1
    # The folder keeps what was measured; a new one sees the change.
    assert pear("study", "kernel", "--check", "-o", str(folder)).status == 0
    answer = pear("study", "kernel", "--check")
    assert answer.status == 1
    assert "not met" in answer.err
    assert "NO" in answer.out
    found = pear("study", "kernel", "--json").json  # without --check an unmet claim is a result
    assert {claim["key"]: claim["met"] for claim in found["claims"]}["torus"] is False
    pear("study", "kernel", "--seed", "1", "-o", str(folder)).refused("belongs to another study")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("chern", "--bands", "3"), "bands are 4 to 8, got 3"),
        (("chern", "--norm", "max"), "unknown norm 'max'"),
        (("kernel", "--minutes", "0"), "--minutes"),
        (("group", "--minutes", "0"), "--minutes"),
        (("kernel", "--analysis", "absent.zarr"), "absent.zarr"),
    ],
)
def test_wrong_options(pear: CommandLine, words: tuple[str, ...], message: str) -> None:
    pear("study", *words).refused(message)
