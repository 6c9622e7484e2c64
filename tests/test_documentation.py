"""The README and the handbook: every command parses, every Python block runs, links resolve."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.version import Version

from pipelines.engine.engine import Engine
from service.app import create_app
from service.cli.app import app, lift_variables, refuse_old_spelling
from service.settings import Settings
from tests.fixtures.service import served

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / ".github").glob("*.md")),
    *sorted((ROOT / "deploy" / "docs").rglob("*.md")),
]
pytestmark = pytest.mark.skipif(not PAGES[0].exists(), reason="not a source tree")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield (page, text) of each fenced block of a language."""
    for page in PAGES:
        for text in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL):
            yield page.name, text


def commands() -> list[tuple[str, str]]:
    """Return (page, command line) of each ``pear`` command that a page shows."""
    found = []
    for page in PAGES:
        text = page.read_text()
        lines = [line for block in _fenced(text) for line in block.splitlines()]
        spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for line in [*lines, *spans]:
            match = re.search(r"(?:^|[\s/$])pear ([a-z][a-z-]* ?[^#&|]*)", line)
            if match and match[0].strip() != "pear demo":
                found.append((page.name, match[1].strip()))
    return sorted(set(found))


def _fenced(text: str) -> Iterator[str]:
    for block in re.findall(r"```(?:console|sh)\n(.*?)```", text, re.DOTALL):
        yield block.replace("\\\n", " ")


def parse(words: list[str], *, whole: bool) -> None:
    """Parse a command line without running it; if not whole, its commands alone."""
    refuse_old_spelling(words)
    root = typer.main.get_command(app)
    lifted = lift_variables(words)
    context = root.make_context("pear", list(lifted))
    name, *rest = lifted[2:] if lifted[0] == "--variables" else lifted
    command = root.get_command(context, name)  # type: ignore[attr-defined]
    assert command is not None, f"no command {name}"
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name, *rest = rest
        if name.isupper():  # stands for any of them
            return
        assert name in command.commands, f"no command {name}"
        command = command.commands[name]
    assert not hasattr(command, "commands") or not rest or rest[0] == "--help", f"no {rest[0]}"
    if whole and rest and not hasattr(command, "commands"):
        command.make_context(name, rest)


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_line_parses(page: str, line: str) -> None:
    words = shlex.split(line)
    complete = any(word.startswith("-") for word in words) and "--help" not in words
    parse(words, whole=complete)


def exists(path: Path) -> bool:
    """Return whether a file exists, or the script that a page of the handbook is made from."""
    return path.exists() or (path.parent.name == "examples" and path.with_suffix(".py").exists())


def test_every_link_leads_to_a_file() -> None:
    missing = [
        (page.name, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text())
        if "://" not in target and not exists(page.parent / target)
    ]
    assert not missing


def plain_text(page: Path) -> str:
    """Return the text of a page without code, addresses and targets of links."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return re.sub(r"`[^`]*`|https?://\S+|(?<=\])\([^)]*\)", "", text)


def test_every_abbreviation_is_in_the_glossary() -> None:
    glossary = ROOT / "deploy" / "docs" / "glossary.md"
    terms = re.findall(r"^\| ([^|]+) \|", glossary.read_text(), re.MULTILINE)
    known = set(re.findall(r"\w+", " ".join(terms))) | {"PEAR"}
    abbreviation = re.compile(r"\b(?:[A-Z]{2,}[A-Z0-9]*|[A-Z]+\d+[A-Za-z]?)(?=s?\b)")
    handbook = [page for page in PAGES if page.parent.name != ".github" and page != glossary]
    found = {
        (name, page.name) for page in handbook for name in abbreviation.findall(plain_text(page))
    }
    assert not sorted((name, page) for name, page in found if name not in known)
    for name in ("ACC", "CRPS", "C4h", "nside", "z500", "EDR", "STAC"):
        assert name in known


def clients() -> list[tuple[str, str, str]]:
    """Return package, version and test of each row of the table of clients."""
    text = (ROOT / "deploy" / "docs" / "clients.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if "tests/" in line[:400]]
    return [(row[1].strip(), row[2].strip(), row[-1].strip("` ")) for row in rows if len(row) == 5]


def test_every_client_of_the_table_has_its_test_and_version() -> None:
    assert len(clients()) > 20
    for package, least, test in clients():
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(), test
        if package:
            try:
                installed = version(package)
            except PackageNotFoundError:
                continue  # of an extra
            # A development version of PEAR counts as the release that it leads to.
            assert Version(Version(installed).base_version) >= Version(least), package


@pytest.mark.slow
def test_coordinates_of_values_cost_less_than_a_hundredth(
    demo: tuple[Path, dict[str, Any]],
) -> None:
    """Latitude, longitude and valid time of the demo's own stores."""
    stores = sorted((*demo[0].glob("analyses/*.zarr"), *demo[0].glob("forecasts/*.zarr")))
    assert len(stores) > 2
    for store in stores:
        sizes = {file: file.stat().st_size for file in store.rglob("*") if file.is_file()}
        ours = {"latitude", "longitude", "valid_time"}
        cost = sum(size for file, size in sizes.items() if ours & set(file.parts))
        assert 0 < cost < 0.01 * sum(sizes.values()), store


