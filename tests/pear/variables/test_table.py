"""The table of variables and the owner of channel order."""

from __future__ import annotations

import pickle
import re

import pytest

from pear.errors import InputError
from pear.plotting.styles import COLOUR_MAPS
from pear.variables import BY_NAME, LEVELS, VARIABLES, Layout, parse_field, variable
from pear.variables.definition import read_rows


def test_published_layout_is_the_papers() -> None:
    assert [BY_NAME[n].short_name for n in Layout.default().surface] == ["msl", "u10", "v10", "t2m"]
    assert [BY_NAME[n].short_name for n in Layout.default().upper] == ["z", "q", "t", "u", "v"]
    assert Layout.default().levels == LEVELS
    assert LEVELS[0] == 1000
    assert LEVELS[-1] == 50
    assert len(Layout.default().channels) == 69
    assert Layout.default().channels[4] == ("geopotential", 1000)


def test_only_northward_winds_change_sign_under_the_mirror() -> None:
    odd = {v.short_name for v in VARIABLES if v.mirror_sign == -1}
    assert odd == {"v10", "v", "100v"}
    assert Layout.default().mirror_signs("surface") == (1, 1, -1, 1)
    assert Layout.default().mirror_signs("upper") == (1, 1, 1, 1, -1)


def test_no_alias_has_two_meanings() -> None:
    seen: dict[str, str] = {}
    for v in VARIABLES:
        for word in (v.name, v.short_name, *v.aliases):
            assert seen.setdefault(word, v.name) == v.name, word


@pytest.mark.parametrize(
    ("text", "name", "level"),
    [
        ("z500", "geopotential", 500),
        ("t_850", "temperature", 850),
        ("temperature:850", "temperature", 850),
        ("u10", "10m_u_component_of_wind", None),
        ("10u", "10m_u_component_of_wind", None),
        ("u100", "u_component_of_wind", 100),
        ("2m_temperature", "2m_temperature", None),
        ("t2m", "2m_temperature", None),
        ("q 1000hPa", "specific_humidity", 1000),
    ],
)
def test_fields_are_read_from_text(text: str, name: str, level: int | None) -> None:
    found, got = parse_field(text)
    assert (found.name, got) == (name, level)


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(InputError, match="did you mean 2m_temperature"):
        variable("2m_temprature")
    with pytest.raises(InputError, match="surface variable and has no level"):
        parse_field("msl500")


def test_layout_refuses_what_it_does_not_know() -> None:
    with pytest.raises(InputError, match="not a surface variable"):
        Layout(surface=("geopotential",))
    with pytest.raises(InputError, match="repeats"):
        Layout(levels=(500, 500))


def test_input_errors_survive_a_worker_process() -> None:
    error = InputError("bad 'x'", field="variable", hint="say y")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (str(back), back.field, back.hint) == ("bad 'x'; say y", "variable", "say y")


def test_every_row_of_the_table_can_be_drawn_and_read() -> None:
    for row in VARIABLES:
        assert row.style.colours in COLOUR_MAPS, row.name
        assert row.aloft is None or BY_NAME[row.aloft].kind == "upper"
        if row.partner is not None:
            other = BY_NAME[row.partner]
            assert (other.partner, other.kind) == (row.name, row.kind)
            assert other.mirror_sign == -row.mirror_sign
        for words in filter(None, (row.said_by, row.denied_by)):
            re.compile(words)
        assert row.style.limits or row.kind == "upper" or row.style.limits_at, row.name


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"valid_range": [300, 200]}, "is reversed"),
        ({"valid_range": [1]}, "a list of 2 numbers"),
        ({"valid_range": [1, float("nan")]}, "a list of 2 numbers"),
        ({"levels": "surface"}, 'write "single" or "pressure"'),
        ({"unit": "K"}, "unknown key 'unit'; did you mean units?"),
        ({"units": None}, "units is missing"),
        ({"units": 5}, "units = 5 is not a text"),
        ({"mirror_sign": 0}, "mirror_sign = 0"),
        ({"aliases": {"grib": "2d"}}, "is not a list of texts"),
        ({"map": {"colour": "viridis"}}, "did you mean colours?"),
        ({"map": {"limits": [2, 1]}}, r"limits \[2, 1\] are reversed"),
        ({"map": {"scale": 0}}, "scale = 0 shows nothing"),
        ({"param_id": 1.5}, "1.5 is not a whole number"),
        ({"range_by_level": "hight"}, "did you mean height?"),
    ],
)
def test_a_faulty_row_is_named(changed: dict[str, object], message: str) -> None:
    row = {"units": "K", "levels": "single", "valid_range": [200, 300]} | changed
    given = {key: value for key, value in row.items() if value is not None}
    with pytest.raises(InputError, match=f"mine.toml: skin_temperature.*{message}"):
        read_rows({"skin_temperature": given}, "mine.toml")
