"""Initial conditions of a data folder."""

from __future__ import annotations

from service.readers.initial_conditions import _find_missing


def test_a_variable_missing_at_every_level_is_named_once() -> None:
    wanted = ["t2m", "z@500", "z@850", "q@500", "q@850"]
    assert _find_missing(wanted, set(wanted)) == ()
    assert _find_missing(wanted, {"t2m", "z@500"}) == ("z@850", "q")
    assert _find_missing(wanted, {"z@500", "z@850", "q@500", "q@850"}) == ("t2m",)
