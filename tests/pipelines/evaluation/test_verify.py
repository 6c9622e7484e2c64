"""The pass over the data: reads, parts, spectra and maps."""

from __future__ import annotations

import numpy as np
import pytest

from pear.metrics import score
from pear.sphere.healpix import angular_power
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pipelines.evaluation.accumulators import (
    EvaluationAccumulators,
    EvaluationDesign,
    merge_accumulators,
)
from pipelines.evaluation.distribute import with_baselines
from pipelines.evaluation.verify import TimeCache, verify
from tests.fixtures.evaluation import DAY, LAYOUT, NSIDE, TEST, Fading, weather

LEADS = DAY * np.arange(1, 4)
DESIGN = EvaluationDesign.build(LAYOUT, NSIDE, TEST[:57], LEADS, ("global", "tropics"))


@pytest.fixture(scope="module")
def whole(paths: tuple, climatology: Climatology) -> dict[str, EvaluationAccumulators]:
    forecasters = with_baselines(Fading(), climatology)
    return verify(DESIGN, forecasters, Analysis(paths[0], LAYOUT, NSIDE), climatology)


def test_each_analysis_time_is_read_once(analysis: Analysis, climatology: Climatology) -> None:
    reads: list[np.datetime64] = []
    read = analysis.read
    analysis.read = lambda time: (reads.append(time), read(time))[1]  # type: ignore[method-assign]
    verify(DESIGN, [Fading()], analysis, climatology)
    assert sorted(reads) == sorted(set(reads)) == list(TEST)


def test_a_cache_drops_the_oldest_time_and_what_is_behind() -> None:
    cache = TimeCache(lambda _: np.zeros(10, np.float32), limit_bytes=80)
    for time in (*TEST[:3], TEST[1]):
        cache(time)
    assert cache.reads == 3
    cache(TEST[0])
    assert cache.reads == 4
    cache.forget_before(TEST[5])
    cache(TEST[0])
    assert cache.reads == 5


def test_parts_merge_into_the_whole(
    analysis: Analysis, climatology: Climatology, whole: dict[str, EvaluationAccumulators]
) -> None:
    """Different workers take different init times; spectra and maps merge too."""
    first, *others = (
        verify(DESIGN, [Fading()], analysis, climatology, inits=part, batch=3)
        for part in (TEST[20:41], TEST[:20], TEST[41:57])
    )
    for other in others:
        first = dict(merge_accumulators(first, other))
    merged, want = first["pear"], whole["pear"]
    np.testing.assert_allclose(merged.scores.values, want.scores.values, rtol=1e-6)
    np.testing.assert_allclose(merged.maps.totals, want.maps.totals, rtol=1e-6)
    np.testing.assert_allclose(merged.spectra.totals, want.spectra.totals, rtol=1e-5)
    assert want.spectra.counts.tolist() == [12, 12], "days 1 and 3, twelve init times"
    assert want.maps.counts.tolist() == [57, 57]


def test_maps_and_spectra_agree_with_the_scores(whole: dict[str, EvaluationAccumulators]) -> None:
    z500 = ("geopotential", 500)
    k = DESIGN.plotted.index(z500)
    for table in whole.values():
        squared = table.maps.mean("squared_error")[1, k].mean()
        rmse = score(table.scores, "rmse")[2, LAYOUT.channels.index(z500), 0]
        assert np.sqrt(squared) == pytest.approx(rmse, rel=1e-6)
    chosen = np.isin(TEST, DESIGN.spectral_inits)
    fields = weather(TEST)[:, LAYOUT.channels.index(z500)]
    for name, days_on in (("forecast", 0), ("analysis", 3)):
        want = angular_power(fields[np.flatnonzero(chosen) + days_on]).mean(axis=0)
        found = whole["persistence"].spectra.mean(name)[1, k]
        np.testing.assert_allclose(found, want, rtol=1e-3)
