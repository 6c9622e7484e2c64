"""What is installed: one version, the locked packages of the image, and archives that build."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

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


def scm_version(folder: Path) -> Version:
    """Return the version that a build in this folder has."""
    pytest.importorskip("setuptools_scm")
    environment = {name: value for name, value in os.environ.items() if "PRETEND" not in name}
    words = [sys.executable, "-m", "setuptools_scm"]
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return Version(done.stdout.strip())


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "gc.auto=0")
    done = subprocess.run(
        ["git", "-C", folder, *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with one commit of what tells the version."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("pyproject.toml", ".git_archival.txt", ".gitattributes"):
        shutil.copy(ROOT / name, folder)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_the_version_is_written_nowhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]
    assert "version" not in project
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)


def test_the_version_is_that_of_the_tag(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    untagged = scm_version(repository)
    assert untagged.is_devrelease
    assert untagged.local
    assert commit.startswith(untagged.local.removeprefix("g"))
    git(repository, "tag", "v3.1.4")
    assert str(scm_version(repository)) == "3.1.4"
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "second")
    later = scm_version(repository)
    assert (later.release, later.is_devrelease) == ((3, 1, 5), True)


def test_an_archive_without_git_has_the_version_of_its_tag(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "tag", "v3.1.4")
    git(repository, "archive", "--output", str(tmp_path / "archive.zip"), "HEAD")
    shutil.unpack_archive(tmp_path / "archive.zip", tmp_path / "archive")
    assert str(scm_version(tmp_path / "archive")) == "3.1.4"
    (tmp_path / "archive" / ".git_archival.txt").unlink()
    assert str(scm_version(tmp_path / "archive")) == "0.0"


def test_the_supported_pythons_are_those_of_the_tests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert project["requires-python"] == f">={claimed[0]}"
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    for name in ("test", "build"):
        assert jobs[name]["strategy"]["matrix"]["python"] == claimed


@pytest.mark.nightly
def test_the_archives_are_complete_and_the_sdist_runs_its_tests(tmp_path: Path) -> None:
    """From a clone without tags: an sdist, from it a wheel, and the sdist's own tests."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    pytest.importorskip("build")
    pytest.importorskip("setuptools_scm")
    git(tmp_path, "clone", "--quiet", "--no-tags", str(ROOT), "clone")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "../dist"]
    subprocess.run([*build, "."], cwd=tmp_path / "clone", check=True, timeout=600)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    assert wheel.name.split("-")[1] == sdist.name.removesuffix(".tar.gz").split("-")[1]
    assert wheel.stat().st_size <= 17_700_000, "the handbook needs up to 2.3 of the 20 MB"
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if "dist-info" not in name}
    tracked = set(git(tmp_path / "clone", "ls-files", "pear", "pipelines", "service").splitlines())
    assert held == tracked
    shutil.unpack_archive(sdist, tmp_path)
    folder = tmp_path / sdist.name.removesuffix(".tar.gz")
    tests = ["-p", "no:cacheprovider", "tests/pear/sphere", "tests/pear/test_model.py"]
    tests += [
        "tests/test_documentation.py",
        "tests/test_architecture.py",
        "tests/test_packaging.py",
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *tests],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-3000:]
