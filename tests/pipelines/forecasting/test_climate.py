"""Refusal of states of another climate, and of symmetries that a model does not keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pear.errors import InputError
from pear.models.climate import OTHER_CLIMATE
from pear.store import metadata
from pear.store.reader import open_store
from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from pipelines.forecasting.request import resolve_request
from pipelines.storage.data_folder import DataFolder
from service.readers.nature import nature_of
from tests.fixtures.engine import (
    START,
    make_data_folder,
    normaliser,
    perform,
    tiny_model,
)


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    """Observed analyses, and a model that was trained on simulated ones."""
    from pear.models import checkpoint

    folder = make_data_folder(tmp_path / "data")
    provenance = {"simulated": True, "training": {"augmentation": "none"}}
    hidden = folder.root / "models" / ".saving"
    made = checkpoint.save(hidden, tiny_model(seed=8), normaliser(), provenance)
    hidden.rename(folder.model(made.id))
    return folder


@pytest.fixture
def model(data: DataFolder) -> str:
    with Catalog(data.catalog) as catalog:
        refresh(data, catalog)
        (found,) = (
            each.id
            for each in catalog.models.all()
            if (each.attributes["provenance"] or {}).get("simulated")
        )
    return found


def test_observations_are_refused_unless_they_are_allowed(data: DataFolder, model: str) -> None:
    with Catalog(data.catalog) as catalog:
        with pytest.raises(InputError, match="simulated atmosphere, and the state is observed"):
            resolve_request(data, catalog, START, 24, model=model)
        options = {"allow_other_climate": True}
        request = resolve_request(data, catalog, START, 24, model=model, options=options)
        run, _ = request.submit(catalog)
        perform(data, catalog, run)
    with open_store(data.forecast(run.id)) as forecast:
        assert "observed" in forecast.attrs[OTHER_CLIMATE]


def test_simulated_states_pass(data: DataFolder, model: str) -> None:
    root = data.analysis("demo") / "zarr.json"
    document = json.loads(root.read_text())
    document["attributes"]["simulated"] = "true"
    metadata.sign(document)
    root.write_text(json.dumps(document))
    with Catalog(data.catalog) as catalog:
        run = resolve_request(data, catalog, START, 24, model=model).submit(catalog)[0]
        perform(data, catalog, run)
    with open_store(data.forecast(run.id)) as forecast:
        assert OTHER_CLIMATE not in forecast.attrs


def test_a_model_that_does_not_say_its_climate_forecasts_anything(data: DataFolder) -> None:
    with Catalog(data.catalog) as catalog:
        other = next(
            each.id
            for each in catalog.models.all() or (refresh(data, catalog), catalog.models.all())[1]
            if not (each.attributes["provenance"] or {}).get("simulated")
        )
        assert resolve_request(data, catalog, START, 24, model=other).model.id == other


@pytest.mark.parametrize(
    "options",
    [{"symmetrise": True}, {"ensemble": "symmetry"}, {"ensemble": "augmented"}],
)
def test_symmetries_that_a_model_neither_keeps_nor_learnt_are_refused(
    data: DataFolder, model: str, options: dict[str, object]
) -> None:
    options = {"allow_other_climate": True, **options}
    with Catalog(data.catalog) as catalog:
        refresh(data, catalog)
        if options.get("ensemble") == "augmented":
            options["models"] = [each.id for each in catalog.models.all() if each.id != model]
    with (
        Catalog(data.catalog) as catalog,
        pytest.raises(InputError, match="does not keep the mirror"),
    ):
        resolve_request(data, catalog, START, 24, model=model, options=options)


def test_pages_and_pictures_say_that_the_climate_is_another(data: DataFolder, model: str) -> None:
    with Catalog(data.catalog) as catalog:
        options = {"allow_other_climate": True}
        request = resolve_request(data, catalog, START, 24, model=model, options=options)
        run, _ = request.submit(catalog)
        assert not nature_of(data, run).climate
        perform(data, catalog, run)
    assert "outside the model's training climate" in nature_of(data, run).words
