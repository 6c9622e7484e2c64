"""Faults that pydantic finds in settings and requests, in PEAR's words: value, rule and remedy.

pydantic's own messages leave out the value, and call a number that is not one too large.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pear.addresses import without_secrets
from pear.errors import InputError, did_you_mean

_SHOWN: Final = 64
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "{} or more"),
    "greater_than": ("gt", "more than {}"),
    "less_than_equal": ("le", "{} or less"),
    "less_than": ("lt", "less than {}"),
    "multiple_of": ("multiple_of", "a multiple of {}"),
}
_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "bytes": "text",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "an object of names and values",
    "mapping": "an object of names and values",
    "model": "an object of names and values",
    "dataclass": "an object of names and values",
    "date": "a date such as 2001-03-01",
    "datetime": "a time such as 2001-03-01T00:00:00Z",
    "path": "the path of a file or folder",
    "none": "null",
}
"""What a value must be, by the beginning of the name of the fault."""
_UNITS: Final = {"string": "letters", "bytes": "bytes"}


class Fault(NamedTuple):
    """One fault in words.

    Attributes
    ----------
    message
        What is wrong, with the name of the setting, its value and what is allowed.
    hint
        What to do instead, or None where the message says it.
    """

    message: str
    hint: str | None = None


def describe_fault(
    fault: Mapping[str, Any], name: str | None, forms: Mapping[str, str] | None = None
) -> Fault:
    """Return one fault of a pydantic ValidationError in words.

    Parameters
    ----------
    fault
        One of ``ValidationError.errors()``.
    name
        What the setting is called where it was given (default: ``value``).
    forms
        What a text of each pattern looks like.

    Returns
    -------
    Fault
        Message and hint.

    Examples
    --------
    >>> fault = {"type": "less_than_equal", "input": "501", "ctx": {"le": 500}}
    >>> describe_fault(fault, "limit").message
    'limit must be 500 or less, not 501'
    """
    kind, context = str(fault["type"]), fault.get("ctx", {})
    name = name or "value"
    given = fault.get("input")
    cause = context.get("error")
    if isinstance(cause, InputError):
        return Fault(cause.message, cause.hint)
    if kind == "missing":
        return Fault(f"{name} is missing", f"give {name}")
    if kind == "json_invalid":
        at = next((part for part in reversed(fault["loc"]) if isinstance(part, int)), None)
        place = "" if at is None else f" at character {at}"
        reason = _lower(str(context.get("error", "")))
        return Fault(f"the body is not valid JSON{place}: {reason}", "send one JSON object")
    if kind in ("value_error", "assertion_error"):  # raised by a validator, whose words say all
        words = str(cause) if cause else fault["msg"].split(", ", 1)[-1]
        value = shorten(given)
        return Fault(
            f"invalid {name}: {words}" if value in words else f"invalid {name} {value}: {words}"
        )
    if kind in ("literal_error", "enum"):
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        if not choices:
            return Fault(f"{name} must be {context.get('expected')}, not {shorten(given)}")
        hint = did_you_mean(given[:_SHOWN], choices) if isinstance(given, str) else None
        close = hint if hint and not hint.startswith("known") else None
        return Fault(f"{name} must be {join_or(choices)}, not {shorten(given)}", close)
    return Fault(f"{name} must be {_rule(kind, context, given, forms or {})}")


def _rule(kind: str, context: Mapping[str, Any], given: object, forms: Mapping[str, str]) -> str:
    """Return what a value must be, and what it is."""
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        number = _to_number(given)
        if number is not None and math.isnan(number):  # which is neither more nor less
            return f"a finite number, not {_plain(given)}"
        limit = context[bound]
        limit = int(limit) if isinstance(limit, float) and limit.is_integer() else limit
        return f"{words.format(limit)}, not {_plain(given)}"
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern", ""))
        form = forms.get(pattern)
        return f"of the form {form or pattern}, not {shorten(given)}"
    stem = kind.partition("_")[0]
    for end, word in (("_too_short", "at least"), ("_too_long", "at most")):
        if (stem + end == kind or kind == end[1:]) and (count := _length(context)) is not None:
            unit = _UNITS.get(stem, "items")
            unit = unit.removesuffix("s") if count == 1 else unit
            size = context.get("actual_length")
            size = len(given) if size is None and isinstance(given, Sequence) else size
            what = "text" if stem in _UNITS else "a list"
            return f"{what} of {word} {count} {unit}, not {size}"
    if stem in _KINDS:
        return f"{_KINDS[stem]}, not {_plain(given)}"
    return f"valid, not {shorten(given)}: it is refused as {kind.replace('_', ' ')}"


def _length(context: Mapping[str, Any]) -> int | None:
    found = context.get("min_length", context.get("max_length"))
    return None if found is None else int(found)


def _to_number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _plain(value: object) -> str:
    """Return a value; a number that came as text without quotation marks."""
    if isinstance(value, str) and _to_number(value) is not None and value.isprintable():
        return value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    return shorten(value)


def join_or(choices: Sequence[str]) -> str:
    """Return names as a choice.

    Returns
    -------
    str
        ``a, b or c``.

    Examples
    --------
    >>> join_or(["acc", "rmse", "mae"])
    'acc, rmse or mae'
    """
    return " or ".join((", ".join(choices[:-1]), choices[-1])) if choices[1:] else choices[0]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def shorten(value: object) -> str:
    """Return a value as it is written, without secrets, shortened for a message."""
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str) and len(value) > 8:
        return f"{type(value).__name__} of {len(value)} values"
    if value is None or isinstance(value, bool):  # as JSON and TOML have them
        return "null" if value is None else str(value).lower()
    text = without_secrets(repr(value))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
