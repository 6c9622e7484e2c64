"""Texts for clients name no folder of the server."""

from __future__ import annotations

import pytest

from service.http.paths import hide_paths, hide_paths_in


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("PermissionError: [Errno 13] denied: '/srv/a/b.zarr'", "…: '…/b.zarr'"),
        ("/root/data/x.zarr: time/c/0 is missing", "…/x.zarr: time/c/0 is missing"),
        ("two: /a/b/c and (/d/e)", "two: …/c and (…/e)"),
        ("run `pear check /srv/data/forecasts/r.zarr --repair`", "run `pear check …/r.zarr"),
    ],
)
def test_the_folders_are_cut_off(text: str, shown: str) -> None:
    hidden = hide_paths(text)
    assert hidden.endswith(shown.removeprefix("…: ")) or hidden.startswith(shown)
    assert "/srv" not in hidden
    assert "/root" not in hidden


@pytest.mark.parametrize(
    "text",
    [
        "wind of 10 m/s and 3 kg/kg",
        "see /docs, /v1/forecasts/latest or https://example.org/a/b?c=1",
        "zarr/c/0/1 of the store",
        "a ratio 1/2, s3://bucket/key/x",
    ],
)
def test_other_slashes_stay(text: str) -> None:
    assert hide_paths(text) == text


def test_nested_values() -> None:
    value = {"a": ["/x/y", 1, None], "b": {"c": "/x/y/z"}}
    assert hide_paths_in(value) == {"a": ["…/y", 1, None], "b": {"c": "…/z"}}
