"""Maps of variables that only the store of a run defines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.variables import BY_NAME
from pear.variables.own import definitions, load_variables
from service.maps.render import MapOptions, MapTitle, render_map
from tests.fixtures.own_variables import forgetting, write


def test_a_process_that_has_not_opened_the_store_draws_its_variables(tmp_path: Path) -> None:
    with forgetting():
        load_variables(write(tmp_path))
        defined = definitions(["skin_temperature"])
    values = np.linspace(250.0, 300.0, 48).astype("f4")
    title = MapTitle("PEAR", np.datetime64("2001-01-01", "s"), 24)
    with forgetting():
        with pytest.raises(InputError, match="unknown variable 'skin_temperature'"):
            render_map(values, "skin_temperature", title, options=MapOptions(width=300))
        options = MapOptions(width=300, defined=defined)
        assert render_map(values, "skin_temperature", title, options=options)[:4] == b"\x89PNG"
        assert BY_NAME["skin_temperature"].style.units == "°C"
