"""The import table of the house, enforced: each room imports only what its row allows."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pear", "pipelines", "service")
TOP_LEVEL = {
    "pyproject.toml",
    "Dockerfile",
    "README.md",
    "LICENSE",
    "pear",
    "pipelines",
    "service",
    "tests",
    "deploy",
}

LEAVES = ("pear.errors", "pear.times", "pear.progress", "pear.variables")
CORE = ("pear.equivariant", "pear.sphere")
MODELS = ("pear.models", "pear.config", *CORE, "pear.normaliser", "pear.device", *LEAVES)
BELOW_TRAINING = (*MODELS, "pear.state")


@dataclass(frozen=True)
class Room:
    """What one room may import: rooms inside the house, and third-party top-level names."""

    inside: tuple[str, ...]
    outside: tuple[str, ...]


# The longest matching prefix decides which row a module belongs to.
TABLE: dict[str, Room] = {
    "pear": Room((), ()),
    "pear.__main__": Room(("service.cli",), ()),
    "pear.errors": Room((), ()),
    "pear.config": Room(("pear.errors",), ()),
    "pear.times": Room(("pear.errors",), ("numpy",)),
    "pear.progress": Room((), ()),
    "pear.variables": Room(("pear.errors",), ()),
    "pear.sphere": Room((), ("numpy", "scipy", "healpy")),
    "pear.equivariant": Room(("pear.sphere",), ("numpy", "torch")),
    "pear.device": Room(LEAVES, ("torch",)),
    "pear.state": Room(("pear.sphere", *LEAVES), ("torch", "numpy")),
    "pear.normaliser": Room(("pear.sphere", *LEAVES), ("torch", "numpy")),
    "pear.models": Room(MODELS, ("torch", "numpy", "safetensors")),
    "pear.rollout": Room((*BELOW_TRAINING, "pear.rollout"), ("torch", "numpy")),
    "pear.training": Room((*BELOW_TRAINING, "pear.rollout", "pear.training"), ("torch", "numpy")),
    "pear.metrics": Room(("pear.metrics", *LEAVES), ("numpy", "xarray")),
    "pipelines.benchmarks": Room(
        ("pear", *BELOW_TRAINING, "pear.rollout", "pipelines.benchmarks"),
        ("torch", "numpy", "matplotlib"),
    ),
    "pear.resources": Room(("pear.resources", *LEAVES), ()),
    "service.cli": Room(
        ("pear", *PACKAGES),
        ("numpy", "torch", "typer", "rich", "uvicorn", "fastapi", "dask"),
    ),
    "pipelines": Room(
        ("pipelines", "pear"),
        (
            "numpy",
            "scipy",
            "xarray",
            "zarr",
            "dask",
            "distributed",
            "netCDF4",
            "fsspec",
            "eccodes",
            "sqlalchemy",
            "apscheduler",
            "structlog",
            "prometheus_client",
            "matplotlib",
            "numcodecs",
            "google_crc32c",
            "yaml",
            "pandas",
            "dinosaur",
            "jax",
            "torch",
            "psycopg",
            "shapely",
        ),
    ),
    "service": Room(
        (
            "service",
            "pear",
            "pear.sphere",
            *LEAVES,
            "pear.store.reader",
            "pipelines.catalog",
            "pipelines.engine.engine",
            "pipelines.storage.data_folder",
        ),
        (
            "numpy",
            "xarray",
            "fastapi",
            "starlette",
            "uvicorn",
            "pydantic",
            "pydantic_settings",
            "jinja2",
            "cartopy",
            "matplotlib",
            "shapely",
            "PIL",
            "prometheus_client",
            "structlog",
            "sse_starlette",
            "plotly",
            "anyio",
            "zarr",
        ),
    ),
}

# Who may import a library that belongs in one place.
ONLY = {
    "healpy": ("pear.sphere.healpix",),
    "jax": ("pipelines.simulation",),
    "dinosaur": ("pipelines.simulation",),
    "eccodes": ("pipelines.ingestion.readers",),
    "sqlalchemy": ("pipelines.catalog",),
    "cartopy": ("service.maps",),
}
# The rooms of pipelines that touch tensors; the process that answers HTTP imports none of them.
TENSOR_ROOMS = (
    "pear.state",
    "pear.normaliser",
    "pear.equivariant",
    "pear.models",
    "pear.rollout",
    "pear.training",
    "pear.device",
    "pipelines.benchmarks",
    "torch",
)
HTTP_ROOMS = (
    "pear.store.reader",
    "pipelines.catalog",
    "pipelines.engine.engine",
    "pipelines.storage.data_folder",
)


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(name: str, source: str, is_package: bool) -> Iterator[tuple[str, int, bool]]:
    """Yield (module, line, at module level) for each import, those inside functions too."""
    tree = ast.parse(source)
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.walk(node)
    }
    lazy = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    } | typing_only
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) not in lazy
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".")[: len(name.split(".")) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            yield base, node.lineno, id(node) not in lazy


def starts(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def row(module: str) -> Room:
    prefix = max((key for key in TABLE if starts(module, key)), key=len)
    return TABLE[prefix]


def violations(name: str, source: str, is_package: bool = False) -> list[str]:
    import sys

    room, wrong = row(name), []
    own = max((key for key in TABLE if starts(name, key)), key=len)
    for target, line, _ in imports(name, source, is_package):
        top = target.split(".")[0]
        if top in sys.stdlib_module_names:
            continue
        if top in PACKAGES:
            # "pear" in a row means the bare package (its version); a room means all below it.
            whole_house = own in ("service.cli", "pipelines")
            allowed = starts(target, own) or any(
                starts(target, inside) if inside != "pear" or whole_house else target == "pear"
                for inside in room.inside
            )
            if own == "service" and target == "service":
                allowed = True
        else:
            allowed = top in room.outside
            if top in ONLY:
                allowed = allowed and any(starts(name, only) for only in ONLY[top])
        if not allowed:
            wrong.append(f"{name}:{line} imports {target}")
    return wrong


def test_every_module_keeps_to_its_row() -> None:
    wrong = [
        text
        for name, path in modules()
        for text in violations(name, path.read_text(), path.name == "__init__.py")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("pear.variables", "import numpy"),
        ("pear.sphere.windows", "import torch"),
        ("pear.sphere.windows", "import healpy"),
        ("pear.equivariant.linear", "from pear.variables import Layout"),
        ("pear.metrics.scores", "from pear.rollout import Forecaster"),
        ("pear.models.pear", "def late():\n    import dask"),
        ("pipelines.ingestion.ingest", "from service.app import create_app"),
        ("service.app", "from pear.models import Pear"),
        ("service.api.forecasts", "from ..fields import x\nimport torch"),
        ("service.maps", "from pipelines.forecasting.forecast import run_forecast"),
    ],
)
def test_the_check_catches_a_wrong_import(name: str, source: str) -> None:
    assert violations(name, source)


def test_nothing_imports_the_command_line() -> None:
    wrong = [
        f"{name}:{line}"
        for name, path in modules()
        if not starts(name, "service.cli") and name != "pear.__main__"
        for target, line, _ in imports(name, path.read_text(), path.name == "__init__.py")
        if starts(target, "service.cli")
    ]
    assert not wrong, wrong


def test_what_the_http_process_imports_loads_no_tensors() -> None:
    """Follow module-level imports from the service and its three doors into pipelines."""
    graph = {
        name: {
            target
            for target, _, eager in imports(name, path.read_text(), path.name == "__init__.py")
            if eager
        }
        for name, path in modules()
    }
    seen: set[str] = set()
    todo = [name for name in graph if starts(name, "service")] + list(HTTP_ROOMS)
    while todo:
        name = todo.pop()
        if name in seen or name not in graph:
            continue
        seen.add(name)
        todo.extend(graph[name])
        parts = name.split(".")
        todo.extend(".".join(parts[:i]) for i in range(1, len(parts)))
    touched = {t for name in seen for t in graph[name] if any(starts(t, r) for r in TENSOR_ROOMS)}
    assert not touched, touched


def test_top_level_holds_nothing_else() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    extra = {name for name in top if not name.startswith(".")} - TOP_LEVEL
    assert not extra, extra


def test_files_stay_readable() -> None:
    long = {
        name: lines
        for name, path in modules()
        if (lines := len(path.read_text().splitlines())) > 340
    }
    assert not long, f"over 340 lines, split them: {long}"
