"""Analysis stores: what is written is read back, and only committed times are visible."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import xdggs

from pear.errors import InputError
from pear.store.reader import describe, open_store, read_completeness
from pear.variables import Layout
from pipelines.storage import staging
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.atomic import writer_lock
from pipelines.storage.check import check_store

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


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_values_are_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    surface, upper = write(path)
    data = open_store(path)
    assert data["time"].values.tolist() == (T0 + np.arange(6) * H6).tolist()
    assert np.array_equal(data["2m_temperature"], surface[:, 0])
    got = data["temperature"].sel(level=[850, 500])
    assert np.array_equal(got, upper[:, 1])
    assert data["level"].values.tolist() == [500, 850]  # one order in every store
    assert set(data.data_vars) == set(LAYOUT.names)


def test_appends_write_the_same_bytes_as_one_append(tmp_path: Path) -> None:
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


def test_a_writer_may_have_another_order_and_fewer_channels(tmp_path: Path) -> None:
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


def test_overviews_are_means_and_open_like_stores(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("coarser", [(8,), (3,), (0,), (16,)])
def test_an_overview_that_is_not_coarser_is_refused(tmp_path: Path, coarser: tuple[int]) -> None:
    with (
        pytest.raises(InputError, match="is not a power of two below"),
        AnalysisWriter(tmp_path / "a.zarr", LAYOUT, NSIDE, overviews=coarser),
    ):
        pass
    assert not list(tmp_path.glob("*.zarr"))


def test_times_must_increase(tmp_path: Path) -> None:
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
def test_an_existing_store_must_fit(tmp_path: Path, layout: Layout, nside: int, word: str) -> None:
    write(tmp_path / "a.zarr")
    with (
        pytest.raises(InputError, match=word),
        AnalysisWriter(tmp_path / "a.zarr", layout, nside),
    ):
        pass


def test_readers_see_the_old_times_until_the_commit(
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


def test_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path)
    chunk = path / "2m_temperature" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0x10
    chunk.write_bytes(bytes(data))
    with pytest.raises(Exception, match=r"(?i)checksum|crc"):
        open_store(path)["2m_temperature"].load()


def temperatures(times: int) -> np.ndarray:
    """(time, level, cell) in the order of stores, within the valid range."""
    random = np.random.default_rng(5)
    return random.uniform(250, 280, size=(times, 2, CELLS)).astype("f4")


def test_missing_fields_of_a_transaction_are_flagged(tmp_path: Path) -> None:
    path, values = tmp_path / "a.zarr", temperatures(3)
    values[1, 0] = np.nan
    values[2, 1, 5] = np.nan
    with AnalysisWriter(path, LAYOUT, NSIDE) as writer:
        with writer.transaction(T0 + np.arange(3) * H6) as changes:
            changes.write("temperature", values)
            assert not path.exists(), "a new store appears with its first times"
        assert writer.times.size == 3
        assert path.exists()
    _, flags, names = read_completeness(path)
    found = flags[:, [names.index("temperature@500"), names.index("temperature@850")]]
    assert found.tolist() == [[1, 1], [0, 1], [1, 0]]
    assert not flags[:, names.index("2m_temperature")].any()
    np.testing.assert_array_equal(open_store(path)["temperature"], values)


def test_a_transaction_fills_fields_that_were_missing(tmp_path: Path) -> None:
    """Fields of committed times come from other processes, through the staging folder."""
    path, values = tmp_path / "a.zarr", temperatures(6)
    gap = values.copy()
    gap[1] = np.nan
    with AnalysisWriter(path, LAYOUT, NSIDE, shard_times=4) as writer:
        with writer.transaction(T0 + np.arange(6) * H6) as changes:
            changes.write("temperature", gap)
        array = staging.staged_array(writer.path, writer.staging, "temperature", 1, 2)
        array[1:2] = values[1:2]
        assert np.isnan(open_store(path)["temperature"][1]).all()
        with writer.transaction() as changes:
            changes.mark("temperature", 1, np.array([[True, True]]))
    _, flags, names = read_completeness(path)
    assert flags[:, names.index("temperature@500")].tolist() == [1] * 6
    np.testing.assert_array_equal(open_store(path)["temperature"], values)


def test_an_exception_discards_the_changes_of_its_transaction(tmp_path: Path) -> None:
    path, values = tmp_path / "a.zarr", temperatures(4)
    with AnalysisWriter(path, LAYOUT, NSIDE) as writer:
        with suppress(ZeroDivisionError), writer.transaction(T0 + np.arange(3) * H6) as changes:
            changes.write("temperature", values[1:])
            raise ZeroDivisionError
        assert not path.exists()
        with writer.transaction([T0]) as changes:
            changes.write("geopotential", values[:1])
        with writer.transaction(T0 + np.arange(1, 3) * H6) as changes:
            changes.write("geopotential", values[1:3])
    data = open_store(path)
    assert data.sizes["time"] == 3
    assert np.isnan(data["temperature"]).all()
    np.testing.assert_array_equal(data["geopotential"], values[:3])


def test_a_new_variable_is_missing_at_the_times_before(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path, times=3)
    before = open_store(path).load()
    extra = Layout(("mean_sea_level_pressure",), (), ())
    with AnalysisWriter(path, extra, NSIDE) as writer:
        assert "mean_sea_level_pressure" not in open_store(path)
        writer.append([T0 + 3 * H6], np.full((1, 1, CELLS), 1e5), np.zeros((1, 0, 0, CELLS)))
    data = open_store(path)
    assert np.isnan(data["mean_sea_level_pressure"][:3]).all()
    assert (data["mean_sea_level_pressure"][3] == 1e5).all()
    for name in before.data_vars:
        np.testing.assert_array_equal(data[name][:3], before[name])
    assert [finding.kind for finding in check_store(path).findings if finding.kind != "field"] == []


def test_a_transaction_without_changes_writes_nothing(tmp_path: Path) -> None:
    with AnalysisWriter(tmp_path / "new.zarr", LAYOUT, NSIDE):
        pass
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "a.zarr")
    before = contents(tmp_path)
    with AnalysisWriter(tmp_path / "a.zarr", LAYOUT, NSIDE) as writer, writer.transaction():
        pass
    assert contents(tmp_path) == before
