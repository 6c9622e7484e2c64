"""Variables of one's own: files of users, and definitions in stores and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pear.datasets.units import Quantity, conversion
from pear.errors import InputError
from pear.variables import BY_NAME, Layout, variable
from pear.variables.files import read_own
from pear.variables.own import DEFINITIONS, adopt_definitions, definitions, load_variables
from pear.variables.units import linear_conversion
from tests.fixtures.own_variables import SKIN, forgetting, write


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with forgetting():
        yield


def test_a_file_adds_a_variable(tmp_path: Path) -> None:
    load_variables(write(tmp_path))
    assert variable("tskin").units == "K"
    assert Layout(("skin_temperature",), (), ()).channels == (("skin_temperature", None),)
    assert BY_NAME.is_used("skin_temperature")
    assert Layout() == Layout.default()  # the published channels stay
    assert "skin_temperature" not in Layout.default().names
    load_variables(tmp_path / "mine.toml")  # twice is once


def test_a_file_names_variables_to_use(tmp_path: Path) -> None:
    assert not BY_NAME.is_used("total_precipitation_6hr")
    load_variables(write(tmp_path, 'use = ["tp"]'))
    assert BY_NAME.is_used("total_precipitation_6hr")
    with pytest.raises(InputError, match=r"mine\.toml: use: unknown variable 'tpp'"):
        load_variables(write(tmp_path, 'use = ["tpp"]'))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('units = "K"', 'units = "Kelvims"', "'Kelvims' is not a unit"),
        ('"tskin"', '"t2m"', "'t2m' means 2m_temperature already"),
        ('"skt"', '"2t"', "'2t' means 2m_temperature already"),
        ("[skin_temperature]", "[temperature]", "temperature is defined already, by PEAR"),
        ('units = "K"', 'units = "K"\npartner = "u10"', "partner = 'u10' is not a variable"),
        (
            'units = "K"',
            'units = "K"\npartner = "10m_u_component_of_wind"',
            "makes no vector",
        ),
        ('units = "K"', 'units = "K"\naloft = "temperatur"', "did you mean temperature?"),
        ('units = "K"', 'units = "K"\ntransform = "log1p"', "add floor = 0"),
        ('units = "K"', 'units = "K"\ntransform = "log"', "did you mean log1p?"),
        ('units = "K"', 'units = "K"\nsaid_by = "(skin"', "said_by: not a regular"),
        ("'skin temperature'", "'(skin'", "said_by is not a regular expression"),
        ("units", "unitz", "unknown key 'unitz'; did you mean units?"),
        ("[skin_temperature]", "[skin_temperature", "is not TOML"),
        ('"skt"', '"a b"', "'a b' is not a name"),
    ],
)
def test_a_faulty_file_adds_nothing(tmp_path: Path, old: str, new: str, message: str) -> None:
    if message == "said_by: not a regular":
        message = "is not TOML"  # the key stands twice
    before = dict(BY_NAME)
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        load_variables(write(tmp_path, SKIN.replace(old, new)))
    assert dict(BY_NAME) == before


def test_two_rows_of_a_file_share_no_name(tmp_path: Path) -> None:
    text = SKIN + SKIN.replace("skin_temperature", "soil_temperature").replace("skt", "stl")
    with pytest.raises(InputError, match="'tskin' means"):
        load_variables(write(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml cannot be read: No such file"):
        load_variables(tmp_path / "none.toml")


def test_definitions_travel(tmp_path: Path) -> None:
    load_variables(write(tmp_path))
    text = definitions(["skin_temperature", "temperature"])
    assert text is not None
    assert list(json.loads(text)) == ["skin_temperature"]


def test_definitions_are_adopted_and_contradictions_refused(tmp_path: Path) -> None:
    with forgetting():
        load_variables(write(tmp_path))
        row, text = BY_NAME["skin_temperature"], definitions(["skin_temperature"])
    assert "skin_temperature" not in BY_NAME
    adopt_definitions({DEFINITIONS: text}, "a.zarr")
    assert BY_NAME["skin_temperature"] == row
    assert not BY_NAME.is_used("skin_temperature")
    other = str(text).replace('"units": "K"', '"units": "degC"', 1)
    with pytest.raises(InputError, match=r"b\.zarr defines skin_.* otherwise than a\.zarr"):
        adopt_definitions({DEFINITIONS: other}, "b.zarr")
    with pytest.raises(InputError, match="is not JSON"):
        adopt_definitions({DEFINITIONS: "{"}, "c.zarr")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("published = true", "skin_temperature: published has no effect here: it marks"),
        ("transform_scale = 2", "transform_scale has no effect here: it is the scale of"),
        ('range_by_level = "height"', "range_by_level has no effect here"),
    ],
)
def test_a_setting_without_effect_is_refused(tmp_path: Path, line: str, message: str) -> None:
    text = SKIN.replace("levels =", f"{line}\nlevels =")
    with pytest.raises(InputError, match=message):
        read_own(write(tmp_path, text))


@pytest.mark.parametrize("text", ["deg C", "deg. C", "degrees C", "degree Celsius", "DEG_C"])
def test_spellings_of_degrees_are_temperatures(text: str) -> None:
    assert linear_conversion(text, "K") == (1.0, 273.15)
    assert linear_conversion("deg K", "K") == (1.0, 0.0)  # never the degree of an angle
    sst = conversion(Quantity("sea_surface_temperature"), text, "sst", "a.grib")
    assert (sst.factor, sst.offset) == (1.0, 273.15)
