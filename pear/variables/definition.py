"""What a variable is: its names, units, bounds and style, and how a table of them is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from typing import Final, Literal

import numpy as np

from pear.errors import InputError, did_you_mean
from pear.typing import Array, Float32

Kind = Literal["surface", "upper"]

_KINDS: Final[dict[str, Kind]] = {"single": "surface", "pressure": "upper"}
_RULES: Final = ("height", "moisture")


@dataclass(frozen=True)
class Style:
    """Style of one variable on maps; shown = stored · scale + offset.

    Attributes
    ----------
    units
        Unit of the shown values.
    scale, offset
        Conversion from the stored unit.
    colours
        Name of the colour map.
    limits
        Limits of the colour bar in shown units; None to derive them from the field.
    symmetric
        True if the limits are symmetric about zero.
    isolines
        Spacing of isolines in shown units, or None.
    from_zero
        True if the lower limit is zero.
    label
        Name of the shown quantity, if it differs from the stored one.
    limits_at
        Limits by pressure level, hPa.

    Examples
    --------
    >>> from pear.plotting import Style
    >>> style = Style("°C", 1.0, -273.15, "RdYlBu_r")
    >>> float(style.shown(np.array([273.15], dtype=np.float32))[0])
    0.0
    """

    units: str
    scale: float = 1.0
    offset: float = 0.0
    colours: str = "viridis"
    limits: tuple[float, float] | None = None
    symmetric: bool = False
    isolines: float | None = None
    from_zero: bool = False
    label: str | None = None
    limits_at: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def shown(self, values: Array) -> Float32:
        """Convert stored values to shown values."""
        return (values * np.float32(self.scale) + np.float32(self.offset)).astype(np.float32)


@dataclass(frozen=True)
class Variable:
    """A physical variable: one row of the table.

    Attributes
    ----------
    name, short_name, long_name, standard_name
        WeatherBench2, ECMWF and CF names.
    units
        UDUNITS string; every store and state holds the variable in this unit.
    kind
        ``"surface"`` for single-level fields, ``"upper"`` for pressure-level fields.
    valid_range
        Inclusive bounds in ``units``; values outside do not occur on Earth.
    published
        True for a channel of the published model.
    mirror_sign
        Factor of the field under the reflection at the equator: -1 for northward components.
    partner
        The other component of the vector, or None.
    height
        Lowest and highest height above the ground at which a file may place the field, m.
    aloft
        The same quantity on pressure levels, or None.
    level_types
        Types of level in GRIB at which the field may lie.
    valid_range_at
        Bounds at pressure levels, hPa; between them interpolated, beyond them ``valid_range``.
    range_by_level
        Rule that narrows the valid range at a level: ``height``, ``moisture`` or None.
    rms_range, rms_range_at
        Bounds of the root mean square over the globe in ``units``, of a surface variable or by
        pressure level, hPa: wide enough for any climate, too narrow for another unit.
    floor
        Values are never below it, or None.
    dialects
        Other names accepted on input, by dialect.
    param_id, discipline_category_number, ncep
        Numbers of GRIB 1 (ECMWF) and GRIB 2; name and level in the index files of NCEP.
    standard_names, said_by, denied_by
        Other standard names that fit; words that say or deny the quantity, regular expressions.
    style
        How it is drawn.
    accepted_units
        Factors to ``units`` of other units that files may state.
    file_names
        Names that only files use for it, because elsewhere they mean something else.
    accumulated_hours
        Hours before the valid time over which the field is summed; None for an instant.
    transform, transform_scale
        ``log1p``: networks see log(1 + value / scale); None for the value itself.
    common_values
        Values that large parts of the globe may share, such as 0 for rain.
    missing
        ``nearest``: where a file has no value, such as on land, stands that of the nearest point
        that has one. None: missing values are a fault.
    forcing
        True if models read the field and do not predict it: forecasts keep the initial one.
    may_repeat
        True if fields of two times may be equal in every bit; otherwise one of them is a copy.

    Examples
    --------
    >>> from pear.variables import Variable, variable
    >>> wind = variable("v10")
    >>> wind.name, wind.units, wind.mirror_sign
    ('10m_v_component_of_wind', 'm s-1', -1)
    """

    name: str
    short_name: str
    long_name: str
    standard_name: str
    units: str
    kind: Kind
    valid_range: tuple[float, float]
    published: bool = False
    mirror_sign: Literal[1, -1] = 1
    partner: str | None = None
    height: tuple[float, float] | None = None
    aloft: str | None = None
    level_types: tuple[str, ...] = ()
    valid_range_at: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    range_by_level: str | None = None
    rms_range: tuple[float, float] | None = None
    rms_range_at: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    floor: float | None = None
    dialects: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    param_id: int | None = None
    discipline_category_number: tuple[int, int, int] | None = None
    ncep: tuple[str, str] | None = None
    standard_names: tuple[str, ...] = ()
    said_by: str | None = None
    denied_by: str | None = None
    style: Style = field(default_factory=lambda: Style(""))
    accepted_units: Mapping[str, float] = field(default_factory=dict)
    file_names: tuple[str, ...] = ()
    accumulated_hours: int | None = None
    transform: Literal["log1p"] | None = None
    transform_scale: float = 1.0
    common_values: tuple[float, ...] = ()
    missing: Literal["nearest"] | None = None
    forcing: bool = False
    may_repeat: bool = False

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names accepted on input, of all dialects."""
        return tuple(dict.fromkeys(name for names in self.dialects.values() for name in names))

    @property
    def grib_name(self) -> str:
        """Short name in GRIB."""
        return next(iter(self.dialects.get("grib", ())), self.short_name)


