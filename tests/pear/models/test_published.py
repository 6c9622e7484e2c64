"""Import of the authors' weights: safe, complete, and clear about what does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from pear.errors import InputError
from pear.models import checkpoint, published
from pear.models.config import PearConfig
from pear.models.pear import Pear
from service.cli.app import app
from tests.fixtures.models import built


def as_published(model: Pear) -> dict[str, Tensor]:
    """The state dict that the public code would save for this model."""
    out = {}
    for name, ours in model.state_dict().items():
        theirs = published._published_name(name)
        shape = published._published_shape(name, ours, model)
        recovers = name.startswith("recover") and name.endswith("weight")
        out[theirs] = (ours.T if recovers else ours).reshape(shape)
    return out


@pytest.fixture(scope="module")
def model() -> Pear:
    return built(PearConfig.published(nside=32))


@pytest.fixture
def state(model: Pear) -> dict[str, Tensor]:
    return as_published(model)


def saved(tmp_path: Path, content: Any) -> Path:
    torch.save(content, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def same(a: Pear, b: Pear) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_every_tensor_has_its_published_name(shared: Path, state: dict[str, Tensor]) -> None:
    theirs = torch.load(shared / "fixtures/pear_nside32_state_dict.pt", weights_only=True)
    assert {k: tuple(v.shape) for k, v in theirs.items()} == {
        k: tuple(v.shape) for k, v in state.items()
    }


@pytest.mark.parametrize("nside", [32, 64])
def test_there_and_back(tmp_path: Path, model: Pear, state: dict[str, Tensor], nside: int) -> None:
    state["layers.0.blocks.1.attn.attn_mask"] = torch.zeros(4, 6, 1, 128, 128)
    assert same(published.load_published(saved(tmp_path, state), nside=nside), model)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_wrappers(tmp_path: Path, model: Pear, state: dict[str, Tensor], wrapper: str) -> None:
    wrapped = {"epoch": 3, wrapper: {f"module.{k}": v for k, v in state.items()}}
    assert same(published.load_published(saved(tmp_path, wrapped), nside=32), model)


def test_what_is_wrong_is_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    del state["norm.weight"]
    state["extra"] = torch.zeros(2)
    state["downsample.reduction.weight"] = torch.zeros(96, 100)
    state["norm.bias"] = torch.full((96,), torch.inf)
    with pytest.raises(InputError) as caught:
        published.load_published(saved(tmp_path, state), nside=32)
    text = str(caught.value)
    assert "norm.weight is missing" in text
    assert "extra is unknown" in text
    assert "downsample.reduction.weight has shape (96, 100), must be (96, 192)" in text
    assert "norm.bias is not finite" in text


def test_a_grid_too_coarse_for_the_weights(tmp_path: Path, state: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match=r"must be \(1, 12, 32, 32\) at nside 16.* and 7 more"):
        published.load_published(saved(tmp_path, state), nside=16)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_nothing_in_the_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="not a state dict that can be read safely"):
        published.read_state_dict(saved(tmp_path, {"a": Evil()}))
    assert not (tmp_path / "executed").exists()


def test_files_that_are_no_state_dict(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        published.read_state_dict(tmp_path / "nothing.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(InputError, match="read safely"):
        published.read_state_dict(tmp_path / "text.pt")
    with pytest.raises(InputError, match="does not hold tensors by name"):
        published.read_state_dict(saved(tmp_path, [torch.zeros(2)]))


def test_the_command(tmp_path: Path, model: Pear, state: dict[str, Tensor]) -> None:
    out = tmp_path / "imported"
    arguments = ["models", "import", str(saved(tmp_path, state)), "--output", str(out), "--json"]
    result = CliRunner().invoke(app, [*arguments, "--nside", "32"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["parameters"] == 4_279_881
    assert document["standardised"] is True
    read = checkpoint.load(out)
    assert read.id == document["id"]
    assert same(read.model, model)
    again = [*arguments[:4], str(tmp_path / "again"), "--nside", "32", "--statistics", str(out)]
    result = CliRunner().invoke(app, again)
    assert result.exit_code == 0, result.output
    assert checkpoint.load(tmp_path / "again").provenance["standardised"] is False
