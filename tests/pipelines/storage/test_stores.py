"""The store contract: what is written is what every tool reads, and only whole times are seen."""

from __future__ import annotations

import json
from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr
import xdggs

from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.store.reader import describe, open_store
from pear.store.schema import open_group
from pear.variables import Layout
from pipelines.storage import staging
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.atomic import writer_lock
from pipelines.storage.check import check_store
from pipelines.storage.forecast_writer import ForecastWriter

NSIDE = 8
CELLS = 12 * NSIDE**2
T0 = np.datetime64("2001-01-01T00", "s")
H6 = np.timedelta64(6, "h")
LAYOUT = Layout(
    surface=("2m_temperature",), upper=("geopotential", "temperature"), levels=(850, 500)
)


def fields(times: int, layout: Layout = LAYOUT) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(times)
    surface = rng.normal(size=(times, len(layout.surface), CELLS)).astype("f4")
    upper = rng.normal(size=(times, len(layout.upper), len(layout.levels), CELLS)).astype("f4")
    return surface, upper


def write(path: Path, times: int = 6, shard_times: int = 4) -> tuple[np.ndarray, np.ndarray]:
    surface, upper = fields(times)
    with AnalysisWriter(path, LAYOUT, NSIDE, shard_times=shard_times) as writer:
        writer.append(T0 + np.arange(times) * H6, surface, upper)
    return surface, upper


def test_analysis_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    surface, upper = write(path)
    data = open_store(path)
    assert data["time"].values.tolist() == (T0 + np.arange(6) * H6).tolist()
    assert np.array_equal(data["2m_temperature"], surface[:, 0])
    got = data["temperature"].sel(level=[850, 500])
    assert np.array_equal(got, upper[:, 1])
    assert data["level"].values.tolist() == [500, 850]  # one order in every store
    assert set(data.data_vars) == set(LAYOUT.names)


def test_appending_over_a_shard_boundary_gives_the_bytes_of_one_run(tmp_path: Path) -> None:
    surface, upper = fields(10)
    times = T0 + np.arange(10) * H6
    for name, cuts in {"whole": [10], "parts": [3, 5, 9, 10]}.items():
        start = 0
        for end in cuts:
            with AnalysisWriter(tmp_path / name, LAYOUT, NSIDE, shard_times=4) as writer:
                writer.append(times[start:end], surface[start:end], upper[start:end])
            start = end
    with AnalysisWriter(tmp_path / "one writer", LAYOUT, NSIDE, shard_times=4) as writer:
        for t in range(10):
            writer.append(times[t], surface[t : t + 1], upper[t : t + 1])
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "one writer")


def test_a_writer_may_use_its_own_order_and_fewer_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path, times=2)
    other = Layout((), ("temperature", "geopotential"), (500,))
    _, upper = fields(1, other)
    with AnalysisWriter(path, other, NSIDE) as writer:
        writer.append(T0 + 2 * H6, np.zeros((1, 0, CELLS)), upper)
    data = open_store(path).isel(time=2)
    assert np.array_equal(data["temperature"].sel(level=500), upper[0, 0, 0])
    assert np.array_equal(data["geopotential"].sel(level=500), upper[0, 1, 0])
    assert np.isnan(data["temperature"].sel(level=850)).all()
    missing = {hole["field"] for hole in describe(path)["completeness"]["missing"]}
    assert missing == {"2m_temperature", "temperature@850", "geopotential@850"}


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_xdggs_and_healpy_read_the_cell_of_stockholm(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    surface, _ = write(path)
    cell = healpy.ang2pix(NSIDE, 18.1, 59.3, nest=True, lonlat=True)
    want = float(surface[2, 0, cell])
    for convention in ("xdggs", "cf", "zarr"):
        raw = xr.open_zarr(path, decode_timedelta=True)
        name = {"cf": "cell", "zarr": "cell_ids", "xdggs": "cell_ids"}[convention]
        dataset = xdggs.decode(raw, convention=convention, name=name)
        assert dataset.dggs.grid_info.level == 3
        assert dataset.dggs.grid_info.indexing_scheme == "nested"
        found = dataset["2m_temperature"].isel(time=2).dggs.sel_latlon([59.3], [18.1])
        assert float(found.squeeze()) == want
        np.testing.assert_allclose(
            dataset.dggs.cell_centers()["latitude"].values, centres(NSIDE)[0], atol=1e-9
        )


def test_attributes_are_those_of_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path)
    group = open_group(path)
    assert dict(group["cell"].attrs) == {"standard_name": "healpix_index", "units": "1"}
    assert dict(group["cell_ids"].attrs) == {
        "grid_name": "healpix",
        "level": 3,
        "indexing_scheme": "nested",
    }
    assert dict(group["crs"].attrs) == {
        "grid_mapping_name": "healpix",
        "refinement_level": 3,
        "indexing_scheme": "nested",
    }
    assert group["crs"].dtype == np.int32
    assert group["time"].dtype == np.int64
    assert group["time"].attrs["units"] == "seconds since 1970-01-01"
    assert dict(group["level"].attrs) == {
        "standard_name": "air_pressure",
        "units": "hPa",
        "positive": "down",
    }
    t2m = dict(group["2m_temperature"].attrs)
    assert t2m["units"] == "K"
    assert t2m["grid_mapping"] == "crs"
    assert json.loads(t2m["ek_grid_spec"]) == {"grid": "H8", "order": "nested"}
    assert dict(group.attrs)["Conventions"] == "CF-1.13"