def read_rows(document: Mapping[str, object], source: str) -> list[Variable]:
    """Read a table of variables.

    Parameters
    ----------
    document
        Tables of TOML by canonical name.
    source
        Name of the file, for messages.

    Returns
    -------
    list of Variable
        In the order of the file.

    Examples
    --------
    >>> from pear.variables.definition import read_rows
    >>> row = {"units": "Pa", "levels": "single", "valid_range": [110, 90]}
    >>> read_rows({"surface_pressure": row}, "mine.toml")
    Traceback (most recent call last):
    pear.errors.InputError: mine.toml: surface_pressure: valid_range = [110, 90] is reversed; ...
    """
    return [_Row(name, table, source).read() for name, table in document.items()]


def read_file(name: str) -> list[Variable]:
    """Read a table that comes with PEAR.

    Parameters
    ----------
    name
        Name of a file in this package.

    Returns
    -------
    list of Variable
        In the order of the file.

    Examples
    --------
    >>> from pear.variables.definition import read_file
    >>> read_file("variables.toml")[0].name
    'mean_sea_level_pressure'
    """
    import tomllib  # takes longer than `import pear` may

    text = resources.files(__package__).joinpath(name).read_text("utf-8")
    return read_rows(tomllib.loads(text), name)


class _Row:
    """One table of TOML, read key by key; a key of the wrong type is refused by name."""

    def __init__(self, name: str, table: object, source: str) -> None:
        self._name, self._source = name, source
        if not isinstance(table, dict):
            raise self._error(f"= {table!r} is not a table", f"begin it with [{name}]")
        self._table: dict[str, object] = table

    def read(self) -> Variable:
        known = [*_KEYS, "levels", "aliases", "map"]
        for key in self._table:
            if key not in known:
                raise self._error(f"has an unknown key {key!r}", did_you_mean(key, known))
        short = self._text("short_name", self._name)
        long_name = self._text("long_name", self._name.replace("_", " "))
        levels = self._text("levels")
        if levels not in _KINDS:
            raise self._error(f"levels = {levels!r}", 'write "single" or "pressure"')
        low, high = self._numbers("valid_range", 2)
        if not low < high:
            raise self._error(
                f"valid_range = {self._table['valid_range']} is reversed", "write [lowest, highest]"
            )
        units = self._text("units")
        code = self._numbers("discipline_category_number", 3) if self._has(_CODE) else None
        heights = self._numbers("height", 2) if self._has("height") else None
        usual = self._bounds("rms_range", positive=True)
        return Variable(
            name=self._name,
            short_name=short,
            long_name=long_name,
            standard_name=self._text("standard_name", ""),
            units=units,
            kind=_KINDS[levels],
            valid_range=(low, high),
            published=self._flag("published"),
            mirror_sign=self._sign(),
            partner=self._text("partner", "") or None,
            height=None if heights is None else (heights[0], heights[1]),
            aloft=self._text("aloft", "") or None,
            level_types=self._texts("level_types"),
            valid_range_at=self._bounds_at("valid_range_at"),
            range_by_level=self._choice("range_by_level", *_RULES),
            rms_range=usual,
            rms_range_at=self._bounds_at("rms_range_at", positive=True),
            floor=self._number("floor"),
            dialects=self._dialects(),
            param_id=self._integer("param_id"),
            discipline_category_number=None if code is None else (*map(int, code),),  # type: ignore[arg-type]
            ncep=self._ncep(),
            standard_names=self._texts("standard_names"),
            said_by=self._text("said_by", "") or None,
            denied_by=self._text("denied_by", "") or None,
            style=self._style(units),
            accepted_units=self._factors(),
            file_names=self._texts("file_names"),
            accumulated_hours=self._positive("accumulated_hours"),
            transform="log1p" if self._choice("transform", "log1p") else None,
            transform_scale=self._positive_number("transform_scale", 1.0),
            common_values=tuple(self._any_numbers("common_values")),
            missing="nearest" if self._choice("missing", "nearest") else None,
            forcing=self._flag("forcing"),
            may_repeat=self._flag("may_repeat"),
        )

    def _choice(self, key: str, *allowed: str) -> str | None:
        value = self._text(key, "") or None
        if value is not None and value not in allowed:
            raise self._error(f"{key} = {value!r}", did_you_mean(value, allowed))
        return value

    def _sign(self) -> Literal[1, -1]:
        sign = self._table.get("mirror_sign", 1)
        if sign not in (1, -1):
            raise self._error(f"mirror_sign = {sign!r}", "write 1 or -1")
        return -1 if sign == -1 else 1

    def _ncep(self) -> tuple[str, str] | None:
        ncep = self._texts("ncep")
        if len(ncep) not in (0, 2):
            raise self._error(f"ncep = {list(ncep)}", 'write name and level: ["TMP", "surface"]')
        return (ncep[0], ncep[1]) if ncep else None

    def _positive(self, key: str) -> int | None:
        value = self._integer(key)
        if value is not None and value < 1:
            raise self._error(f"{key} = {value}", "write a positive number, or leave it out")
        return value

    def _positive_number(self, key: str, default: float) -> float:
        value = self._number(key)
        if value is not None and not value > 0:
            raise self._error(f"{key} = {value:g}", "write a positive number, or leave it out")
        return default if value is None else value

    def _error(self, what: str, hint: str) -> InputError:
        return InputError(f"{self._source}: {self._name}: {what}", field="variables", hint=hint)

    def _has(self, key: str) -> bool:
        return key in self._table

    def _text(self, key: str, default: str | None = None) -> str:
        value = self._table.get(key, default)
        if value is None:
            raise self._error(f"{key} is missing", f'add {key} = "…"')
        if not isinstance(value, str):
            raise self._error(f"{key} = {value!r} is not a text", "put it between quotes")
        return value

    def _texts(self, key: str) -> tuple[str, ...]:
        value = self._table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._error(f"{key} = {value!r} is not a list of texts", 'write ["…", "…"]')
        return tuple(value)

    def _flag(self, key: str) -> bool:
        value = self._table.get(key, False)
        if not isinstance(value, bool):
            raise self._error(f"{key} = {value!r} is not true or false", f"write {key} = true")
        return value

    def _number(self, key: str) -> float | None:
        return self._numbers(key, 1)[0] if self._has(key) else None

    def _integer(self, key: str) -> int | None:
        value = self._number(key)
        if value is not None and value != int(value):
            raise self._error(f"{key} = {value:g} is not a whole number", "correct it")
        return None if value is None else int(value)

    def _numbers(self, key: str, count: int) -> list[float]:
        if not self._has(key):
            raise self._error(f"{key} is missing", f"add {key} = [{', '.join('…' * count)}]")
        value = self._table[key]
        return self._floats(value if count > 1 else [value], key, count)

    def _bounds(self, key: str, *, positive: bool = False) -> tuple[float, float] | None:
        """Read [lowest, highest]."""
        if not self._has(key):
            return None
        low, high = self._numbers(key, 2)
        return self._ordered(key, low, high, positive=positive)

    def _bounds_at(self, key: str, *, positive: bool = False) -> dict[int, tuple[float, float]]:
        """Read bounds by pressure level: [[level, lowest, highest], …]."""
        table = self._table.get(key, [])
        if not isinstance(table, list):
            raise self._error(f"{key} = {table!r}", "write [[level, lowest, highest], …]")
        rows = [self._floats(one, key, 3) for one in table]
        return {
            int(level): self._ordered(key, low, high, positive=positive)
            for level, low, high in rows
        }

    def _ordered(self, key: str, low: float, high: float, *, positive: bool) -> tuple[float, float]:
        if not low < high:
            raise self._error(f"{key} [{low:g}, {high:g}] are reversed", "exchange them")
        if positive and not low > 0:
            raise self._error(f"{key} [{low:g}, {high:g}]", "both numbers are positive")
        return low, high

    def _any_numbers(self, key: str) -> list[float]:
        given = self._table.get(key, [])
        return self._floats(given, key, len(given) if isinstance(given, list) else 1)

    def _factors(self) -> dict[str, float]:
        given = self._table.get("accepted_units", {})
        if not isinstance(given, dict):
            raise self._error(f"accepted_units = {given!r}", 'write { "mm" = 0.001 }')
        found = {unit: self._floats([one], "accepted_units", 1)[0] for unit, one in given.items()}
        for unit, factor in found.items():
            if not factor > 0:
                raise self._error(f"accepted_units: {unit} = {factor:g}", "a factor is positive")
        return found

    def _floats(self, value: object, key: str, count: int) -> list[float]:
        listed = value if isinstance(value, list) else []
        numbers = [float(one) for one in listed if type(one) in (int, float) and np.isfinite(one)]
        if len(numbers) != count or len(listed) != count:
            what = "a number" if count == 1 else f"a list of {count} numbers"
            raise self._error(f"{key} = {value!r} is not {what}", "correct it")
        return numbers

    def _dialects(self) -> dict[str, tuple[str, ...]]:
        given = self._table.get("aliases", {})
        if isinstance(given, list):
            given = {"other": given}
        if not isinstance(given, dict):
            raise self._error(f"aliases = {given!r}", 'write { grib = ["2d"], cmip = ["tdps"] }')
        return {
            dialect: _Row(f"{self._name}.aliases", {dialect: names}, self._source)._texts(dialect)
            for dialect, names in given.items()
        }

    def _style(self, units: str) -> Style:
        """Read how the variable is drawn; without it, in its own units."""
        row = _Row(f"{self._name}.map", self._table.get("map", {}), self._source)
        for key in row._table:
            if key not in _MAP_KEYS:
                raise row._error(f"has an unknown key {key!r}", did_you_mean(key, _MAP_KEYS))
        limits, limits_at = row._bounds("limits"), row._bounds_at("limits_at")
        scale = row._number("scale")
        if scale == 0.0:
            raise row._error("scale = 0 shows nothing", "write shown = stored · scale + offset")
        return Style(
            row._text("units", units),
            1.0 if scale is None else scale,
            row._number("offset") or 0.0,
            row._text("colours", "viridis"),
            limits,
            row._flag("symmetric"),
            row._number("isolines"),
            row._flag("from_zero"),
            row._text("label", "") or None,
            limits_at,
        )


