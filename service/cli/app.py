"""The ``pear`` command: finds a subcommand, imports only that one, and maps errors to a status.

Exit status: 0 done; 1 PEAR or the machine failed; 2 the input cannot be used (one line on standard
error names it and the remedy); 130 interrupted.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from pear.environment import check_environment
from pear.errors import InputError, describe_os_error, did_you_mean
from service.cli.console import Interrupted
from service.cli.help_text import format_help, format_options

DESCRIPTION: Final = "Weather forecasts on HEALPix: ingest, train, forecast, evaluate, serve."
_UsageError: Final = cast("type[Exception]", typer.BadParameter.__base__)


@dataclass(frozen=True)
class Entry:
    """Module of a subcommand, and how the list of commands describes it."""

    module: str
    help: str
    panel: str


_START, _DATA, _FORECASTS = "Get started", "Data", "Forecasts and scores"
_MODELS, _ADMIN = "Models and research", "Administration"
COMMANDS: Final[dict[str, Entry]] = {
    "demo": Entry("demo", "Run the whole system once on an embedded atmosphere.", _START),
    "status": Entry("status", "Summarise a data folder: stores, models, runs.", _START),
    "serve": Entry("serve", "Serve forecasts, maps, scores and the dashboard.", _START),
    "ingest": Entry("ingest", "Regrid ERA5-style files into a HEALPix store.", _DATA),
    "fetch": Entry("fetch", "Fetch today's analysis from ECMWF or NOAA.", _DATA),
    "inspect": Entry("inspect", "Describe a store, or draw one of its fields.", _DATA),
    "check": Entry("check", "Verify a store's checksums and metadata; repair it.", _DATA),
    "climatology": Entry("evaluate", "Build a climatology from an analysis.", _DATA),
    "simulate": Entry("simulate", "Simulate daily weather as ERA5-style files.", _DATA),
    "forecast": Entry("forecast", "Compute forecasts from a range of init times.", _FORECASTS),
    "runs": Entry("runs", "List, show, cancel and remove forecast runs.", _FORECASTS),
    "publish": Entry("publish", "Copy runs and analyses to object storage.", _FORECASTS),
    "evaluate": Entry("evaluate", "Score a model beside the baselines.", _FORECASTS),
    "schedule": Entry("schedules", "Ingest, forecast, evaluate and expire by cron.", _FORECASTS),
    "train": Entry("train", "Train a model on an analysis store.", _MODELS),
    "models": Entry("models", "List, add and import models.", _MODELS),
    "study": Entry("studies", "Compare networks in studies of minutes to days.", _MODELS),
    "bench": Entry("bench", "Measure PEAR's speed on this machine.", _MODELS),
    "catalog": Entry("catalog", "Rebuild the catalog from the stores on disk.", _ADMIN),
    "store": Entry("store", "Share stores with other hosts by object storage.", _ADMIN),
    "backup": Entry("backup", "Copy a data folder that is in use.", _ADMIN),
    "restore": Entry("backup", "Make a data folder from a backup.", _ADMIN),
    "keys": Entry("keys", "Create, list and remove API keys.", _ADMIN),
}

# Earlier spellings, and what is written today. A key without an option is a whole command.
RENAMED: Final[dict[tuple[str, ...], str]] = {
    ("doctor",): "pear check",
    ("import-checkpoint",): "pear models import",
    ("bench", "ablation"): "pear study ablation",
    ("bench", "peer"): "pear study pangu",
    ("bench", "orbit"): "pear study symmetrisation",
    ("bench", "stability"): "pear study stability",
    ("study", "peer"): "pear study pangu",
    ("study", "orbit"): "pear study symmetrisation",
    **{
        (command, "--out"): "--output"
        for command in (
            "bench",
            "demo",
            "ingest",
            "inspect",
            "models",
            "simulate",
            "study",
            "train",
        )
    },
    **{(command, "--store"): "--analysis" for command in ("schedule", "study", "train")},
    **{(command, "--dask"): "--scheduler" for command in ("climatology", "evaluate", "ingest")},
    **{(command, "--amplitude"): "--perturbation-scale" for command in ("evaluate", "forecast")},
    **{(command, "--checkpoint"): "--model" for command in ("bench", "study")},
    ("evaluate", "--inits"): "--init",
    ("forecast", "--exceed"): "--threshold",
    ("forecast", "--keep"): "--leads",
    ("forecast", "--orbit"): "--ensemble symmetry",
    ("forecast", "--with-models"): "--model, once for each model",
    ("ingest", "--coarser"): "--overviews",
    ("ingest", "--end"): "--period FIRST..LAST",
    ("ingest", "--every"): "--step",
    ("ingest", "--name"): "--analysis",
    ("ingest", "--start"): "--period FIRST..LAST",
    ("inspect", "--beside"): "--source",
    ("schedule", "--every"): "--step",
    ("schedule", "--expire-days"): "--keep-days",
    ("study", "--plan"): "--dry-run",
    ("study", "--test"): "--init FIRST..LAST/5d",
}


class LazyGroup(TyperGroup):
    """The root command: imports a subcommand's module when it is called, not to list it."""

    _listing = False

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names of the subcommands in the order of the help text."""
        return list(COMMANDS)

    def get_command(  # type: ignore[override]
        self, ctx: typer.Context, cmd_name: str
    ) -> TyperCommand | TyperGroup | None:
        """Return a subcommand, or a stub with its description while help is written."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        if self._listing:
            return TyperCommand(cmd_name, help=entry.help, rich_help_panel=entry.panel)
        module = importlib.import_module(f"service.cli.{entry.module}")
        group = getattr(module, "app", None)
        if group is None:
            group = typer.Typer(add_completion=False)
            group.command(cmd_name)(getattr(module, cmd_name))
        command = cast("TyperCommand | TyperGroup", typer.main.get_command(group))
        command.name, command.help = cmd_name, command.help or entry.help
        format_help(command)
        _require_local_paths(command)
        _refuse_repeated_options(command)
        return command

    def format_help(self, ctx: typer.Context, formatter: object) -> None:  # type: ignore[override]
        """Write the list of commands without importing them."""
        format_options(self)
        self._listing = True
        try:
            super().format_help(ctx, formatter)  # type: ignore[arg-type]
        finally:
            self._listing = False


