"""What `pear ... --help` shows: paragraphs, types, defaults as one would type them, examples."""

from __future__ import annotations

import re
from typing import Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

_LONG: Final = 30
WIDTH: Final = 78
"""Columns of an example: a terminal of 80 less the margin on both sides."""


def format_help(command: TyperCommand | TyperGroup) -> None:
    """Let paragraphs wrap at the terminal's width, and end the help with the examples.

    Parameters
    ----------
    command
        Command whose help is the docstring of its function; its subcommands are changed too.
    """
    text, _, examples = (command.help or "").partition("\n\nExamples\n--------\n")
    command.help = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    if examples:
        command.epilog = "\n".join(["Examples:", *map(break_example, examples.splitlines())])
    format_options(command)
    for each in getattr(command, "commands", {}).values():
        format_help(each)


def break_example(line: str, width: int = WIDTH) -> str:
    r"""Return an example that is too long on several lines, as a shell would read it.

    Parameters
    ----------
    line
        A command.
    width
        Columns.

    Returns
    -------
    str
        The command, broken before options.

    Examples
    --------
    >>> from service.cli.help_text import break_example
    >>> print(break_example("$ pear models correct shipped --no-bias -o filtered", 40))
    $ pear models correct shipped \
        --no-bias -o filtered
    """
    line = line.rstrip()
    if len(line) <= width:
        return line
    lines, rest = [], line
    while len(rest) > width:
        breaks = [at.start() for at in re.finditer(r" (?=--?[a-z])", rest) if at.start() > 6]
        fitting = [at for at in breaks if at + 2 <= width]
        if not fitting:
            break
        lines.append(f"{rest[: fitting[-1]].rstrip()} \\")
        rest = f"    {rest[fitting[-1] + 1 :]}"
    return "\n".join([*lines, rest])


def format_options(command: TyperCommand | TyperGroup) -> None:
    """Leave out the types that say nothing, and write defaults as one would type them.

    Parameters
    ----------
    command
        Command whose parameters are changed.
    """
    for parameter in command.params:
        if isinstance(parameter, (TyperOption, TyperArgument)):
            _write_default(parameter)
        if getattr(parameter, "is_flag", False):
            parameter.metavar = " "  # typer writes <bool>
        elif isinstance(parameter, TyperArgument):
            parameter.display_type_rich = _no_type  # type: ignore[method-assign]  # <str>, <path>
    get_help_option = command.get_help_option

    def without_type(ctx: typer.Context) -> TyperOption | None:
        option = get_help_option(ctx)
        if option is not None:
            option.metavar = " "
        return option

    command.get_help_option = without_type  # type: ignore[method-assign, assignment]


def _no_type(ctx: object) -> str:
    del ctx
    return ""


def _write_default(parameter: TyperOption | TyperArgument) -> None:
    """Let the default of one parameter show as text: typer takes a period for two values.

    A long list gets spaces, where it can be wrapped.
    """
    write = parameter._get_default_string  # typer has no public way

    def as_typed(*, ctx: typer.Context, show_default_is_str: bool, default_value: object) -> str:
        if isinstance(parameter.show_default, str):
            return parameter.show_default
        if isinstance(default_value, tuple) and type(default_value).__str__ is not tuple.__str__:
            text = str(default_value)
            return text if len(text) <= _LONG else ", ".join(map(str, default_value))
        text = write(ctx=ctx, show_default_is_str=show_default_is_str, default_value=default_value)
        return text.removesuffix("T00:00:00")

    parameter._get_default_string = as_typed  # type: ignore[method-assign, assignment]
