"""Mutants of sound files in four formats: each is refused in one line, or read right.

A few hundred of them run by default; ``pytest -m nightly`` runs 20 000 of them, or as many as
``PEAR_MUTANTS`` says.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

pytest.importorskip("eccodes")

from tests.fixtures.mutants import grib_keys, octets, structure
from tests.fixtures.mutants.examine import (
    Mutant,
    edit,
    examine,
    ingest_whole,
    restructure,
    rewrite,
    truth,
)
from tests.fixtures.mutants.sound import FORMATS, Format, sound

Counts: TypeAlias = Counter[tuple[str, str]]
NIGHTLY = int(os.environ.get("PEAR_MUTANTS", "20000"))
WAYS = 2  # by bytes, and by what the file says
WHOLE_ONE_IN = 25  # mutants that go through a store on disk as well

SHARE = st.integers(0, 2**20 - 1).map(lambda number: number / 2**20)
EDITS = st.lists(
    st.builds(
        octets.Edit,
        st.sampled_from(octets.OPERATIONS),
        SHARE,
        SHARE,
        st.sampled_from([1, 1, 2, 4, 8, 16, 64]),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
NUMBER = st.integers(0, 9999)
CHANGES = st.lists(
    st.builds(structure.Restructuring, st.sampled_from(structure.CHANGES), NUMBER, NUMBER, NUMBER),
    min_size=1,
    max_size=3,
).map(tuple)
REWRITINGS = st.lists(
    st.builds(grib_keys.Rewriting, st.sampled_from(grib_keys.CHANGES), NUMBER, NUMBER),
    min_size=1,
    max_size=3,
).map(tuple)


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """Return a folder, in memory if the machine has one."""
    shared = Path("/dev/shm")  # noqa: S108
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def counts(request: pytest.FixtureRequest) -> Iterator[Counts]:
    """Collect the outcomes, and print them when all formats are done."""
    found: Counts = Counter()
    yield found
    outcomes = ("refused", "right", "part", "unnoticed")
    lines = ["| format | " + " | ".join(outcomes) + " |", "| --- |" + " --- |" * len(outcomes)]
    lines += [
        f"| {kind} | " + " | ".join(str(found[kind, outcome]) for outcome in outcomes) + " |"
        for kind in FORMATS
    ]
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


def run_mutants(kind: Format, n_mutants: int, memory: Path, counts: Counts) -> None:
    """Examine mutants of a format, half of them by bytes and half by what the file says."""

    def check(mutant: Mutant | None) -> None:
        if mutant is None:
            return
        folder = Path(tempfile.mkdtemp(dir=memory))
        try:
            outcome = examine(mutant, folder / "a")
            counts[kind, outcome] += 1
            if sum(counts.values()) % WHOLE_ONE_IN == 0:
                is_refused = ingest_whole(mutant, folder / "b")
                assert is_refused == (outcome == "refused")
        finally:
            shutil.rmtree(folder)

    fuzz = settings(
        max_examples=n_mutants // WAYS,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    @fuzz
    @given(EDITS)
    def by_bytes(edits: tuple[octets.Edit, ...]) -> None:
        note(f"{kind}: {edits}")
        check(edit(kind, edits))

    @fuzz
    @given(CHANGES)
    def by_structure(changes: tuple[structure.Restructuring, ...]) -> None:
        check(restructure(kind, changes))

    @fuzz
    @given(REWRITINGS)
    def by_messages(changes: tuple[grib_keys.Rewriting, ...]) -> None:
        check(rewrite(changes))

    by_bytes()
    if kind == "GRIB":
        by_messages()
    else:
        by_structure()


@pytest.mark.parametrize("kind", FORMATS)
def test_sound_files_are_read_right(kind: Format, memory: Path) -> None:
    folder = Path(tempfile.mkdtemp(dir=memory))
    assert examine(Mutant(kind, dict(sound(kind))), folder) == "right"
    assert len(truth()) == 8


@pytest.mark.parametrize("kind", FORMATS)
def test_mutants_are_refused_or_read_right(kind: Format, memory: Path, counts: Counts) -> None:
    run_mutants(kind, 80, memory, counts)
    assert counts[kind, "refused"] > 10
    assert counts[kind, "right"] > 10


@pytest.mark.nightly
@pytest.mark.parametrize("kind", FORMATS)
def test_many_mutants(kind: Format, memory: Path, counts: Counts) -> None:
    run_mutants(kind, NIGHTLY // len(FORMATS), memory, counts)