def _require_local_paths(command: TyperCommand | TyperGroup) -> None:
    """Let every option and argument that is a path refuse an address."""
    for parameter in command.params:
        parameter.callback = _chain(parameter.callback, parameter.opts[0])
    for each in getattr(command, "commands", {}).values():
        _require_local_paths(each)


def _refuse_repeated_options(command: TyperCommand | TyperGroup) -> None:
    """Let a command refuse an option of one value that is given twice: the last would count."""
    make_parser = command.make_parser

    def make(ctx: typer.Context) -> object:
        parser = make_parser(ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> object:
            parsed = parse(args=args)
            seen = set()
            for one in parsed[2]:
                is_single = isinstance(one, TyperOption) and not (one.multiple or one.count)
                if is_single and id(one) in seen:
                    raise InputError(
                        f"{one.opts[0]} is given more than once",
                        field=one.opts[0],
                        hint="give it once; of a list separate the values by commas",
                    )
                seen.add(id(one))
            return parsed

        parser.parse_args = parse_args  # type: ignore[method-assign, assignment]
        return parser

    command.make_parser = make  # type: ignore[method-assign, assignment]
    for each in getattr(command, "commands", {}).values():
        _refuse_repeated_options(each)


def _chain(callback: Callable[..., object] | None, name: str) -> Callable[..., object]:
    def check(ctx: typer.Context, param: object, value: object) -> object:
        for path in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(path, Path):
                # Imports numpy, which the list of commands does not need.
                from pipelines.storage.data_folder import require_local

                require_local(path, name)
        return callback(ctx, param, value) if callback else value

    return check


def _load_variables(path: Path) -> None:
    """Add the variables of a file to this process and to those that it starts."""
    from pear.variables.own import load_variables
    from pear.variables.table import VARIABLE

    load_variables(path)
    os.environ[VARIABLE] = str(path.absolute())


def lift_variables(arguments: Sequence[str]) -> list[str]:
    """Move ``--variables FILE`` before the command, unless the command has an option of that name.

    Returns
    -------
    list of str
        The arguments in the order in which the command line reads them.

    Examples
    --------
    >>> from service.cli.app import lift_variables
    >>> lift_variables(["ingest", "a.nc", "--variables", "mine.toml"])
    ['--variables', 'mine.toml', 'ingest', 'a.nc']
    """
    given = list(arguments)
    command = next((word for word in given if word in COMMANDS), None)
    follows = given[given.index(command) + 1 :][:1] if command is not None else []
    if command in (None, "forecast") or (command == "runs" and follows == ["export"]):
        return given
    for place, word in enumerate(given):
        if word == "--variables" and place + 1 < len(given):
            return [*given[place : place + 2], *given[:place], *given[place + 2 :]]
        if word.startswith("--variables="):
            return [word, *given[:place], *given[place + 1 :]]
    return given


app = typer.Typer(
    name="pear",
    cls=LazyGroup,
    help=DESCRIPTION,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: object) -> None:
    if value:
        from pear import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    variables: Annotated[
        Path | None,
        typer.Option("--variables", metavar="FILE", help="File of variables of your own (TOML)."),
    ] = None,
) -> None:
    """Weather forecasts on HEALPix: ingest, train, forecast, evaluate, serve."""
    if variables is not None:
        _load_variables(variables)


