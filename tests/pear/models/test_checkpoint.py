"""A checkpoint: complete, verified, replaced as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.diagnostics import mirror_symmetric
from pear.models.pangu import Pangu, PanguConfig
from pear.models.wind_statistics import isotropic
from pear.normaliser import Normaliser
from tests.fixtures.models import TINY, WINDY, built, fields, normaliser, tiny

PROVENANCE = {"data": "somewhere", "period": ["2000-01-01", "2001-01-01"], "score": 0.5}


@pytest.mark.parametrize(
    "changes",
    [
        {"symmetry": "r"},
        {"symmetry": "c4h"},
        {"mixing": "stencil"},
        {"mixing": ("full_stencil", "stencil", "stencil+attention", "attention")},
        {"mixing": ("spectral", "full_spectral", "spectral+attention", "attention")},
    ],
    ids=["r", "c4h", "stencil", "mixed", "spectral"],
)
def test_there_and_back(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = tiny(**changes)
    model, statistics = built(config), normaliser(TINY)
    model.set_step_scale(statistics)
    written = checkpoint.save(tmp_path / "model", model, statistics, PROVENANCE)
    read = checkpoint.load(tmp_path / "model")
    assert read.config == config
    assert read.provenance == PROVENANCE
    assert (read.id, read.sha256) == (written.id, written.sha256)
    assert read.id == read.sha256[:12]
    assert not read.model.training
    for name, value in statistics.state_dict().items():
        torch.testing.assert_close(read.normaliser.state_dict()[name], value, rtol=0, atol=0)
    x = fields(config)
    for got, want in zip(read.model(*x), model(*x), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)
    time = np.datetime64("2001-05-06")
    torch.testing.assert_close(read.model.forcing(time), model.forcing(time))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


@pytest.mark.parametrize("wind", ["face", "gauge"])
def test_winds_in_other_frames_there_and_back(tmp_path: Path, wind: str) -> None:
    config, statistics = tiny(layout=WINDY, wind=wind), normaliser(WINDY)
    model = built(config)
    with pytest.raises(InputError, match="mean 0 for 10m_u_component_of_wind and"):
        checkpoint.save(tmp_path / "model", model, statistics, {})
    checkpoint.save(tmp_path / "model", model, isotropic(statistics), {})
    read = checkpoint.load(tmp_path / "model")
    assert read.config == config
    x = fields(config)
    for got, want in zip(read.model(*x), model(*x), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_float16_halves_the_file_and_keeps_statistics(tmp_path: Path) -> None:
    model, statistics = built(tiny()), normaliser(TINY)
    checkpoint.save(tmp_path / "full", model, statistics, {})
    half = checkpoint.save(tmp_path / "half", model, statistics, {}, storage="float16")
    sizes = [(tmp_path / name / checkpoint.TENSORS).stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]
    torch.testing.assert_close(half.normaliser.upper_mean, statistics.upper_mean, rtol=0, atol=0)
    weights, original = half.model.state_dict(), model.state_dict()
    assert all(weights[name].dtype == torch.float32 for name in weights)
    for name in weights:
        torch.testing.assert_close(weights[name], original[name], rtol=1e-3, atol=1e-4)


def test_the_writer_keeps_its_model(tmp_path: Path) -> None:
    model = built(tiny()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    checkpoint.save(tmp_path / "m", model, normaliser(TINY), {}, storage="float16")
    assert model.training
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_id_changes_with_weights_settings_and_provenance(tmp_path: Path) -> None:
    statistics = normaliser(TINY)
    ids = {
        checkpoint.save(tmp_path / "a", built(tiny()), statistics, {}).id,
        checkpoint.save(tmp_path / "a", built(tiny(), seed=1), statistics, {}).id,
        checkpoint.save(tmp_path / "a", built(tiny(step_hours=12)), statistics, {}).id,
        checkpoint.save(tmp_path / "a", built(tiny()), statistics, {"a": 1}).id,
        checkpoint.save(tmp_path / "a", built(tiny()), normaliser(TINY, seed=1), {}).id,
    }
    assert len(ids) == 5
    assert checkpoint.save(tmp_path / "b", built(tiny()), statistics, {}).id in ids


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "model", built(tiny()), normaliser(TINY), PROVENANCE)
    return tmp_path / "model"


@pytest.mark.parametrize("name", [checkpoint.TENSORS, checkpoint.DOCUMENT])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        checkpoint.load(folder)


def test_a_flipped_byte(folder: Path) -> None:
    payload = bytearray((folder / checkpoint.TENSORS).read_bytes())
    payload[-5] ^= 1
    (folder / checkpoint.TENSORS).write_bytes(payload)
    with pytest.raises(InputError, match="changed after it was written"):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("provenance", {"data": "elsewhere"}, "changed after"),
        ("kind", "bear", "does not describe a PEAR checkpoint"),
        ("format", 99, "format 99, this version reads 1"),
    ],
)
def test_a_changed_document(folder: Path, key: str, value: object, rule: str) -> None:
    document = json.loads((folder / checkpoint.DOCUMENT).read_text())
    document[key] = value
    (folder / checkpoint.DOCUMENT).write_text(json.dumps(document))
    with pytest.raises(InputError, match=rule):
        checkpoint.load(folder)


def test_a_broken_document(folder: Path) -> None:
    (folder / checkpoint.DOCUMENT).write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        checkpoint.load(folder)


def test_what_is_not_finite_is_refused_and_the_old_stays(folder: Path) -> None:
    before = (folder / checkpoint.TENSORS).read_bytes()
    model = built(tiny())
    with torch.no_grad():
        model.norm.weight[0] = torch.nan
    with pytest.raises(InputError, match=r"norm\.weight is not finite"):
        checkpoint.save(folder, model, normaliser(TINY), {})
    model = built(tiny())
    with torch.no_grad():
        model.norm.weight[0] = 1e6
    with pytest.raises(InputError, match=r"norm\.weight is not finite"):
        checkpoint.save(folder, model, normaliser(TINY), {}, storage="float16")
    assert (folder / checkpoint.TENSORS).read_bytes() == before


def test_static_fields_that_were_never_set_are_refused(tmp_path: Path) -> None:
    from pear.models.pear import Pear

    with pytest.raises(InputError, match="orography is not finite"):
        checkpoint.save(tmp_path / "m", Pear(tiny()), normaliser(TINY), {})


def test_tensors_that_do_not_fit_the_settings(folder: Path) -> None:
    document = json.loads((folder / checkpoint.DOCUMENT).read_text())
    document["config"]["embed"] = 32
    del document["sha256"]
    payload = (folder / checkpoint.TENSORS).read_bytes()
    document["sha256"] = checkpoint._digest(payload, document)
    (folder / checkpoint.DOCUMENT).write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"does not fit its settings: .*size mismatch"):
        checkpoint.load(folder)


def test_layouts_must_agree(tmp_path: Path) -> None:
    from pear.variables import Layout

    with pytest.raises(InputError, match="different layouts"):
        checkpoint.save(tmp_path / "m", built(tiny()), Normaliser.identity(Layout.default()), {})


def test_the_mirror_needs_statistics_that_it_keeps(tmp_path: Path) -> None:
    model, statistics = built(tiny(symmetry="c4h")), normaliser(TINY, odd_means=True)
    with pytest.raises(InputError, match=r"mean 0 for 10m_v_component.*mirror_symmetric"):
        checkpoint.save(tmp_path / "m", model, statistics, {})
    fixed = mirror_symmetric(statistics)
    checkpoint.save(tmp_path / "m", model, fixed, {})
    assert fixed.surface_mean[0] == 0
    assert fixed.upper_mean[1].abs().max() == 0
    torch.testing.assert_close(fixed.surface_mean[1], statistics.surface_mean[1])
    want = torch.hypot(statistics.upper_std[1], statistics.upper_mean[1])
    torch.testing.assert_close(fixed.upper_std[1], want)
    torch.testing.assert_close(fixed.upper_step_std, statistics.upper_step_std)


def test_the_file_is_plain_safetensors(folder: Path) -> None:
    tensors = load_file(folder / checkpoint.TENSORS)
    assert {name.split(".")[0] for name in tensors} == {"model", "normaliser"}
    assert "model.orography" in tensors


def pangu() -> Pangu:
    torch.manual_seed(0)
    config = PanguConfig(
        rows=12, columns=24, layout=TINY, embed=8, depths=(1, 1, 1, 1), heads=(2, 2, 2, 2)
    )
    return Pangu(config).eval()


def test_pangu_networks_use_the_same_format(tmp_path: Path) -> None:
    model, statistics = pangu(), normaliser(TINY)
    written = checkpoint.save(tmp_path / "m", model, statistics, PROVENANCE)
    read = checkpoint.load_pangu(tmp_path / "m")
    assert json.loads((tmp_path / "m" / checkpoint.DOCUMENT).read_text())["network"] == "pangu"
    assert (read.id, read.provenance, read.model.config) == (written.id, PROVENANCE, model.config)
    for name, value in model.state_dict().items():
        assert torch.equal(read.model.state_dict()[name], value)
    with pytest.raises(InputError, match="has a pangu network, expected pear"):
        checkpoint.load(tmp_path / "m")


def test_pangu_networks_of_the_old_format_are_read(tmp_path: Path) -> None:
    model, statistics = pangu(), normaliser(TINY)
    tensors = {f"network.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"normaliser.{k}": v for k, v in statistics.state_dict().items()}
    save_file(tensors, tmp_path / "pangu.safetensors")
    document = {"config": model.config.to_dict(), "parameters": 1, "steps": 7}
    (tmp_path / "pangu.json").write_text(json.dumps(document))
    read = checkpoint.load_pangu(tmp_path)
    assert read.provenance == {"steps": 7}
    for name, value in model.state_dict().items():
        assert torch.equal(read.model.state_dict()[name], value)
    assert torch.equal(read.normaliser.upper_std, statistics.upper_std)


def test_checkpoints_without_a_network_key_are_pear_networks(folder: Path) -> None:
    document = json.loads((folder / checkpoint.DOCUMENT).read_text())
    del document["network"], document["sha256"]
    payload = (folder / checkpoint.TENSORS).read_bytes()
    document["sha256"] = checkpoint._digest(payload, document)
    (folder / checkpoint.DOCUMENT).write_text(json.dumps(document))
    assert checkpoint.load(folder).config == tiny()
