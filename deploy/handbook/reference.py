"""Pages of the handbook that the code itself writes: commands, operations, settings, variables.

A hook of MkDocs. Nothing is written beside the site: the pages exist while it is built.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import typer
import typer.core
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from PIL import Image

import pear
from pear.variables import VARIABLES
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.cli.app import COMMANDS, app
from service.settings import Settings

# Variables that no setting of the service describes.
_ENVIRONMENT: Final = {
    "PEAR_CATALOG": "URL of the catalog, for every command; default: SQLite in the data folder.",
    "PEAR_DATA": "Data folder, in place of `--data`.",
    "PEAR_VARIABLES": "File with variables of your own, in place of `--variables`.",
    "PEAR_DEVICE": "Device of the model: `auto`, `cpu`, `cuda` or `cuda:1`.",
    "PEAR_THREADS": "Threads of one process; default: by the size of the work.",
    "PEAR_NATIVE_KERNELS": "`0` leaves out the compiled kernels; everything works, slower.",
    "PEAR_CACHE": "Folder of the compiled kernels.",
    "PEAR_CACHE_DIR": "Folder of fetched remote files.",
    "PEAR_CACHE_GB": "Largest size of that folder, GB.",
    "PEAR_CACHE_DAYS": "Days after which a fetched file is removed.",
    "PEAR_FETCH_MIRROR": "Address of a mirror of the source that `pear fetch` reads.",
    "PEAR_DESTINATIONS": "Names and addresses to which a server may publish: `name=s3://…`.",
    "PEAR_LOG_LEVEL": "Least level of messages in the log: `debug`, `info`, `warning`, `error`.",
    "PEAR_DEBUG": "Any value: errors show their traceback.",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    makers: dict[str, Callable[[], Iterator[str]]] = {
        "python": _python,
        "command-line": _commands,
        "http": _operations,
        "environment": _environment,
        "variables": _variables,
    }
    for name, make in makers.items():
        text = "\n".join(make()) + "\n"
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    style = Path(__file__).with_name("handbook.css")
    files.append(File.generated(config, style.name, content=style.read_text()))
    for script in sorted((Path(config.docs_dir) / "examples").glob("*.py")):
        files.append(
            File.generated(
                config, f"examples/{script.stem}.md", content="\n".join(_example(script)) + "\n"
            )
        )
    return files


def _example(script: Path) -> Iterator[str]:
    """Return the page of an example: its cells of text and code, and its kept picture."""
    for cell in re.split(r"^# %%", script.read_text(), flags=re.MULTILINE)[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            yield from (line.removeprefix("#").removeprefix(" ") for line in body.splitlines())
        else:
            yield f"```python\n{body.strip()}\n```\n"
        if f'"{script.stem}.png"' in body:
            yield f"![Picture of the example](../images/examples/{script.stem}.png)\n"
    yield (
        f"The script is `deploy/docs/examples/{script.name}`; jupytext opens it as a notebook, and "
        "the tests run it."
    )


def _python() -> Iterator[str]:
    yield "# Python"
    yield ""
    yield "`import pear` has these names; they are imported when they are used."
    for name in pear.__all__:
        found = getattr(pear, name)
        if isinstance(found, type) or callable(found):
            own = pear.compile if name == "compile" else found
            yield f"\n::: {own.__module__}.{own.__name__}"
    for package, title in (
        ("pear.equivariant", "Equivariant layers"),
        ("pear.sphere", "The sphere"),
        ("pear.metrics", "Scores"),
        ("pear.rollout", "Rollouts"),
        ("pear.client", "A service as a client"),
    ):
        module = import_module(package)
        yield f"\n## {title}\n\n{inspect.cleandoc(module.__doc__ or '')}\n"
        for found in pkgutil.iter_modules(module.__path__):
            if not found.ispkg:
                yield f"\n::: {package}.{found.name}"


def _commands() -> Iterator[str]:
    root: Any = typer.main.get_command(app)
    context = root.make_context("pear", ["demo"], resilient_parsing=True)
    yield "# Command line"
    yield ""
    yield (
        "Exit status: 0 done; 1 PEAR or the machine failed; 2 the input cannot be used; "
        "130 interrupted."
    )
    panels: dict[str, list[str]] = {}
    for name, entry in COMMANDS.items():
        panels.setdefault(entry.panel, []).append(name)
    for panel, names in panels.items():
        yield f"\n## {panel}"
        for name in names:
            yield from _command(["pear", name], root.get_command(context, name))


def _command(
    words: list[str], command: typer.core.TyperGroup | typer.core.TyperCommand
) -> Iterator[str]:
    yield f"\n### {' '.join(words)}\n"
    yield from _command_help(command.help or "")
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            if not child.hidden:
                yield from _command([*words, name], child)
        return
    rows = [row for parameter in command.params if (row := _parameter(parameter))]
    if rows:
        yield "\n| option | value | |\n| --- | --- | --- |"
        yield from rows


def _command_help(text: str) -> Iterator[str]:
    """Set examples as blocks of code."""
    body, _, examples = inspect.cleandoc(text).partition("Examples\n")
    yield body.replace("\b", "").strip()
    lines = [line.strip() for line in examples.splitlines() if line.strip().startswith("$")]
    if lines:
        yield "\n```console\n" + "\n".join(lines) + "\n```"


def _parameter(parameter: typer.core.TyperOption | typer.core.TyperArgument) -> str | None:
    if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
        return None
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    help_text = str(getattr(parameter, "help", None) or "")
    if parameter.required:
        help_text += " Required."
    elif isinstance(parameter.default, int | float | str) and not isinstance(
        parameter.default, bool
    ):
        help_text += f" Default: {parameter.default}."
    value = (parameter.metavar or "").strip()
    return _row(names, f"`{value}`" if value else "", help_text)


def _operations() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        root = DataFolder.create(Path(folder)).root
        document = create_app(Settings(data=root)).openapi()
    yield "# HTTP"
    yield "\nThe same as `/openapi.json` of a server; `/docs` there sends requests.\n"
    topics: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            topic = (operation.get("tags") or ["other"])[0]
            topics.setdefault(topic, []).append((f"{verb.upper()} {path}", operation))
    for topic, operations in topics.items():
        yield f"\n## {topic.capitalize()}"
        for title, operation in operations:
            text = operation.get("description") or operation.get("summary") or ""
            yield f"\n### `{title}`\n\n{text}"
            rows = [
                _row(f"`{p['name']}`", p["in"], p.get("description", ""))
                for p in operation.get("parameters", [])
            ]
            if rows:
                yield "\n| parameter | in | |\n| --- | --- | --- |"
                yield from rows


def _environment() -> Iterator[str]:
    yield "# Environment variables"
    yield "\n## Every command\n\n| variable | |\n| --- | --- |"
    for name, text in _ENVIRONMENT.items():
        yield _row(f"`{name}`", text)
    yield "\n## `pear serve`\n\n| variable | default | |\n| --- | --- | --- |"
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default}`"
        yield _row(f"`PEAR_{name.upper()}`", default, field.description or "")


def _variables() -> Iterator[str]:
    yield "# Variables"
    yield "\nStores hold each variable in these units; any of the names is understood.\n"
    yield "| name | short | units | kind | CF standard name |\n| --- | --- | --- | --- | --- |"
    for row in VARIABLES:
        cells = (row.name, row.short_name, row.units, row.kind, row.standard_name or "")
        yield _row(*(f"`{cell}`" if cell else "" for cell in cells))


def _row(*cells: str) -> str:
    clean = (re.sub(r"\s+", " ", cell.replace("|", "\\|")).strip() for cell in cells)
    return "| " + " | ".join(clean) + " |"


def on_page_content(html: str, page: Page, **_: object) -> str:
    """Drop the roles of Sphinx, which docstrings write before names, and restore formulas."""
    if page.file.src_uri != "reference/python.md":
        return html
    html = re.sub(r":(?:attr|class|data|func|meth|mod):<code>", "<code>", html)
    # Markdown takes [Φf](g), the value of Φf at g, for a link.
    html = re.sub(r'<a href="(\w)">(.*?)</a>', r"[\2](\1)", html)
    return re.sub(r"<code>~(?:\w+\.)+(\w+)</code>", r"<code>\1</code>", html)


def on_post_build(config: MkDocsConfig) -> None:
    """Drop what no reader loads, and make pictures small: the site travels in the wheel.

    The theme brings source maps and the word lists of languages that the handbook is not in.
    """
    site = Path(config.site_dir)
    for path in (*site.rglob("*.map"), *site.glob("assets/javascripts/lunr/**/*.js")):
        path.unlink()
    for path in site.glob("images/**/*.png"):
        small = Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