def refuse_old_spelling(arguments: Sequence[str]) -> None:
    """Raise if a command or option is written as in an earlier version.

    Raises
    ------
    InputError
        Names the present spelling.
    """
    words = [word for word in arguments if not word.startswith("-")]
    for length in (1, 2):
        now = RENAMED.get(tuple(words[:length]))
        if now is not None and len(words) >= length:
            old = " ".join(words[:length])
            raise InputError(f"`pear {old}` was renamed: use `{now}`")
    for word in arguments:
        option = word.partition("=")[0]
        now = RENAMED.get((words[0], option)) if words and option.startswith("--") else None
        if now is not None:
            raise InputError(f"{option} of `pear {words[0]}` was renamed: use {now}", field=option)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        refuse_old_spelling(given)
        check_environment()
        given = lift_variables(given)
        status = typer.main.get_command(app).main(given, prog_name="pear", standalone_mode=False)
        if status != 130:
            sys.exit(status or 0)
        _exit_interrupted()  # typer turns an interrupt outside of interruptible() into 130
    except _UsageError as error:
        _exit_usage(error)
    except InputError as error:
        _fail(str(error), 2)
    except FileNotFoundError as error:
        _fail(f"no such file: {error.filename or error}", 2)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] in ("pear", "pipelines", "service"):
            raise
        _fail(f"this command needs {error.name}; pip install 'pear-weather[all]'", 1)
    except (Interrupted, KeyboardInterrupt, typer.Abort) as error:
        _exit_interrupted(str(error) if isinstance(error, Interrupted) else "")
    except Exception as error:
        reason = _explain(error)
        if reason is None or os.environ.get("PEAR_DEBUG"):
            raise
        _fail(reason, 1)


def _explain(error: Exception) -> str | None:
    """Return one line about an error of the machine or the catalog; None for any other."""
    if isinstance(error, OSError):
        return describe_os_error(error)
    if type(error).__module__.startswith("sqlalchemy"):
        cause = getattr(error, "orig", None) or type(error).__name__
        return f"the catalog cannot be used: {cause}; `pear catalog rebuild` makes it anew"
    return None


def _exit_interrupted(kept: str = "") -> None:
    """Say what is kept, and mute what libraries write later about half-started clusters."""
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
    _fail(f"interrupted: {kept}" if kept else "interrupted", 130)


def _exit_usage(error: Exception) -> None:
    """Report a wrong option or argument in one line, with the command whose help explains it."""
    context: typer.Context | None = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        sys.exit(2)  # the help has been written
    message = (
        getattr(error, "format_message", error.__str__)().rstrip(".").replace("Value error, ", "")
    )
    path = "pear" if context is None else context.command_path
    word = message.rpartition("'")[0].rpartition("'")[2]
    if message.startswith("No such command") and path == "pear":
        message += f"; {did_you_mean(word, COMMANDS)}"
    _fail(f"{message}; see `{path} --help`", 2)


def _fail(message: str, status: int) -> None:
    if os.environ.get("PEAR_DEBUG") and status == 2:
        raise
    one_line = " ".join(message.split())
    sys.stderr.write(f"pear: {one_line}\n")
    sys.exit(status)