def test_coarser_levels_are_means_and_open_on_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    surface, upper = fields(6)
    for cut in (slice(0, 3), slice(3, 6)):
        with AnalysisWriter(path, LAYOUT, NSIDE, shard_times=4, overviews=(4, 2)) as writer:
            writer.append((T0 + np.arange(6) * H6)[cut], surface[cut], upper[cut])
    for nside in (4, 2):
        data = open_store(path, nside=nside)
        want = upper[:, 1].reshape(6, 2, 12 * nside**2, -1).mean(-1)
        np.testing.assert_allclose(data["temperature"].sel(level=[850, 500]), want, atol=1e-6)
        raw = xr.open_zarr(path, group=f"nside{nside}")
        assert xdggs.decode(raw).dggs.grid_info.nside == nside
    assert describe(path)["grid"]["coarser"] == [4, 2]
    with pytest.raises(InputError, match="has no overview at nside 1"):
        open_store(path, nside=1)
    extra = Layout(("10m_u_component_of_wind",), (), ())
    with AnalysisWriter(path, extra, NSIDE) as writer:
        writer.append(T0 + 6 * H6, surface[:1], np.zeros((1, 0, 0, CELLS)))
    got = open_store(path, nside=2)["10m_u_component_of_wind"].isel(time=6)
    np.testing.assert_allclose(got, surface[0, 0].reshape(48, -1).mean(-1), atol=1e-6)


def test_coarser_levels_of_a_forecast(tmp_path: Path) -> None:
    path = tmp_path / "f.zarr"
    surface, upper = fields(2)
    writer = ForecastWriter(path, LAYOUT, NSIDE, T0, np.arange(2) * H6, overviews=(4, 2))
    for index in range(2):
        writer.write_step(index, surface[index], upper[index])
    writer.publish()
    for nside in (4, 2):
        data = open_store(path, nside=nside).isel(time=0)
        want = upper[:, 1].reshape(2, 2, 12 * nside**2, -1).mean(-1)
        np.testing.assert_allclose(data["temperature"].sel(level=[850, 500]), want, atol=1e-6)
        assert xdggs.decode(xr.open_zarr(path, group=f"nside{nside}")).dggs.grid_info.nside == nside
    assert describe(path)["grid"]["coarser"] == [4, 2]
    assert check_store(path).is_healthy


@pytest.mark.parametrize("coarser", [(8,), (3,), (0,), (16,)])
def test_a_level_that_is_not_coarser_is_refused(tmp_path: Path, coarser: tuple[int]) -> None:
    with (
        pytest.raises(InputError, match="is not a power of two below"),
        AnalysisWriter(tmp_path / "a.zarr", LAYOUT, NSIDE, overviews=coarser),
    ):
        pass
    assert not list(tmp_path.glob("*.zarr"))


def test_times_must_follow(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path)
    before = contents(path)
    surface, upper = fields(1)
    for time in (T0, T0 + 5 * H6):
        with (
            pytest.raises(InputError, match="does not follow"),
            AnalysisWriter(path, LAYOUT, NSIDE) as writer,
        ):
            writer.append(time, surface, upper)
    assert contents(path) == before


def test_a_state_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    surface, upper = fields(1)
    upper[0, 0, 0, 5] = np.inf
    with (
        pytest.raises(InputError, match="2001-01-01T00:00:00Z is not finite"),
        AnalysisWriter(tmp_path / "a.zarr", LAYOUT, NSIDE) as writer,
    ):
        writer.append(T0, surface, upper)
    assert not (tmp_path / "a.zarr").exists()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path)
    with (
        writer_lock(path),
        pytest.raises(InputError, match="another process is writing"),
        AnalysisWriter(path, LAYOUT, NSIDE),
    ):
        pass


@pytest.mark.parametrize(
    ("layout", "nside", "word"),
    [
        (Layout.default(), NSIDE, "no level"),
        (LAYOUT, 16, "nside 8, not an analysis at nside 16"),
    ],
)
def test_an_existing_store_must_agree(
    tmp_path: Path, layout: Layout, nside: int, word: str
) -> None:
    write(tmp_path / "a.zarr")
    with (
        pytest.raises(InputError, match=word),
        AnalysisWriter(tmp_path / "a.zarr", layout, nside),
    ):
        pass


