"""The public API: exports, import cost, and the five lines of the README."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

import pear
from pear import resources
from pipelines.ingestion.ingest import ingest

mpl.use("Agg")
INIT = "2006-11-01"


def run(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_fast_and_loads_no_other_package() -> None:
    code = """
    import sys, time
    start = time.perf_counter()
    import pear
    spent = time.perf_counter() - start
    print(spent, sorted({"torch", "numpy", "xarray", "zarr", "scipy"} & set(sys.modules)))
    """
    outputs = [run(code).split(" ", 1) for _ in range(3)]
    assert {loaded.strip() for _, loaded in outputs} == {"[]"}
    assert min(float(spent) for spent, _ in outputs) < 0.2


def test_every_export_resolves() -> None:
    for name in pear.__all__:
        assert getattr(pear, name) is not None
    assert set(pear.__all__) <= set(dir(pear))
    assert pear.rollout.rollout is not None
    with pytest.raises(AttributeError, match="'pear' has no attribute 'forecats'"):
        pear.forecats  # noqa: B018


def test_reading_loads_no_torch() -> None:
    code = """
    import sys, pear
    analysis = pear.sample_analysis()
    analysis["2m_temperature"].isel(time=0).load()
    pear.to_latlon(analysis.isel(time=[0])[["2m_temperature"]], step=10)
    analysis.pear.sel_point(60, 25)
    pear.open_analysis, pear.open_forecast, pear.open_climatology, pear.regrid
    print("torch" in sys.modules)
    """
    assert run(code).strip() == "False"


def test_accessor_is_registered_in_either_order_of_imports() -> None:
    for first, second in (("xarray", "pear"), ("pear", "xarray")):
        code = f"""
        import {first}, {second}
        import numpy as np, xarray as xr
        import pear
        pear.variable  # any name that loads xarray, or xarray before pear
        pear.regrid
        print(xr.Dataset({{"a": ("cell", np.zeros(48))}}).pear.nside)
        """
        assert run(code).strip() == "2"


def test_five_lines_of_a_notebook() -> None:
    model = pear.load_model("shipped", device="cpu")
    analysis = pear.sample_analysis()
    forecast = model.forecast(analysis, init=INIT, lead="5d")
    scores = pear.evaluate(forecast, analysis, climatology="shipped")
    axes = forecast.pear.plot("z500", lead="5d")
    assert dict(forecast.sizes) == {
        "time": 1,
        "prediction_timedelta": 6,
        "cell": 3072,
        "level": 13,
    }
    z500 = scores["geopotential"].sel(level=500, region="global")
    assert (z500.sel(metric="acc", forecaster="pear") > 0.8).all()
    day5 = z500.sel(metric="rmse").isel(prediction_timedelta=-1)
    assert day5.sel(forecaster="pear") < day5.sel(forecaster="persistence")
    assert day5.sel(forecaster="pear") < day5.sel(forecaster="climatology")
    assert "not centred" in scores.attrs["acc_definition"]
    assert axes.get_title().endswith("valid 2006-11-06 00:00 UTC")


def foreign(path: Path) -> Path:
    """Write the shipped analyses as another centre might: names, units, axes and order."""
    (file,) = resources.path("sample").glob("*.nc")
    with xr.open_dataset(file, decode_timedelta=False) as data:
        few = data.isel(valid_time=slice(0, 3)).load()
    few = few.rename(
        t2m="tas", msl="psl", u10="uas", v10="vas", z="zg", q="hus", t="ta", u="ua", v="va"
    ).rename(valid_time="time", pressure_level="plev", latitude="lat", longitude="lon")
    few["tas"] = (few["tas"] - 273.15).assign_attrs(units="degC")
    few["zg"] = (few["zg"] / 9.80665).assign_attrs(units="m")
    few["hus"] = (few["hus"] * 1000).assign_attrs(units="g kg-1")
    few["psl"] = (few["psl"] / 100).assign_attrs(units="hPa")
    few = few.assign_coords(
        plev=("plev", few["plev"].values * 100, {"units": "Pa"}),
        lon=((few["lon"].values + 180) % 360 - 180),
    )
    few = few.isel(lat=slice(None, None, -1)).sortby("lon").transpose("lon", "plev", "time", "lat")
    few.encoding.clear()
    few.to_netcdf(path)
    return path


@pytest.mark.slow
def test_a_script_with_a_foreign_netcdf_file(tmp_path: Path) -> None:
    path = foreign(tmp_path / "other_centre.nc")
    script = f"""
    import numpy as np, xarray as xr
    import pear

    era5 = xr.open_dataset({str(path)!r})
    assert era5["lon"].min() < 0 and era5["lat"][0] < era5["lat"][-1]
    model = pear.load_model("shipped", device="cpu")
    forecast = model.forecast(era5, init="2006-11-01T00:00Z", lead="48h")
    scores = pear.evaluate(forecast, era5, climatology="shipped", metrics=["rmse"])
    assert np.isfinite(scores["geopotential"].sel(forecaster="pear")).all()

    same = model.forecast(pear.sample_analysis(), init="2006-11-01", lead="2d")
    for name in same.data_vars:
        scale = float(same[name].std())
        assert abs(forecast[name] - same[name]).max() < 2e-3 * scale, name
    forecast.pear.to_netcdf({str(tmp_path / "forecast.nc")!r})
    print("done")
    """
    assert run(script).strip() == "done"


def test_real_era5_is_regridded_as_ingested(shared: Path, tmp_path: Path) -> None:
    file = shared / "data" / "multilevel" / "era5_tz_1deg_20070101.nc"
    ingest([file], tmp_path / "era5.zarr", 16)
    stored = pear.open_analysis(tmp_path / "era5.zarr")
    with xr.open_dataset(file) as data:
        cells = pear.regrid(data, nside=16).load()
    assert list(cells.data_vars) == list(stored.data_vars)
    for name in stored.data_vars:
        assert np.array_equal(cells[name].values, stored[name].values)
