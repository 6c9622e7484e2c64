"""Reading the stores of finished forecasts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pear.derived import derive
from pear.errors import InputError
from pear.sphere.healpix import coarsen
from pear.variables import Layout
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.http.caching import RunCache
from service.http.errors import ProblemError
from service.readers.comparisons import FieldAt, read_analysis, read_other_run
from service.readers.forecasts import ForecastReader, ForecastStore, statistics_of
from service.readers.resample import pack_u16, resample
from tests.fixtures.service import INIT, LEADS, NSIDE, synthetic_field


@pytest.fixture
def cache() -> RunCache:
    return RunCache()


@pytest.fixture
def reader(data: DataFolder, cache: RunCache) -> ForecastReader:
    return ForecastReader(data.forecast, cache, 10**6)


@pytest.fixture
def store(reader: ForecastReader, run_id: str) -> ForecastStore:
    return reader.store(run_id)


def test_a_store_knows_its_axes(store: ForecastStore) -> None:
    assert store.init_time == INIT
    assert store.lead_hours == LEADS
    assert store.valid_times[1] == INIT + np.timedelta64(48, "h")
    assert (store.nside, set(store.names)) == (NSIDE, set(Layout.default().names))


@pytest.mark.parametrize(
    ("text", "level", "expected"),
    [
        ("t2m", None, ("2m_temperature", None)),
        ("z500", None, ("geopotential", 500)),
        ("z", 850, ("geopotential", 850)),
        ("z500", 500, ("geopotential", 500)),
    ],
)
def test_select(
    store: ForecastStore, text: str, level: int | None, expected: tuple[str, int | None]
) -> None:
    variable, at = store.select(text, level)
    assert (variable.name, at) == expected


@pytest.mark.parametrize(
    ("text", "level", "field", "words"),
    [
        ("z500", 850, "level", "names level 500, not 850"),
        ("z", None, "level", "needs a level"),
        ("z", 510, "level", "not available at 510 hPa"),
        ("t2m", 850, "level", "surface variable"),
        ("t2n", None, None, "t2m"),
    ],
)
def test_select_refuses(
    store: ForecastStore, text: str, level: int | None, field: str | None, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        store.select(text, level)
    assert field in (None, caught.value.field)


def test_fields_are_exact_read_only_and_cached(
    reader: ForecastReader, cache: RunCache, run_id: str
) -> None:
    field = reader.field(run_id, "temperature", 850, 48)
    np.testing.assert_array_equal(field, synthetic_field("temperature", 850, 48))
    assert not field.flags.writeable
    assert reader.field(run_id, "temperature", 850, 48) is field
    cache.drop(run_id)
    assert reader.field(run_id, "temperature", 850, 48) is not field


def test_dropping_a_run_drops_its_statistics_too(
    reader: ForecastReader, cache: RunCache, run_id: str
) -> None:
    spread = reader.store(f"{run_id}.spread")
    assert reader.store(f"{run_id}.spread") is spread
    cache.drop(run_id)
    assert reader.store(f"{run_id}.spread") is not spread


def test_a_missing_store_is_unavailable(reader: ForecastReader) -> None:
    with pytest.raises(ProblemError) as caught:
        reader.store("nothing")
    assert caught.value.status == 503
    assert caught.value.headers["Retry-After"]


def test_missing_values_are_never_served(
    data: DataFolder, run_id: str, store: ForecastStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = store.dataset["2m_temperature"] * np.nan
    monkeypatch.setattr(
        ForecastStore,
        "open",
        lambda run, _: ForecastStore(
            run,
            store.dataset.assign({"2m_temperature": damaged}),
            *(store.init_time, store.lead_hours, store.levels, store.names, store.nside),
        ),
    )
    reader = ForecastReader(lambda _: Path(), RunCache(), 10**6)
    with pytest.raises(ProblemError, match="values are missing") as caught:
        reader.field(run_id, "2m_temperature", None, 24)
    assert caught.value.status == 503


def test_resample() -> None:
    field = synthetic_field("2m_temperature", None, 24)
    assert resample(field, None) is field
    assert resample(field, NSIDE) is field
    np.testing.assert_allclose(resample(field, 2), coarsen(field, 2), rtol=1e-6)
    assert resample(field, 16).shape == (12 * 16**2,)
    for nside in (0, 3, 128):
        with pytest.raises(InputError, match=f"nside {nside}"):
            resample(field, nside)


@pytest.mark.parametrize("spread", [0.0, 1e-3, 50.0])
def test_packing_errs_by_half_a_step(spread: float) -> None:
    field = (280 + spread * np.random.default_rng(0).normal(size=768)).astype(np.float32)
    packed, scale, offset = pack_u16(field)
    assert packed.dtype == np.uint16
    error = np.abs(offset + scale * packed.astype(float) - field.astype(float))
    assert error.max() <= 0.5001 * scale
    field[3] = np.nan
    packed, *_ = pack_u16(field)
    assert np.flatnonzero(packed == 65_535).tolist() == [3]


def test_statistics_of_an_ensemble(data: DataFolder, run_id: str) -> None:
    assert statistics_of(data, run_id) == ["p00", "spread"]
    assert statistics_of(data, "nothing") == []


def test_the_verifying_analysis_has_the_valid_time_and_grid(
    data: DataFolder, catalog: Catalog, run_id: str
) -> None:
    run = catalog.runs.get(run_id)
    valid = INIT + np.timedelta64(48, "h")
    field = read_analysis(data, run, FieldAt("temperature", 850, valid, NSIDE))
    np.testing.assert_array_equal(field, synthetic_field("temperature", 850, 48))
    coarse = read_analysis(data, run, FieldAt("2m_temperature", None, valid, 2))
    assert coarse.shape == (48,)
    late = FieldAt("2m_temperature", None, INIT + np.timedelta64(240, "h"), NSIDE)
    with pytest.raises(InputError, match="2001-03-11"):
        read_analysis(data, run, late)
    with pytest.raises(InputError, match="coarser than the forecast"):
        read_analysis(data, run, FieldAt("2m_temperature", None, valid, 16))


def test_another_run_is_read_at_the_same_valid_time(
    reader: ForecastReader, store: ForecastStore, catalog: Catalog
) -> None:
    before = catalog.runs.page(init_time=INIT - np.timedelta64(1, "D")).items[0]
    other = reader.store(before.id)
    wanted = FieldAt("2m_temperature", None, store.valid_times[0], NSIDE)
    field = read_other_run(reader, other, wanted)
    np.testing.assert_array_equal(field, synthetic_field("2m_temperature", None, 48))
    with pytest.raises(InputError, match="has no forecast for 2001-03-11"):
        read_other_run(reader, other, FieldAt("2m_temperature", None, store.valid_times[-1], NSIDE))
    with pytest.raises(InputError, match="nside 8, not 4"):
        read_other_run(reader, other, FieldAt("2m_temperature", None, store.valid_times[0], 4))


def test_derived_fields_are_those_of_the_library(
    reader: ForecastReader, store: ForecastStore
) -> None:
    data = store.dataset.isel(time=0, prediction_timedelta=1)
    for text in ("ws10", "r700", "vo850", "thickness_1000_500"):
        row, level = store.select(text, None)
        found = reader.field(store.run, row.name, level, LEADS[1])
        expected = derive(data, text).values
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
        assert store.units(row.name) == row.units
        coarse = reader.display_field(store.run, row.name, level, LEADS[1], NSIDE // 2)
        assert coarse.shape == (3 * NSIDE**2,)


def test_what_a_run_cannot_derive_is_named(store: ForecastStore) -> None:
    with pytest.raises(InputError, match=r"needs 2m_dewpoint_temperature, which run"):
        store.select("2m_relative_humidity", None)
    with pytest.raises(InputError, match="thickness_1000_10 needs 10 hPa"):
        store.select("thickness_1000_10", None)
    with pytest.raises(InputError, match="vorticity needs a level"):
        store.select("vorticity", None)


def test_a_statistic_has_no_derived_fields(store: ForecastStore) -> None:
    spread = replace(store, dataset=store.dataset.assign_attrs(pear_statistic="spread"))
    with pytest.raises(InputError, match="is a statistic of each component"):
        spread.select("r700", None)
