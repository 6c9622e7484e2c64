"""Values between the steps of a run."""

from __future__ import annotations

import numpy as np
import pytest

from service.readers.timeline import Timeline

RAIN = "total_precipitation_6hr"


def test_the_native_timeline_changes_nothing() -> None:
    line = Timeline.choose((6, 12, 24), "native")
    values = np.array([[1.0], [2.0], [4.0]])
    assert line.interpolate("2m_temperature", values) is values
    assert not line.is_interpolated


def test_instants_are_linear_and_exact_at_the_steps_of_the_model() -> None:
    line = Timeline.choose((6, 12, 24), "hourly_3")
    assert line.leads == (6, 9, 12, 15, 18, 21, 24)
    values = np.array([[280.1], [290.3], [286.7]])
    found = line.interpolate("2m_temperature", values)
    np.testing.assert_array_equal(found[[0, 2, 6]], values)
    np.testing.assert_allclose(found[[1, 4], 0], [285.2, 288.5])


def test_sums_are_shared_out_over_their_hours() -> None:
    line = Timeline.choose((6, 12), "hourly")
    found = line.interpolate(RAIN, np.array([[0.006], [0.018]]))[:, 0]
    np.testing.assert_allclose(found, [0.001, *[0.003] * 6])
    coarse = Timeline.choose((6, 12, 18), "hourly_3")
    found = coarse.interpolate(RAIN, np.array([[0.006], [0.018], [0.0]]))[:, 0]
    np.testing.assert_allclose(found, [0.003, 0.009, 0.009, 0.0, 0.0])


def test_hours_that_no_sum_covers_are_missing() -> None:
    # Steps of 24 h with sums over the last six: nothing is known of the other eighteen.
    line = Timeline.choose((24, 48), "hourly")
    found = line.interpolate(RAIN, np.array([[0.006], [0.012]]))[:, 0]
    np.testing.assert_allclose(found[0], 0.001)
    assert np.isnan(found[1:19]).all()
    np.testing.assert_allclose(found[19:], 0.002)
    six = Timeline.choose((24, 48), "hourly_6").interpolate(RAIN, np.array([[0.006], [0.012]]))
    np.testing.assert_array_equal(six[:, 0], [0.006, np.nan, np.nan, np.nan, 0.012])


def test_one_lead_time_has_nothing_to_interpolate() -> None:
    line = Timeline.choose((24,), "hourly")
    assert line.leads == (24,)
    assert line.interpolate("2m_temperature", np.array([[280.0]])).tolist() == [[280.0]]


@pytest.mark.parametrize(
    ("name", "level", "said"),
    [
        ("2m_temperature", None, "linear in time"),
        (
            "10m_wind_speed",
            None,
            "10m_u_component_of_wind and 10m_v_component_of_wind, each linear",
        ),
        ("vorticity", 850, "linear in time"),
        (RAIN, None, "shared out evenly"),
    ],
)
def test_the_label_says_how_values_are_made(name: str, level: int | None, said: str) -> None:
    line = Timeline.choose((6, 12), "hourly")
    label = line.describe([("shown", name, level)])
    assert said in label["method"]["shown"]
    assert label["is_interpolated"] == [False, True, True, True, True, True, False]
