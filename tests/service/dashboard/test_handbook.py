"""The handbook under /handbook/: built files alone, their own scripts, no path of a request."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.dashboard import handbook

SCRIPT = "document.title='x'"
INDEX = f"<html><script src='a.js'></script><script>{SCRIPT}</script></html>"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A built site of two files, in place of the package's own."""
    site = tmp_path / "site"
    (site / "assets").mkdir(parents=True)
    (site / "index.html").write_text(INDEX)
    (site / "assets" / "a.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setattr(handbook, "HANDBOOK_SITE", site)
    handbook.files.cache_clear()
    handbook.read.cache_clear()
    yield site
    handbook.files.cache_clear()
    handbook.read.cache_clear()


@pytest.mark.usefixtures("site")
def test_pages_run_their_own_scripts_alone(client: httpx.Client) -> None:
    answer = client.get("/handbook", follow_redirects=True)
    assert answer.text == INDEX
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    (policy,) = answer.headers.get_list("content-security-policy")
    assert f"script-src 'self' 'sha256-{digest}'; style-src" in policy
    again = client.get("/handbook/index.html", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.usefixtures("site")
def test_other_files_keep_the_policy_of_the_service(client: httpx.Client) -> None:
    answer = client.get("/handbook/assets/a.js", headers={"Accept-Encoding": "gzip"})
    assert answer.text == "1"
    assert answer.headers["content-encoding"] == "gzip"
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'; style-src 'self'" in policy, "that of every response"


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("name", ["../secret.txt", "%2e%2e/secret.txt", "/etc/passwd", "assets"])
def test_a_request_never_becomes_a_path(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/handbook/{name}")
    assert answer.status_code == 404
    assert "secret" not in answer.text.replace("secret.txt", "")


def test_a_tree_without_the_site_says_how_to_build_it(client: httpx.Client, site: Path) -> None:
    for path in (site / "index.html", site / "assets" / "a.js"):
        path.unlink()
    answer = client.get("/handbook/index.html")
    assert answer.status_code == 404
    assert "mkdocs build" in answer.json()["hint"]


def test_scripts_with_a_type_are_hashed_as_they_stand() -> None:
    policy = handbook.policy_for(b'<script id="c" type="application/json">{}</script>')
    digest = base64.b64encode(hashlib.sha256(b"{}").digest()).decode()
    assert f"'sha256-{digest}'" in policy
