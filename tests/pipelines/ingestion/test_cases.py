"""Files that people meet, each with the right answer; the table of all answers is printed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.cases import faults, metadata, times
from tests.fixtures.cases.frame import Answer, Case, Generators, check

CASES = (*metadata.CASES, *times.CASES, *faults.CASES)
_WIDTH = 110

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def generators(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Generators:
    """Return the files of the generators."""
    for library in ("pyproj", "eccodes"):  # pyproj first, whose own PROJ must not be ecCodes'
        pytest.importorskip(library)
    return Generators(shared / "cases", tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[tuple[Case, Answer]]]:
    """Collect the answers, and print them when all cases are done."""
    answers: list[tuple[Case, Answer]] = []
    yield answers
    lines = ["| row | files | status | answer |", "| --- | --- | --- | --- |"]
    for case, answer in answers:
        said = answer.line.replace("\n", " ").replace("pear: ", "").split("/")[-1][:_WIDTH]
        lines.append(f"| {case.row} | {case.generator} {case.files} | {answer.status} | {said} |")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_file_that_people_meet(
    case: Case, generators: Generators, table: list[tuple[Case, Answer]], tmp_path: Path
) -> None:
    table.append((case, check(case, generators.folder(case.generator), tmp_path / "work")))
