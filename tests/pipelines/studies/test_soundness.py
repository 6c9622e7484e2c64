"""Numbers of a state that a sound forecast keeps."""

from __future__ import annotations

import numpy as np
import pytest

from pear.derived.formulas import GAS_CONSTANT
from pear.variables import Layout
from pipelines.studies.soundness import Fields, describe

LEVELS = (850, 500)
LAYOUT = Layout(
    ("mean_sea_level_pressure", "2m_temperature"),
    (
        "geopotential",
        "temperature",
        "specific_humidity",
        "u_component_of_wind",
        "v_component_of_wind",
    ),
    LEVELS,
)


def state(**changes: object) -> Fields:
    """A balanced state without structure, on 192 cells."""
    values = {
        ("mean_sea_level_pressure", None): 101_000.0,
        ("2m_temperature", None): 287.0,
        ("geopotential", 850): 14_000.0,
        ("temperature", 850): 280.0,
        ("temperature", 500): 250.0,
        ("specific_humidity", 850): 0.01,
        ("specific_humidity", 500): 0.002,
        ("u_component_of_wind", 850): 3.0,
        ("u_component_of_wind", 500): 3.0,
        ("v_component_of_wind", 850): 4.0,
        ("v_component_of_wind", 500): 4.0,
    }
    virtual = np.mean([280 * (1 + 0.6078 * 0.01), 250 * (1 + 0.6078 * 0.002)])
    values["geopotential", 500] = 14_000 + GAS_CONSTANT * virtual * np.log(850 / 500)
    cells = {channel: np.full(192, value) for channel, value in values.items()}
    for name, change in changes.items():
        variable, _, level = name.partition("__")
        channel = (variable, int(level) if level else None)
        cells[channel] = cells[channel] + np.asarray(change)
    return Fields(np.stack([cells[channel] for channel in LAYOUT.channels]), LAYOUT)


def test_a_balanced_state() -> None:
    found = describe(state(), patch=4)
    assert found["mean_t2m"] == 287.0
    assert found["mean_t850"] == 280.0
    assert found["negative_humidity"] == 0.0
    assert found["kinetic_energy"] == pytest.approx(12.5)
    assert found["hydrostatic"] == pytest.approx(0.0, abs=0.1)
    # 1010 hPa less the mean humidity of .006 over 350 hPa.
    assert found["dry_mass"] == pytest.approx(1010 - 0.006 * 350)
    assert "imprint" not in found  # no jumps at all


def test_each_number_sees_its_fault() -> None:
    assert describe(state(geopotential__500=100.0), 4)["hydrostatic"] == pytest.approx(100, abs=0.1)
    assert describe(state(mean_sea_level_pressure=-600.0), 4)["dry_mass"] == pytest.approx(1001.9)
    dry = np.where(np.arange(192) < 48, -0.02, 0.0)
    assert describe(state(specific_humidity__850=dry), 4)["negative_humidity"] == 0.125
    assert describe(state(u_component_of_wind__850=1.0), 4)["kinetic_energy"] > 13


def test_the_print_of_the_patches_is_seen() -> None:
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=192)
    patches = 3.0 * np.repeat(rng.normal(size=48), 4)
    none = describe(state(geopotential__500=smooth), 4)["imprint"]
    some = describe(state(geopotential__500=smooth + patches), 4)["imprint"]
    assert none == pytest.approx(1.0, abs=0.15)
    assert some > 2
    assert "imprint" not in describe(state(geopotential__500=smooth), 1)  # a network without any
