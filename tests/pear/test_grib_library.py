"""ecCodes beside PROJ: maps are drawn after xarray has imported cfgrib."""

from __future__ import annotations

import subprocess
import sys

import pytest

_MAPS_AFTER_A_STORE = """
import pear
analysis = pear.sample_analysis()
import sys
assert "eccodes" in sys.modules
import pyproj, cartopy.crs
assert pyproj.CRS.from_epsg(4326).name == "WGS 84"
"""


@pytest.mark.slow
def test_maps_after_xarray_has_imported_cfgrib() -> None:
    pytest.importorskip("cfgrib")
    pytest.importorskip("pyproj")
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", _MAPS_AFTER_A_STORE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
