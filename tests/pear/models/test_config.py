"""Settings: what is built, what is refused and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pear.errors import InputError
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.variables import LEVELS, Layout
from tests.fixtures.models import TINY, WINDY, tiny

WINDS = Layout(WINDY.surface[:2], WINDY.upper, LEVELS)
CALM = Layout(("2m_temperature",), ("temperature",), LEVELS)


def parameters(config: PearConfig) -> int:
    return sum(p.numel() for p in Pear(config).parameters())


@pytest.mark.parametrize("nside", [32, 64])
def test_published_parameter_count(nside: int) -> None:
    model = Pear(PearConfig.published(nside=nside))
    assert sum(p.numel() for p in model.parameters()) == 4_279_881
    bias = [p.numel() for name, p in model.named_parameters() if name.endswith("bias.table")]
    assert sum(bias) == 2_752_512


def test_c4h_has_half_of_the_published_parameters() -> None:
    config = PearConfig.published(
        symmetry="c4h", shift="ring_rotation", joined_windows=False, padding="top"
    )
    assert 2.13e6 < parameters(config) < 2.15e6


def test_our_own_is_at_least_as_large_as_the_published() -> None:
    assert parameters(PearConfig.base()) >= 4_279_881
    for config in (PearConfig.base(), PearConfig.small()):
        widths = [config.width(stage) // heads for stage, heads in enumerate(config.heads)]
        assert all(24 <= width <= 32 for width in widths)


@pytest.mark.parametrize(
    "config",
    [
        PearConfig.published(),
        PearConfig.small(),
        PearConfig.base(wind="face"),
        tiny(symmetry="c4h", layout=WINDY, wind="gauge"),
        tiny(mixing=("stencil", "attention", "full_stencil", "stencil+attention")),
        tiny(mixing=("spectral", "spectral+attention", "full_spectral", "attention")),
    ],
)
def test_there_and_back_through_json(config: PearConfig) -> None:
    assert PearConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("levels", "upper_depths", "padded"), [(1, 1, 1), (2, 1, 0), (3, 3, 3), (5, 3, 1), (13, 7, 1)]
)
def test_levels_fill_an_odd_number_of_pairs(levels: int, upper_depths: int, padded: int) -> None:
    config = tiny(layout=Layout(TINY.surface, TINY.upper, LEVELS[:levels]))
    assert (config.upper_depths, config.padded_levels) == (upper_depths, padded)
    assert config.grid.depths % 2 == 0


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"nside": 4}, r"nside 4 is too coarse for patches of 16 cells.*use nside ≥ 8"),
        ({"nside": 48}, "nside must be a power of 2, got 48"),
        ({"nside": 0}, "nside must be a positive integer"),
        ({"patch": 8}, "patch must be a power of 4, got 8"),
        ({"window": 32}, "window must be a power of 4, got 32"),
        ({"heads": (2, 3, 2, 2)}, r"heads\[1\] = 3 does not divide the 32 features"),
        ({"heads": (2, 2, 2)}, "heads must be 4 integers"),
        ({"depths": (2, 2, -1, 2)}, "depths must be 4 integers"),
        ({"shift": "ring_rol"}, "did you mean ring_roll"),
        ({"symmetry": "c4"}, "did you mean c4h"),
        ({"wind": "faces"}, "wind 'faces' is unknown; did you mean face"),
        ({"wind": "face"}, "10m_v_component_of_wind has no 10m_u_component_of_wind; add"),
        ({"wind": "gauge", "layout": WINDS}, "needs a surface variable that is not a wind"),
        ({"wind": "face", "layout": CALM}, "needs a wind in the layout, which has none"),
        ({"wind": "face", "layout": WINDY, "mirror": "unsigned"}, "use mirror 'signed'"),
        ({"padding": "both"}, "padding 'both' is unknown"),
        ({"mixing": "stencils"}, "mixing 'stencils' is unknown; did you mean stencil"),
        (
            {"mixing": ("stencil", "attention")},
            r"a name or 4 of them, got .*known names: attention",
        ),
        ({"mixing": ["stencil", "attention", "stencil", 1]}, "mixing 1 is unknown"),
        (
            {"mixing": "spectral+attention", "nside": 256, "patch": 4},
            "nside 32 at most; nside 256 in patches of 4 cells gives nside 128.*larger patches",
        ),
        ({"mixing": None}, "a name or 4 of them, got None"),
        ({"forcings": ("orografy",)}, "did you mean orography"),
        ({"forcings": ("orography", "orography")}, "repeats an entry"),
        ({"symmetry": "c4h", "shift": "ring_roll"}, "use ring_rotation"),
        ({"symmetry": "c4h", "joined_windows": True}, "windows inside base pixels"),
        ({"symmetry": "c4h", "heads": (1, 2, 2, 2)}, "must be even"),
        ({"layout": Layout(TINY.surface, (), LEVELS)}, "at least one entry in upper"),
        ({"layout": Layout(TINY.surface, TINY.upper, ())}, "at least one entry in levels"),
    ],
)
def test_bad_settings_name_the_rule(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        tiny(**changes)


def test_unknown_setting() -> None:
    with pytest.raises(InputError, match=r"unknown model setting 'embedd'.*did you mean embed"):
        PearConfig.from_dict({"embedd": 48})
