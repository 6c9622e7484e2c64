"""Pangu: published size, periodic longitudes, and poles across which nothing is attended."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.models.pangu import Pangu, PanguConfig
from pear.models.pangu_layers import EarthSpecificBias, LatLonAttention, LatLonWindows
from pear.variables import Layout

LAYOUT = Layout(("mean_sea_level_pressure",), ("temperature",), (1000, 500, 50))


def small(**changes: object) -> PanguConfig:
    settings = {
        "rows": 24,
        "columns": 96,
        "layout": LAYOUT,
        "embed": 12,
        "depths": (1, 2, 1, 1),
        "heads": (2, 2, 2, 2),
        **changes,
    }
    return PanguConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("embed", "parameters"), [(48, 11_385_993), (192, 33_696_777)])
def test_the_published_sizes_to_the_last_parameter(embed: int, parameters: int) -> None:
    model = Pangu(PanguConfig(embed=embed))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_as_many_points_as_cells() -> None:
    fine = PanguConfig.like(64)
    assert (fine.rows, fine.columns) == (157, 314)
    coarse = PanguConfig.like(16)
    assert coarse.rows * coarse.columns == pytest.approx(3072, rel=0.03)
    with pytest.raises(InputError, match="too small"):
        small(rows=4)


def test_cutting_and_joining_is_the_identity_and_windows_are_boxes() -> None:
    windows = LatLonWindows(4, 14, 30)
    assert (windows.counts, windows.types) == ((2, 3, 3), 6)
    x = torch.arange(4.0 * 14 * 30).view(1, 4, 14, 30, 1)
    for shifted in (False, True):
        torch.testing.assert_close(
            windows.join(windows.cut(x, shifted=shifted), shifted=shifted), x
        )
    first = windows.cut(x, shifted=False)[0, 0, 1, :, 0]
    depth, row, column = np.unravel_index(first.long().numpy(), (4, 14, 30))
    assert (set(depth), set(row), set(column)) == ({0, 1}, set(range(6)), set(range(12, 24)))


def test_bias_depends_on_rows_but_only_on_the_distance_in_longitude() -> None:
    bias = EarthSpecificBias(LatLonWindows(4, 12, 24), heads=2)
    assert bias.table.shape == (3312, 4, 2)
    one = bias().detach().view(4, 2, 2, 6, 12, 2, 6, 12)
    torch.testing.assert_close(one[..., 3, :, :, 7], one[..., 4, :, :, 8])
    assert not torch.equal(one[:, :, :, 2, :, :, 3], one[:, :, :, 3, :, :, 4])


def test_attention_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    layer = LatLonAttention(LatLonWindows(2, 6, 24), 8, 2, shifted=True).double()
    x = torch.randn(1, 2, 6, 24, 8, dtype=torch.float64)
    cut = layer.windows.cut(x, shifted=True)
    query, key, value = layer.qkv(cut).view(1, 1, 2, 144, 3, 2, 4).permute(4, 0, 1, 2, 5, 3, 6)
    logits = query @ key.transpose(-1, -2) / 2.0 + layer.bias()[:, None]
    weights = (logits + layer.latitude_mask[:, None, None]).softmax(-1)
    mixed = (weights @ value).transpose(-2, -3).flatten(-2)
    wanted = layer.windows.join(layer.proj(mixed), shifted=True)
    torch.testing.assert_close(layer(x), wanted)


def test_longitude_goes_round_and_the_poles_do_not_meet() -> None:
    """On a grid that windows fill exactly, turning by one window turns the answer."""
    torch.manual_seed(0)
    layer = LatLonAttention(LatLonWindows(4, 12, 48), 8, 2, shifted=True).requires_grad_(False)
    x = torch.randn(1, 4, 12, 48, 8)
    turned = layer(torch.roll(x, 12, 3))
    torch.testing.assert_close(turned, torch.roll(layer(x), 12, 3))
    other = x.clone()
    other[:, :, 0] += 1.0  # the northernmost row
    change = (layer(other) - layer(x)).abs().amax((0, 1, 3, 4))
    assert change[0] > 1e-3
    assert float(change[9:].max()) < 1e-6


def test_the_network_keeps_shapes_starts_at_persistence_and_learns_everywhere() -> None:
    torch.manual_seed(0)
    config = small(residual=True, forcings=("sin_latitude", "cos_year"))
    model = Pangu(config)
    points = config.rows * config.columns
    fields = torch.randn(2, 1, points), torch.randn(2, 1, 3, points)
    forcing = model.forcing(np.array(["2001-01-01", "2001-07-01"], dtype="datetime64[s]"))
    surface, upper = model(*fields, forcing)
    assert torch.equal(surface, fields[0])
    assert torch.equal(upper, fields[1])
    plain = Pangu(small()).train(False)
    surface, upper = plain(*fields)
    (surface.square().mean() + upper.square().mean()).backward()
    unused = {n for n, p in plain.named_parameters() if p.grad is None}
    assert unused == set()
    again = PanguConfig.from_dict(config.to_dict())
    assert again == config