@pytest.fixture
def demo_folder(tmp_path: Path, demo: tuple[Path, dict[str, Any]]) -> Path:
    """Return a folder as that in which ``pear demo --once`` has run."""
    data, summary = demo
    assert summary["atmosphere"] == "simulated"
    (tmp_path / "pear-data").symlink_to(data)
    return tmp_path


@pytest.fixture
def address(demo_folder: Path) -> Iterator[str]:
    """Serve what ``pear demo`` made, without workers: every run that a page asks for is there."""
    folder = demo_folder / "pear-data"
    with closing(Engine(folder)) as engine:
        application = create_app(Settings(data=folder), engine.catalog, engine)
        with served(application) as url:
            yield url


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "text"), [pair for pair in blocks("python") if "era5.nc" not in pair[1]]
)
def test_every_python_block_runs(
    page: str, text: str, demo_folder: Path, request: pytest.FixtureRequest
) -> None:
    if "earth2studio" in text:
        pytest.importorskip("earth2studio")  # an extra of its own, with a torch for GPUs
    if re.search(served_at := r"http://(localhost|127\.0\.0\.1):8000", text):
        text = re.sub(served_at, request.getfixturevalue("address"), text)
    env = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=demo_folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page}: {done.stderr[-2000:]}"


ANSWERED = """
set -o errexit
curl() {
    echo "curl $*" >&2
    if [ "$1" != -N ]; then
        command curl --fail --silent --show-error --max-time 300 "$@"
        return
    fi
    # A stream of events has no end: its head tells whether it was answered.
    command curl --include --silent --max-time 300 "$@" > head &
    for _ in $(seq 600); do
        if grep --quiet "^HTTP.* 200" head; then break; fi
        sleep .1
    done
    kill $!
    grep --quiet "^HTTP.* 200" head
}
"""


UNANSWERED = {
    "counterfactual": "needs a chart of the climate, which the demo's 25 days are too few for",
    "/readyz": "is 503, as the service of this test has no workers",
}


def requests() -> dict[str, str]:
    """Return for each page the shell script of its requests to a service on this host."""
    found: dict[str, str] = {}
    for page, block in blocks("(?:console|sh)"):
        if "curl" in block and not any(word in block for word in UNANSWERED):
            lines = [line.removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines()]
            other = re.compile(r"pear |pip |\.venv|python|source |.*https://pear\.example\.org")
            script = "\n".join(line for line in lines if not other.match(line))
            found[page] = found.get(page, "") + script + "\n"
    return {page: script for page, script in found.items() if "curl" in script}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", requests())
def test_every_request_of_curl_is_answered(
    page: str, tmp_path: Path, demo: tuple[Path, dict[str, Any]]
) -> None:
    """The blocks of a page in one shell, with a copy of the demo's folder, as some submit runs."""
    script = requests()[page]
    folder = tmp_path / "pear-data"
    shutil.copytree(demo[0], folder)
    with (
        closing(Engine(folder)) as engine,
        served(create_app(Settings(data=folder), engine.catalog, engine)) as url,
    ):
        done = subprocess.run(
            ["bash", "-c", ANSWERED + script.replace("localhost:8000", url)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, f"{page}: {done.stderr[-2000:]}"
