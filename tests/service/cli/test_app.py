"""The root command: lazy subcommands, one-line errors, renamed spellings, exit status."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from service.cli.app import COMMANDS, RENAMED, app, main
from tests.fixtures.command_line import CommandLine


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    code = (
        "import sys; sys.argv = ['pear', '--help']; from service.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'xarray', 'zarr', 'fastapi', 'dask', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in set(COMMANDS) - {"build-resources"}:
        assert f" {name} " in done.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_of_at_most_80_columns(
    pear: CommandLine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = pear(name, "--help").out.splitlines()
    assert lines
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("simulat",), "No such command 'simulat'; did you mean simulate?"),
        (("keys", "add"), "Missing argument 'name'; see `pear keys add --help`"),
        (("simulate", "--start", "soon", "-o", "x"), "invalid time 'soon': expected e.g."),
        (("simulate", "--truncation", "T9", "-o", "x"), "Invalid value for '--truncation'"),
    ],
)
def test_wrong_words_are_one_line_and_status_2(
    pear: CommandLine, words: tuple[str, ...], message: str
) -> None:
    answer = pear(*words)
    answer.refused(message)
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(("old", "new"), sorted(RENAMED.items()), ids=str)
def test_an_old_spelling_names_the_new_one(
    pear: CommandLine, old: tuple[str, ...], new: str
) -> None:
    answer = pear(*old, *(("x",) if old[-1].startswith("--") else ()))
    assert answer.status == 2
    assert f"use {new}" in answer.err.replace("`", "")


def test_a_renamed_option_names_one_that_exists() -> None:
    root = typer.main.get_command(app)
    context = typer.Context(root)
    for (name, *option), new in RENAMED.items():
        if not option or not option[0].startswith("--") or "," in new:
            continue
        command = root.get_command(context, name)  # type: ignore[attr-defined]
        if command is None:
            continue
        commands = [command, *getattr(command, "commands", {}).values()]
        options = {text for each in commands for p in each.params for text in p.opts}
        assert new.split()[0] in options, f"pear {name} has no {new}"
        assert option[0] not in options, f"pear {name} has {option[0]}, which is refused"


@pytest.mark.parametrize(
    "words",
    [
        "forecast --data s3://bucket/x --init 2001-01-01",
        "inspect s3://bucket/x",
        "demo --once --output s3://bucket/x",
        "ingest a.nc --output s3://bucket/x",
        "runs list --data s3://bucket/x",
        "train --analysis s3://bucket/x --output y",
        "serve --data s3://bucket/x",
    ],
)
def test_an_address_is_not_a_folder(
    words: str, pear: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pear(*words.split()).refused("s3://bucket/x is an address")
    assert list(tmp_path.iterdir()) == []


def test_the_data_folder_of_the_environment_is_not_an_address(
    pear: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEAR_DATA", "gs://bucket/x")
    pear("status").refused("gs://bucket/x is an address; --data takes a local path")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["ingest", "a.nc", "--replace", "2001..2002", "--replace", "2003..2004"], "--replace"),
        (["ingest", "a.nc", "--nside", "8", "--nside=16"], "--nside"),
        (["ingest", "a.nc", "-o", "a.zarr", "--output", "b.zarr"], "--output"),
        (["runs", "list", "--data", "a", "--data", "b"], "--data"),
    ],
)
def test_an_option_that_is_given_twice_is_refused(
    arguments: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert f"pear: {option} is given more than once; give it once" in capsys.readouterr().err


def test_an_option_of_several_values_is_given_several_times(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["forecast", "--model", "a", "--model", "b", "--init", "2001-01-01", "--data", "none"])
    assert "more than once" not in capsys.readouterr().err


def every_command() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and subcommand."""
    root = typer.main.get_command(app)
    context = typer.Context(root)
    for name in COMMANDS:
        yield (name,)
        command = root.get_command(context, name)  # type: ignore[attr-defined]
        yield from ((name, each) for each in getattr(command, "commands", {}))


@pytest.mark.parametrize("words", sorted(every_command()), ids=" ".join)
def test_the_help_of_a_command_is_whole(
    pear: CommandLine, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip("│ ") for line in pear(*words, "--help").out.splitlines()]
    text = re.sub(r"(?<=[,:])…", "", re.sub(r", …", "", "\n".join(lines)))
    assert "…" not in text, "a word is cut"
    assert not re.search(r"<(bool|str|path|list|Path)\b", text), "a type that says nothing"
    assert not re.search(r"default: \(|\(default: [^)]*\)\.?\s+\[default:", text), "two defaults"
    assert not re.search(r"^\$ pear.*(?<!\\)\n(?!\$|$)", text + "\n", re.MULTILINE), (
        "an example wraps without a backslash"
    )


@pytest.mark.parametrize("words", sorted(every_command()), ids=" ".join)
def test_the_model_of_the_package_is_offered_wherever_a_checkpoint_is(
    words: tuple[str, ...],
) -> None:
    command = typer.main.get_command(app)
    context = typer.Context(command)
    for word in words:
        command = command.get_command(context, word)  # type: ignore[attr-defined]
    texts = [getattr(each, "help", None) or "" for each in command.params]
    asked = [text for text in texts if "checkpoint folder" in text.lower()]
    assert all("shipped" in text for text in asked), asked


def test_a_study_takes_the_model_of_the_package(pear: CommandLine, tmp_path: Path) -> None:
    words = ["study", "stability", "--model", "shipped", "--init", "2001-01-01"]
    missing = str(tmp_path / "none.zarr")
    assert missing in pear(*words, "--analysis", missing).err
