"""Statistics of winds that any frame keeps."""

from __future__ import annotations

import pytest
import torch

from pear.errors import InputError
from pear.models.wind_statistics import check_isotropic, isotropic
from pear.variables import Layout
from tests.fixtures.models import TINY, WINDY, normaliser


def test_components_share_a_deviation_and_have_no_mean() -> None:
    given = normaliser(WINDY, odd_means=True)
    found = isotropic(given)
    check_isotropic(found)
    u, v = (WINDY.upper.index(f"{name}_component_of_wind") for name in "uv")
    square = given.upper_std[[u, v]] ** 2 + given.upper_mean[[u, v]] ** 2
    for channel in (u, v):
        torch.testing.assert_close(found.upper_std[channel], square.mean(0).sqrt())
        step = (given.upper_step_std[[u, v]] ** 2).mean(0).sqrt()
        torch.testing.assert_close(found.upper_step_std[channel], step)
        assert not found.upper_mean[channel].any()
    other = WINDY.upper.index("temperature")
    for name in ("upper_mean", "upper_std", "upper_step_std"):
        assert torch.equal(getattr(found, name)[other], getattr(given, name)[other])


@pytest.mark.parametrize("name", ["surface_mean", "surface_std", "upper_step_std"])
def test_statistics_of_one_frame_are_refused(name: str) -> None:
    found = isotropic(normaliser(WINDY))
    getattr(found, name)[0] += 1
    with pytest.raises(InputError, match="whose winds leave geographic frames needs"):
        check_isotropic(found)


def test_layouts_without_both_components_have_nothing_to_check() -> None:
    check_isotropic(normaliser(TINY))
    check_isotropic(normaliser(Layout(("2m_temperature",), (), ())))
