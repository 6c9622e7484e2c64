"""What is installed: the locked packages of the image fulfil what the project asks for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "deploy" / "requirements.lock"
EXTRAS = ("all", "postgres", "s3", "gcs")
pytestmark = pytest.mark.skipif(not LOCK.exists(), reason="not a source tree")


def requirements(names: tuple[str, ...]) -> Iterator[Requirement]:
    """Yield what the project and some of its extras ask for, extras of extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    yield from map(Requirement, project["dependencies"])
    for name in names:
        for requirement in map(Requirement, project["optional-dependencies"][name]):
            if requirement.name == project["name"]:
                yield from requirements(tuple(requirement.extras))
            else:
                yield requirement


def locked() -> dict[str, str]:
    pairs = re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def test_the_lock_fulfils_every_requirement() -> None:
    found = locked()
    # torch comes from another index, with other digests.
    asked = [each for each in requirements(EXTRAS) if each.name != "torch"]
    assert len(asked) > 40
    unmet = [
        str(each)
        for each in asked
        if not each.specifier.contains(found.get(each.name.lower().replace("_", "-"), "0"))
    ]
    assert not unmet, "run deploy/lock.sh"


def test_the_lock_keeps_the_constraints() -> None:
    found = locked()
    for line in (ROOT / "deploy" / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        assert line.startswith("#") or found.get(name, version) == version, "run deploy/lock.sh"


def test_every_locked_package_has_a_digest() -> None:
    text = LOCK.read_text()
    blocks = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked())
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []
