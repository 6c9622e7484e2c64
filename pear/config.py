"""Base class of settings: frozen dataclasses that check themselves and go to JSON and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from pear.errors import InputError, did_you_mean


class Config:
    """Base of frozen dataclasses of settings.

    After construction, sequences are tuples where the field is a tuple, and every field whose type
    is a ``Literal`` holds one of its values. A subclass that defines ``__post_init__`` calls
    ``super().__post_init__()`` first.

    Attributes
    ----------
    kind
        What the settings describe, for error messages.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Trial(Config):
    ...     kind = "trial"
    ...     steps: int = 10
    ...     heads: tuple[int, ...] = (1, 2)
    >>> Trial.from_dict({"heads": [2, 4]})
    Trial(steps=10, heads=(2, 4))
    >>> Trial(steps=20).to_dict()
    {'steps': 20, 'heads': (1, 2)}
    >>> Trial.from_dict({"step": 3})
    Traceback (most recent call last):
    pear.errors.InputError: unknown trial setting 'step'; did you mean steps?
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    kind: ClassVar[str] = "model"

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            value = getattr(self, name)
            if get_origin(hint) is tuple and isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
            choices = _choices(hint)
            if choices and value not in choices:
                check_choice(name, value, [str(choice) for choice in choices if choice is not None])

    def check_positive(self, *names: str) -> None:
        """Raise unless these fields are positive; None passes.

        Raises
        ------
        InputError
            Naming the field and its value.
        """
        for name in names:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be positive, got {value}", field=name)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-serialisable values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Build from the dictionary that :meth:`to_dict` returns; missing fields keep defaults.

        Parameters
        ----------
        settings
            Values by field name. A mapping given for a field whose type has a ``from_dict`` is
            passed through it.

        Returns
        -------
        Self
            The settings.

        Raises
        ------
        InputError
            If a name is unknown or a value is invalid.
        """
        hints = _hints(cls)
        for name in settings:
            if name not in hints:
                raise InputError(
                    f"unknown {cls.kind} setting {name!r}",
                    field=name,
                    hint=did_you_mean(name, hints),
                )
        return cls(**{name: _parsed(hints[name], value) for name, value in settings.items()})


def check_choice(name: str, value: object, known: Iterable[str]) -> None:
    """Raise unless a setting has one of the known values.

    Parameters
    ----------
    name
        The setting.
    value
        Its value.
    known
        Accepted values.

    Raises
    ------
    InputError
        Naming the setting, its value and the closest known one.

    Examples
    --------
    >>> from pear.config import check_choice
    >>> check_choice("shift", "ring_roll", ["none", "ring_roll"])
    >>> check_choice("shift", "ring_rol", ["none", "ring_roll"])
    Traceback (most recent call last):
    pear.errors.InputError: shift 'ring_rol' is unknown; did you mean ring_roll?
    """
    known = list(known)
    if value not in known:
        raise InputError(
            f"{name} {value!r} is unknown", field=name, hint=did_you_mean(str(value), known)
        )


def _hints(kind: type[Config]) -> dict[str, Any]:
    """Return the resolved type of each field of a dataclass of settings."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _choices(hint: object) -> tuple[object, ...]:
    """Return the values of a ``Literal`` or an optional one; empty for other types."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        parts = get_args(hint)
        literals = [part for part in parts if get_origin(part) is Literal]
        if len(literals) == 1 and len(parts) == 2 and type(None) in parts:
            return (*get_args(literals[0]), None)
    return ()


def _parsed(hint: object, value: object) -> object:
    parse = getattr(hint, "from_dict", None)
    return parse(value) if parse is not None and isinstance(value, Mapping) else value
