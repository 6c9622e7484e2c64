"""Forecasters of other packages in a data folder: added, forecast with, verified, checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.sphere.symmetry import C4H, IDENTITY
from pipelines.catalog import Catalog, Run
from pipelines.catalog.installed_models import FILE, add_installed, open_installed
from pipelines.catalog.scan import refresh
from pipelines.evaluation.check import check_path
from pipelines.forecasting.ensemble import open_without_symmetries
from pipelines.forecasting.request import resolve_request
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import LAYOUT, START, perform
from tests.fixtures.other_models import install


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", monkeypatch)


def submit(data: DataFolder, catalog: Catalog, lead: int, **options: object) -> Run:
    request = resolve_request(data, catalog, START, lead, model="warming", options=options)
    return request.submit(catalog)[0]


def test_it_is_listed_forecasts_and_says_what_it_is(data: DataFolder, catalog: Catalog) -> None:
    model = add_installed(data, catalog, "warming")
    assert add_installed(data, catalog, "warming").id == model.id
    assert (model.name, model.nside, model.step_hours) == ("warming", 4, 24)
    run = submit(data, catalog, 48)
    fields = perform(data, catalog, run)
    warmth = fields["2m_temperature"][0]
    np.testing.assert_allclose(warmth[2], warmth[0] + 2, atol=1e-4)
    assert check_path(data.root / model.path).is_healthy
    data.catalog.unlink()
    other = Catalog(data.catalog_url)
    refresh(data, other)
    assert "warming" in {each.name for each in other.models.all()}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"members": 3}, "no statistics by which noise is scaled"),
        ({"symmetrise": True}, "no symmetries of the grid"),
    ],
)
def test_what_only_pear_has_is_refused_at_once(
    options: dict[str, object], words: str, data: DataFolder, catalog: Catalog
) -> None:
    add_installed(data, catalog, "warming")
    with pytest.raises(InputError, match=words):
        submit(data, catalog, 24, **options)


def test_another_version_and_a_changed_file_are_named(
    data: DataFolder, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data.root / add_installed(data, catalog, "warming").path
    install(tmp_path / "site", monkeypatch, version="1.1")
    with pytest.raises(InputError, match=r"warm-models 1\.0, and warm-models 1\.1 is installed"):
        open_installed(folder)
    (folder / FILE).write_text((folder / FILE).read_text().replace('"nside": 4', '"nside": 8'))
    with pytest.raises(InputError, match="is damaged: its digest is"):
        open_installed(folder)
    assert not check_path(folder).is_healthy


def test_evaluations_open_it_and_refuse_symmetries(data: DataFolder, catalog: Catalog) -> None:
    folder = data.root / add_installed(data, catalog, "warming").path
    found = open_without_symmetries(folder, "cpu", (IDENTITY,))
    assert (found.name, found.layout) == ("warming", LAYOUT)
    with pytest.raises(InputError, match="no symmetries of the grid"):
        open_without_symmetries(folder, "cpu", C4H)
