"""PEAR: the reference numbers, every size, the forcing, the residual, and the symmetries."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pear.equivariant import stencil
from pear.equivariant.block import MixingBlock
from pear.equivariant.wind_frames import FaceFrames
from pear.models.compiled import compile_model
from pear.models.config import PearConfig
from pear.models.diagnostics import equivariance_errors
from pear.models.pear import Pear
from pear.models.published import load_published
from pear.models.symmetries import kept_group
from pear.sphere.healpix import centres
from pear.sphere.symmetry import C4H, IDENTITY
from pear.variables import LEVELS, Layout
from tests.fixtures.models import TINY, WINDY, built, fields, normaliser, tiny

SURFACE, UPPER = Layout.default().surface, Layout.default().upper


def test_reference_numbers_of_the_public_code(shared: Path) -> None:
    model = load_published(shared / "fixtures" / "pear_nside32_state_dict.pt", nside=32)
    numbers = np.load(shared / "fixtures" / "pear_nside32_io.npz")
    with torch.inference_mode():
        out = model(*(torch.from_numpy(numbers[f"input_{k}"]) for k in ("surface", "upper")))
    for got, kind in zip(out, ("surface", "upper"), strict=True):
        want = numbers[f"output_{kind}"]
        assert got.shape == want.shape
        assert np.abs(got.numpy() - want).max() <= 2e-5 * np.abs(want).max()


@pytest.mark.parametrize("nside", [8, 16, 32, 64, 128, 256])
@pytest.mark.parametrize("kind", ["published", "r", "c4h"])
def test_every_grid_builds_and_runs(nside: int, kind: str) -> None:
    one = Layout(SURFACE[2:3], UPPER[-1:], LEVELS[:2])
    small: dict[str, Any] = {
        "nside": nside,
        "layout": one,
        "embed": 8,
        "heads": (2, 2, 2, 2),
        "depths": (0, 2, 0, 0),
    }
    config = (
        PearConfig.published(**small) if kind == "published" else PearConfig(**small, symmetry=kind)
    )
    x = fields(config)
    with torch.inference_mode():
        out = built(config)(*x)
    for before, after in zip(x, out, strict=True):
        assert after.shape == before.shape
        assert torch.isfinite(after).all()


@pytest.mark.parametrize("levels", [1, 2, 4, 13])
@pytest.mark.parametrize(("surface", "upper"), [(1, 1), (4, 5), (2, 3)])
@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_every_layout_and_batch(levels: int, surface: int, upper: int, symmetry: str) -> None:
    layout = Layout(SURFACE[-surface:], UPPER[-upper:], LEVELS[:levels])
    config = tiny(layout=layout, symmetry=symmetry)
    model, x = built(config), fields(config, batch=3)
    with torch.inference_mode():
        together = model(*x)
        single = model(*(field[1:2] for field in x))
    for many, one, before in zip(together, single, x, strict=False):
        assert many.shape == before.shape
        torch.testing.assert_close(many[1:2], one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
@pytest.mark.parametrize("nside", [8, 16])
def test_symmetry_of_the_whole_network(symmetry: str, nside: int) -> None:
    """Random weights and biases in float64: the rotation is exact, the mirror to rounding."""
    config = tiny(nside=nside, symmetry=symmetry, patch=4 if nside == 8 else 16)
    errors = equivariance_errors(built(config), C4H)
    for element in C4H:
        error = errors[element.name]
        if not element.mirror:
            assert error == 0, element.name
        elif symmetry == "c4h":
            assert error <= 1e-12, element.name
        else:
            assert error > 0.1, element.name


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
@pytest.mark.parametrize(
    "mixing",
    [
        "stencil",
        "full_stencil",
        ("stencil+attention", "stencil+attention", "full_stencil", "stencil"),
        "spectral",
        ("spectral+attention", "full_spectral", "spectral", "stencil"),
    ],
    ids=["stencil", "full", "each stage its own", "spectral", "full and spectral"],
)
def test_symmetry_of_networks_that_mix_otherwise(symmetry: str, mixing: Any) -> None:
    # The published shift breaks the rotation in attention alone.
    shift = "ring_roll" if symmetry == "r" and isinstance(mixing, str) else "ring_rotation"
    config = tiny(symmetry=symmetry, mixing=mixing, shift=shift, patch=4)
    errors = equivariance_errors(built(config), C4H)
    kept = kept_group(config.to_dict())
    assert len(kept) == (8 if symmetry == "c4h" else 4)
    for element in C4H:
        error = errors[element.name]
        assert error <= 1e-12 if element in kept else error > 0.05, (element.name, error)


def test_a_network_of_stencils_without_the_mirrored_labels_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = built(tiny(symmetry="c4h", mixing="stencil"))
    monkeypatch.setattr(stencil, "mirrored_kernel", lambda kernel: kernel)
    errors = equivariance_errors(model)
    assert errors["R"] <= 1e-12
    assert errors["M"] > 0.01


@pytest.mark.parametrize(
    "mixing", ["attention", "stencil", "full_stencil", "spectral", "full_spectral"]
)
def test_the_surface_hears_the_top(mixing: Any) -> None:
    """No way of mixing keeps the depths apart."""
    config = tiny(mixing=mixing, forcings=())
    model, (surface, upper) = built(config), fields(config)
    upper.requires_grad_()
    (grad,) = torch.autograd.grad(model(surface, upper)[0].sum(), upper)
    assert all(bool(grad[:, :, level].any()) for level in range(grad.shape[2]))


def test_only_attention_is_shifted_and_every_second_time() -> None:
    config = tiny(mixing="stencil+attention", depths=(4, 5, 0, 1))
    shifts = [
        [None if isinstance(block, MixingBlock) else block.attention.shift for block in stage]
        for stage in Pear(config).stages
    ]
    assert [config.blocks(stage)[:2] for stage in (0, 3)] == [
        ("stencil", "attention"),
        ("stencil",),
    ]
    assert [[shift is not None for shift in stage] for stage in shifts] == [
        [False, False, False, True],
        [False, False, False, True, False],
        [],
        [False],
    ]


def test_symmetry_of_the_full_layout() -> None:
    errors = equivariance_errors(built(PearConfig.small(8, symmetry="c4h")))
    assert errors.pop("R") == 0
    assert max(errors.values()) <= 1e-12


@pytest.mark.parametrize(("wind", "rotation"), [("face", 0.0), ("gauge", 1e-13)])
@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_symmetry_with_winds_in_other_frames(wind: str, rotation: float, symmetry: str) -> None:
    config = tiny(layout=WINDY, symmetry=symmetry, patch=4, wind=wind)
    errors = equivariance_errors(built(config))
    assert errors.pop("R") <= rotation
    if symmetry == "c4h":
        assert max(errors.values()) <= 1e-12
    else:
        assert errors["M"] > 0.1


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
@pytest.mark.parametrize("padding", ["top", "published"])
def test_a_gauge_network_keeps_every_rotation_of_every_frame(symmetry: str, padding: str) -> None:
    """Turn the frames of all cells and of all tokens by angles of their own."""
    settings = {"symmetry": symmetry, "padding": padding, "residual": False}
    model = built(tiny(layout=WINDY, wind="gauge", patch=4, **settings)).double()
    assert model.wind_channels is not None
    generator = torch.Generator().manual_seed(0)
    cells, tokens = (7 * torch.rand(n, generator=generator).double() for n in (768, 192))

    def turned(x: Tensor, angle: Tensor) -> Tensor:
        return torch.view_as_real(torch.view_as_complex(x) * torch.polar(angle * 0 + 1, angle))

    def turned_fields(surface: Tensor, upper: Tensor) -> list[Tensor]:
        for x, (east, north) in ((surface, (0, 1)), (upper, (0, 2))):
            pair = torch.stack([x[:, east], x[:, north]], -1)
            x[:, east], x[:, north] = turned(pair, cells).unbind(-1)
        return [surface, upper]

    surface, upper, forcing = (x.double() for x in fields(model.config))
    with torch.no_grad():
        want = turned_fields(*model(surface, upper, forcing))
        part = model.wind_channels.tokens
        ends = part.embed_surface, part.embed_upper, part.recover_surface, part.recover_upper
        for patches in ends:
            patches.carry = turned(patches.carry, cells - tokens.repeat_interleave(4))
        for layer in (part.enter, part.leave):
            layer.links = turned(layer.links, tokens - tokens[layer.around])
            layer.bearings = turned(layer.bearings, tokens.expand(8, -1).contiguous())
        turned_surface, turned_upper = turned_fields(surface.clone(), upper.clone())
        got = model(turned_surface, turned_upper, forcing)
        plain = model(surface, upper, forcing)
    for a, b, c in zip(got, want, plain, strict=True):
        assert (a - b).abs().max() <= 1e-12 * b.abs().max()
        assert (c - b).abs().max() > 0.1 * b.abs().max()


def test_winds_of_a_gauge_network_start_at_persistence_and_learn() -> None:
    config = tiny(layout=WINDY, wind="gauge")
    model, x = built(config, random=False), fields(config, batch=2)
    out = model(*x)
    for before, after in zip(x, out, strict=False):
        torch.testing.assert_close(after, before, rtol=0, atol=0)
    sum((after - 1).square().mean() for after in out).backward()
    assert model.wind_channels is not None
    tokens = model.wind_channels.tokens
    for recovery in (tokens.recover_surface, tokens.recover_upper):
        assert recovery.weight.grad.abs().max() > 0
    # The same by the fast kernels.
    model = built(config)
    with torch.inference_mode():
        for fast, plain in zip(compile_model(model)(*x), model(*x), strict=True):
            torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)


def test_a_network_in_face_frames_sees_the_winds_of_its_base_pixels() -> None:
    """The same weights on fields turned beforehand, and turned back afterwards."""
    config = tiny(layout=WINDY, wind="face")
    model, plain = built(config), built(tiny(layout=WINDY))
    surface, upper, forcing = fields(config, batch=2)
    frames = FaceFrames(8, [(0, 1)]), FaceFrames(8, [(0, 2)])
    seen = plain(frames[0](surface, "face"), frames[1](upper, "face"), forcing)
    for turn, got, want in zip(frames, model(surface, upper, forcing), seen, strict=True):
        torch.testing.assert_close(got, turn(want, "geographic"), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(model(surface, upper, forcing)[0], plain(surface, upper, forcing)[0])


def test_the_published_shift_breaks_the_rotation() -> None:
    errors = equivariance_errors(built(PearConfig.published(8, layout=TINY)), C4H)
    assert errors.pop(IDENTITY.name) == 0
    assert min(errors.values()) > 0.05


def test_a_wrong_sign_of_the_wind_breaks_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(symmetry="c4h", forcings=())
    model = built(config)
    monkeypatch.setattr(Layout, "mirror_signs", lambda self, kind: (1,) * 2)
    assert equivariance_errors(model)["M"] > 0.05


def test_levels_are_padded_and_cropped_at_the_same_end() -> None:
    """Without blocks a level hears its own pair only; the published padding mixes pairs."""
    layout = Layout(TINY.surface, TINY.upper[:1], LEVELS[:5])
    heard = {}
    for padding in ("top", "published"):
        config = tiny(layout=layout, depths=(0, 0, 0, 0), padding=padding, forcings=())
        model, (surface, upper) = built(config), fields(config)
        upper.requires_grad_()
        _, out = model(surface, upper)
        change = out - upper
        heard[padding] = []
        for level in range(5):
            (grad,) = torch.autograd.grad(change[:, :, level].sum(), upper, retain_graph=True)
            heard[padding].append([bool(grad[:, :, other].any()) for other in range(5)])
    pair = [level // 2 for level in range(5)]
    shifted = [(level + 1) // 2 for level in range(5)]
    assert heard["top"] == [[pair[a] == pair[b] for b in range(5)] for a in range(5)]
    assert heard["published"] == [[pair[a] == shifted[b] for b in range(5)] for a in range(5)]


def test_residual_starts_at_persistence() -> None:
    config = tiny()
    model, x = built(config, random=False), fields(config, batch=2)
    for before, after in zip(x, model(*x), strict=False):
        torch.testing.assert_close(after, before, rtol=0, atol=0)
    loss = sum((after - 1).square().mean() for after in model(*x))
    loss.backward()
    assert model.recover_upper.weight.grad.abs().max() > 0


def test_step_scale_is_the_spread_of_the_change() -> None:
    config = tiny()
    model, x = built(config), fields(config)
    plain = [a - b for a, b in zip(model(*x), x, strict=False)]
    model.set_step_scale(normaliser(TINY))
    scaled = [a - b for a, b in zip(model(*x), x, strict=False)]
    torch.testing.assert_close(scaled[0], plain[0] / 3, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scaled[1], plain[1] / 4, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="only a residual model"):
        built(tiny(residual=False)).set_step_scale(normaliser(TINY))


def test_forcing_by_name() -> None:
    config = tiny()
    model = built(config)
    times = np.array(["2000-01-01T00", "2000-07-01T15:00:00"], "datetime64[s]")
    forcing = model.forcing(times)
    assert forcing is not None
    assert forcing.shape == (2, 5, 768)
    sine, orography, land, cosine, sine_year = forcing.unbind(1)
    expected = torch.from_numpy(np.sin(np.radians(centres(8)[0]))).float()
    torch.testing.assert_close(sine[0], expected)
    torch.testing.assert_close(orography[1], model.orography)
    assert 0 < orography.min() < orography.max() < 1
    torch.testing.assert_close(land[0], model.land_fraction)
    assert (cosine[0] == 1).all()
    assert (sine_year[0] == 0).all()
    # Half a year and half a day later the phase is opposite: 182.62 days.
    torch.testing.assert_close(cosine[1], torch.full((768,), -1.0), rtol=0, atol=1e-4)


def test_forcing_in_another_order_and_half_precision() -> None:
    config = tiny(forcings=("sin_year", "orography"))
    model = built(config).to(torch.bfloat16)
    forcing = model.forcing(np.datetime64("2000-04-01T07:00"))
    assert forcing is not None
    assert forcing.dtype == torch.bfloat16
    assert float(forcing[0, 0, 0]) == pytest.approx(1, abs=0.01)
    assert built(tiny(forcings=())).forcing(np.datetime64("2000-01-01")) is None


def test_static_fields_must_be_set_and_fit() -> None:
    model = Pear(tiny())
    with pytest.raises(ValueError, match=r"orography is not set; call set_static\(orography"):
        model.forcing(np.datetime64("2000-01-01"))
    with pytest.raises(ValueError, match=r"shape \(768,\), got shape \(3,\)"):
        model.set_static(orography=np.zeros(3))
    with pytest.raises(ValueError, match="no static forcing 'roughness'"):
        model.set_static(roughness=np.zeros(768))
    with pytest.raises(ValueError, match="must be finite"):
        model.set_static(land_fraction=np.full(768, np.nan))


def test_the_forcing_matters_and_is_asked_for() -> None:
    config = tiny()
    model, (surface, upper, forcing) = built(config), fields(config)
    for index in range(5):
        changed = forcing.clone()
        changed[:, index] += 1
        assert not torch.equal(model(surface, upper, forcing)[0], model(surface, upper, changed)[0])
    with pytest.raises(ValueError, match="needs forcing"):
        model(surface, upper)
    with pytest.raises(ValueError, match=r"forcing has shape \(1, 4, 768\)"):
        model(surface, upper, forcing[:, 1:])


@pytest.mark.parametrize(("index", "name"), [(0, "surface"), (1, "upper")])
def test_wrong_shapes_are_named(index: int, name: str) -> None:
    config = tiny(forcings=())
    x = list(fields(config))
    x[index] = x[index][..., :-1]
    with pytest.raises(ValueError, match=rf"{name} has shape .* must be"):
        built(config)(*x)


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_every_weight_learns(symmetry: str) -> None:
    config = tiny(symmetry=symmetry)
    model = built(config).train()
    surface, upper = model(*fields(config))
    (surface.square().mean() + upper.square().mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


# The compiler itself builds an autograd function the way that torch deprecates.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_compiles_without_graph_breaks(symmetry: str) -> None:
    config = tiny(symmetry=symmetry, depths=(2, 0, 0, 0))
    model, x = built(config), fields(config)
    want = model(*x)
    torch._dynamo.reset()
    got = torch.compile(model, fullgraph=True, backend="aot_eager")(*x)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_depths_are_told_apart() -> None:
    """Without a depth embedding, equal levels are treated alike; with it they are not."""
    layout = Layout(TINY.surface, TINY.upper, LEVELS[:6])
    for embedding in (False, True):
        config = tiny(layout=layout, depths=(0, 0, 0, 0), depth_embedding=embedding, forcings=())
        model, (surface, upper) = built(config), fields(config)
        upper = upper[:, :, :2].repeat(1, 1, 3, 1)
        _, out = model(surface, upper)
        same = [
            torch.allclose(out[:, :, 2 * a], out[:, :, 2 * b]) for a, b in combinations(range(3), 2)
        ]
        assert same == [not embedding] * 3


def test_the_forcing_of_the_hour_is_local_solar_time() -> None:
    model = built(tiny(forcings=("cos_hour", "sin_hour")))
    times = np.array(["2001-01-01T00", "2001-06-01T18"], "datetime64[s]")
    found = model.forcing(times)
    assert found is not None
    lon = np.radians(centres(8)[1])
    for row, hour in enumerate((0.0, 18.0)):
        phase = 2 * np.pi * hour / 24 + lon
        np.testing.assert_allclose(found[row, 0].numpy(), np.cos(phase), atol=1e-6)
        np.testing.assert_allclose(found[row, 1].numpy(), np.sin(phase), atol=1e-6)
