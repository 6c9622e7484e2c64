"""What the import contract in pyproject.toml cannot say, and that the contract catches errors.

``lint-imports`` checks the directions of imports. Here stand the isolation of the HTTP process,
which depends on when an import is executed, and the contents of the top level.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP_LEVEL = {
    "pyproject.toml",
    "Dockerfile",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CITATION.cff",
    "pear",
    "pipelines",
    "service",
    "tests",
    "deploy",
}


def loaded_by(statement: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has loaded after a statement."""
    code = (
        f"{statement}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_the_http_process_never_imports_torch() -> None:
    every_module = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "service").rglob("*.py"))
        if "cli" not in path.parts
    ]
    assert "torch" not in loaded_by("import " + ", ".join(every_module))


def test_importing_pear_loads_no_library() -> None:
    heavy = {"torch", "numpy", "xarray", "zarr", "scipy", "healpy", "matplotlib", "httpx"}
    assert not heavy & loaded_by("import pear")


def test_the_command_line_loads_only_the_command_that_is_called() -> None:
    heavy = {"torch", "numpy", "xarray", "zarr", "fastapi", "distributed", "sqlalchemy"}
    assert not heavy & loaded_by("import service.cli.app")


@pytest.mark.slow
def test_the_import_contract_catches_a_wrong_import(tmp_path: Path) -> None:
    for package in ("pear", "pipelines", "service"):
        for source in (ROOT / package).rglob("*.py"):
            target = tmp_path / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text())
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())

    def verdict() -> int:
        command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
        env = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, check=False
        ).returncode

    assert verdict() == 0
    (tmp_path / "pear" / "wrong.py").write_text("import pipelines.storage.atomic\n")
    assert verdict() == 1


def test_top_level_holds_nothing_else() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    extra = {name for name in top if not name.startswith(".")} - TOP_LEVEL
    assert not extra, extra
