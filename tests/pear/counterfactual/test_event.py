"""Events as text: what is read, and one-line errors that name what is wrong."""

from __future__ import annotations

import pytest

from pear.counterfactual.event import Event, Threshold, parse_event
from pear.errors import InputError

T2M, T = "2m_temperature", "temperature"


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (
            "t2m>305 at 59.3,18.1 day 3",
            Event("point", Threshold(True, 305), T2M, None, (59.3, 18.1), lead_hours=72),
        ),
        ("t850 < -2sd at 10S,20W", Event("point", Threshold(False, -2, True), T, 850, (-10, -20))),
        (
            "temperature:850>300 at 1,2 hour 36",
            Event("point", Threshold(True, 300), T, 850, (1, 2), lead_hours=36),
        ),
        (
            "mean:t850@45..60N,0..40E>+2sd",
            Event("mean", Threshold(True, 2, True), T, 850, region="box:45:60:0:40"),
        ),
        (
            "mean:t2m@-30..-10,170E..170W<280",
            Event("mean", Threshold(False, 280), T2M, region="box:-30:-10:170:-170"),
        ),
        (
            "mean:temperature@850@europe>+1.5sd",
            Event("mean", Threshold(True, 1.5, True), T, 850, region="europe"),
        ),
        (
            "wind:10m@60..45N,0..40E>12",
            Event("wind", Threshold(True, 12), region="box:45:60:0:40"),
        ),
        ("wind:850hPa>30 at 1,2", Event("wind", Threshold(True, 30), level=850, point=(1, 2))),
        ("pressure:<970 at 59,18", Event("pressure", Threshold(False, 970), point=(59, 18))),
        (
            "pressure:@north_atlantic<960 day 2",
            Event("pressure", Threshold(False, 960), region="north_atlantic", lead_hours=48),
        ),
        (
            "blocking:10W day 5",
            Event("blocking", Threshold(True, 0), longitude=-10, lead_hours=120),
        ),
        ("blocking:0>5", Event("blocking", Threshold(True, 5), longitude=0)),
    ],
)
def test_events_are_read_and_written(text: str, event: Event) -> None:
    assert parse_event(text) == event
    assert parse_event(event.text) == event
    assert event.units in event.description or event.threshold.deviations


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "has no condition"),
        ("t2m", "has no condition"),
        ("t2m>1<2 at 1,2", "has no condition"),
        ("t2m>305", "lacks its place"),
        ("mean:t2m>305", "lacks its place"),
        ("t2m>warm at 1,2", "has the value 'warm'"),
        ("t2m>nan at 1,2", "has the value 'nan'"),
        ("t2m>2sd at 1,2", "has the value '2sd'"),
        ("t2m>305 at 91,2", "has the latitude 91, outside ±90"),
        ("t2m>305 at 59", "is at '59'"),
        ("t2m>305 at 59E,3", "has the latitude '59E'"),
        ("t2m>305 at -59S,3", "has the latitude '-59S'"),
        ("t>305 at 1,2", "without a level"),
        ("t2n>305 at 1,2", "has a wrong field"),
        ("ws850>20 at 1,2", "is of wind_speed, which is derived: .* wind:850>20 for a wind speed"),
        ("mean:relative_humidity@700@europe>90", "is of relative_humidity, which is derived"),
        ("heat:t2m>305 at 1,2", "is of unknown kind 'heat'"),
        ("mean:t850>1 at 1,2", "is a mean without a region"),
        ("mean:t850@europe>1 at 1,2", "has a region and a point"),
        ("mean:t850@60..60N,1..2E>1", "which has no area"),
        ("mean:t850@somewhere>1", "has the region 'somewhere'"),
        ("wind:t2m>3 at 1,2", "has wind at 't2m'"),
        ("pressure:t2m<3 at 1,2", "names 't2m'"),
        ("blocking:10N", "has the longitude '10N'"),
        ("blocking:200", "has the longitude 200, outside ±180"),
        ("blocking:10>0 at 1,2", "is a blocking"),
        ("t2m>305 at 1,2 day 0", "is at 0 h"),
        ("t2m>305 at 1,2 day 1.3", "is at 31.2 h"),
        ("t2m>305 at 1,2 days 3", "has a lead time that is not"),
        ("t2m>305 day 3 at 1,2", "has a lead time that is not"),
        ("t2m>305 at 1,2" + " " * 200, "has more than 128 letters"),
    ],
)
def test_what_is_wrong_is_named(text: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as error:
        parse_event(text)
    assert "\n" not in str(error.value)


def test_the_lead_time_is_a_step_of_the_forecast() -> None:
    event = parse_event("t2m>305 at 1,2 day 3")
    assert event.lead(240, 24) == 72
    assert parse_event("t2m>305 at 1,2").lead(240, 24) == 240
    for longest, step in ((48, 24), (240, 48)):
        with pytest.raises(InputError, match="at 72 h, which is not a step of the forecast"):
            event.lead(longest, step)
