"""Settings that people write: strict pydantic models, and their faults as one-line errors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from pear.errors import InputError, did_you_mean
from pipelines.faults import describe_fault, shorten
from pipelines.storage.data_folder import check_name

M = TypeVar("M", bound=BaseModel)
MAX_LEAD_HOURS: Final = 24 * 366
"""Longest lead time that any request may name, hours; a model and a service may allow less."""
_SHOWN: Final = 64
_KINDS: Final = frozenset({"bool", "dict", "float", "int", "list", "str", "tuple"})
"""Names of types, which pydantic adds to the place of a value with several types."""


def _number_only(value: object) -> object:
    """Refuse text and booleans, which pydantic would convert."""
    if isinstance(value, str | bool):
        raise ValueError(f"{shorten(value)} is not a number")  # noqa: TRY004 - pydantic's contract
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return value


def _store_name(name: str) -> str:
    try:
        return check_name(name)
    except InputError as error:
        raise ValueError(error.hint) from error  # pydantic adds the name and the value


Whole = Annotated[int, BeforeValidator(_number_only)]
Number = Annotated[float, BeforeValidator(_number_only)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
StoreName = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_store_name)]
LeadHours = Annotated[Whole, Field(ge=1, le=MAX_LEAD_HOURS)]


class StrictModel(BaseModel):
    """Settings that refuse an unknown name and say which one was probably meant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, given: object) -> object:
        for name in given if isinstance(given, Mapping) else ():
            if name not in cls.model_fields:
                shown = str(name)[:_SHOWN]
                hint = did_you_mean(shown, cls.model_fields)
                raise InputError(f"unknown setting {shown!r}", field=shown, hint=hint)
        return given


def validate(kind: type[M], given: Mapping[str, Any]) -> M:
    """Validate settings by a pydantic model.

    Parameters
    ----------
    kind
        The model.
    given
        Names and values.

    Returns
    -------
    pydantic.BaseModel
        An instance of ``kind``.

    Raises
    ------
    InputError
        Naming the first setting that is unknown, missing or invalid, by its path.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        field = field_path(fault)
        message, hint = describe_fault(fault, field)
        raise InputError(message, field=field, hint=hint) from error


def field_path(fault: Mapping[str, Any], skip: int = 0) -> str | None:
    """Return where a refused setting is: the names and indices that lead to it, with dots.

    Parameters
    ----------
    fault
        One of the errors of a pydantic ValidationError.
    skip
        Number of leading parts to leave out.

    Returns
    -------
    str or None
        Such as ``forecast.options.members``; None for the settings as a whole.
    """
    parts = [str(part) for part in fault["loc"][skip:] if re.fullmatch(r"[\w ]+", str(part))]
    parts = [part for part in parts if part not in _KINDS]
    cause = fault.get("ctx", {}).get("error")
    # A validator of several settings names the one at fault; a validator of one need not.
    named = cause.field if isinstance(cause, InputError) else None
    if named and named not in parts and isinstance(fault.get("input"), Mapping):
        parts.append(named)
    return ".".join(parts) or None