_CODE: Final = "discipline_category_number"
_KEYS: Final = tuple(
    each.name for each in fields(Variable) if each.name not in ("name", "kind", "dialects", "style")
)
_MAP_KEYS: Final = tuple(each.name for each in fields(Style))


def to_document(row: Variable) -> dict[str, object]:
    """Return a row as :func:`read_rows` reads it, without what is left at its default.

    Returns
    -------
    dict
        JSON-serialisable values.

    Examples
    --------
    >>> from pear.variables import variable
    >>> from pear.variables.definition import to_document
    >>> row = to_document(variable("msl"))
    >>> row["levels"], read_rows({"mean_sea_level_pressure": row}, "x") == [variable("msl")]
    ('single', True)
    """
    found: dict[str, object] = {
        "levels": next(text for text, kind in _KINDS.items() if kind == row.kind)
    }
    for each in fields(Variable):
        value = getattr(row, each.name)
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if each.name in ("name", "kind", "dialects", "style") or value == default:
            continue
        found[each.name] = _listed(value) if each.name.endswith("_at") else _plain(value)
    if row.dialects:
        found["aliases"] = _plain(row.dialects)
    style = {
        each.name: _plain(value)
        for each in fields(Style)
        if each.name != "limits_at" and (value := getattr(row.style, each.name)) is not None
    }
    style["limits_at"] = _listed(row.style.limits_at)
    return found | {"map": style}


def _listed(bounds: Mapping[int, tuple[float, float]]) -> list[list[float]]:
    return [[level, *pair] for level, pair in bounds.items()]


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


def contradiction(old: Variable, new: Variable) -> str | None:
    """Return the first property of the values in which two rows of one name differ.

    Returns
    -------
    str or None
        Such as ``units "mm" and "m"``; None if values of both mean the same.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from pear.variables import variable
    >>> from pear.variables.definition import contradiction
    >>> contradiction(variable("msl"), replace(variable("msl"), units="hPa"))
    "units 'Pa' and 'hPa'"
    """
    for name in _PROPERTIES:
        one, other = getattr(old, name), getattr(new, name)
        if one != other:
            return f"{name} {one!r} and {other!r}"
    return None


_PROPERTIES: Final = (
    *("units", "kind", "mirror_sign", "partner", "accumulated_hours"),
    *("transform", "transform_scale", "forcing"),
)
