"""The table of variables and the owner of channel order."""

from __future__ import annotations

import pickle

import pytest

from pear.errors import InputError
from pear.variables import BY_NAME, LEVELS, VARIABLES, Layout, parse_field, variable


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
    assert odd == {"v10", "v"}
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