def test_until_the_commit_a_reader_sees_the_old_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    write(path)
    surface, upper = fields(3)
    before = contents(path)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(staging, "commit", dies)
        with AnalysisWriter(path, LAYOUT, NSIDE) as writer:
            writer.append(T0 + np.arange(6, 9) * H6, surface, upper)
    assert contents(path) == before
    assert xr.open_zarr(path, consolidated=False).sizes["time"] == 6
    with AnalysisWriter(path, LAYOUT, NSIDE) as writer:
        writer.append(T0 + np.arange(6, 9) * H6, surface, upper)
    data = open_store(path)
    assert data.sizes["time"] == 9
    assert np.array_equal(data["temperature"].sel(level=850)[6:], upper[:, 1, 0])


def test_bit_rot_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path)
    chunk = path / "2m_temperature" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0x10
    chunk.write_bytes(bytes(data))
    with pytest.raises(Exception, match=r"(?i)checksum|crc"):
        open_store(path)["2m_temperature"].load()


def test_description(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    surface, upper = fields(4)
    with AnalysisWriter(path, LAYOUT, NSIDE) as writer:
        writer.append(T0 + np.array([0, 1, 2, 5]) * H6, surface, upper)
    told = describe(path)
    assert told["grid"]["nside"] == 8
    assert told["times"]["count"] == 4
    assert told["times"]["step_hours"] == 6
    assert told["times"]["gaps"] == [
        {"after": "2001-01-01T12:00:00Z", "before": "2001-01-02T06:00:00Z", "missing": 2}
    ]
    assert told["levels"] == [850, 500]
    assert told["variables"]["geopotential"]["units"] == "m2 s-2"
    assert told["completeness"]["complete"] is True
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "foreign"])
def test_what_is_no_store_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.zarr"
    if kind == "empty":
        path.mkdir()
    elif kind == "text":
        path.write_text("hello")
    elif kind == "foreign":
        xr.Dataset({"a": ("x", np.zeros(3))}).to_zarr(path, consolidated=False)
    with pytest.raises(InputError, match=r"no store at|not a store"):
        open_store(path)


def test_forecast_round_trip_and_resumption(tmp_path: Path) -> None:
    path = tmp_path / "f.zarr"
    surface, upper = fields(5)
    leads = np.arange(5) * H6

    def writer() -> ForecastWriter:
        return ForecastWriter(path, LAYOUT, NSIDE, T0, leads, {"title": "a run"})

    first = writer()
    for index in (0, 1, 2):
        first.write_step(index, surface[index], upper[index])
    with pytest.raises(InputError, match="lacks 2 of 5 steps"):
        first.publish()
    again = writer()
    assert again.steps_done() == [0, 1, 2]
    assert np.array_equal(again.read_step(2)[1], upper[2])
    for index in (3, 4):
        again.write_step(index, surface[index], upper[index])
    assert not path.exists()
    again.publish()
    assert [p.name for p in tmp_path.iterdir()] == ["f.zarr"]
    data = open_store(path)
    assert data["temperature"].dims == ("time", "prediction_timedelta", "level", "cell")
    assert np.array_equal(data["temperature"].sel(level=[850, 500])[0], upper[:, 1])
    assert data["prediction_timedelta"].values.tolist() == leads.astype("m8[s]").tolist()
    assert data.attrs["title"] == "a run"
    third = writer()
    assert third.steps_done() == [0, 1, 2, 3, 4]
    assert np.array_equal(third.read_step(4)[1], upper[4])
    assert describe(path)["lead_hours"] == [0, 6, 12, 18, 24]


def test_another_run_does_not_take_over_old_steps(tmp_path: Path) -> None:
    surface, upper = fields(1)
    first = ForecastWriter(tmp_path / "f.zarr", LAYOUT, NSIDE, T0, [H6])
    first.write_step(0, surface[0], upper[0])
    other = ForecastWriter(tmp_path / "f.zarr", LAYOUT, NSIDE, T0 + H6, [H6])
    assert other.steps_done() == []


@pytest.mark.parametrize("fault", ["index", "shape", "nan"])
def test_a_bad_step_is_refused(tmp_path: Path, fault: str) -> None:
    surface, upper = fields(1)
    writer = ForecastWriter(tmp_path / "f.zarr", LAYOUT, NSIDE, T0, [H6])
    index, s, u = 0, surface[0], upper[0]
    if fault == "index":
        index = 1
    elif fault == "shape":
        u = u[:, :1]
    else:
        s[0, 0] = np.nan
    with pytest.raises(InputError):
        writer.write_step(index, s, u)
    assert writer.steps_done() == []
