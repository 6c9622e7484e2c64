"""The handbook builds without a warning: no dead link, no page outside its navigation."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "deploy" / "handbook" / "mkdocs.yml"


def dead_links(site: Path) -> list[tuple[str, str]]:
    """Return (page, target) of each link or picture of a site that leads nowhere."""
    pages = {path: path.read_text() for path in site.rglob("*.html")}
    anchors = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    found = []
    for page, text in pages.items():
        if page.name == "404.html":  # its addresses begin at the root of a server
            continue
        for target in re.findall(r'\b(?:href|src)="([^"]*)"', text):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchor = unquote(parts.fragment)
            if not path.exists() or (anchor and anchor not in anchors.get(path, {anchor})):
                found.append((page.relative_to(site).as_posix(), target))
    return found


def test_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text('<h1 id="x">')
    (tmp_path / "a.html").write_text(
        '<a href="b.html#x"><a href="b.html#y"><a href="c.html"><img src="d.png"><a href="#z">'
    )
    found = {target for _, target in dead_links(tmp_path)}
    assert found == {"b.html#y", "c.html", "d.png", "#z"}


@pytest.mark.slow
@pytest.mark.skipif(not CONFIGURATION.exists(), reason="not a source tree")
def test_it_builds_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    build = pytest.importorskip("mkdocs.commands.build")
    config = pytest.importorskip("mkdocs.config")
    build.build(config.load_config(str(CONFIGURATION), site_dir=str(tmp_path), strict=True))
    python = (tmp_path / "reference" / "python.html").read_text()
    assert "equivariance_error" in python
    assert ":class:" not in python
    assert "pear forecast" in (tmp_path / "reference" / "command-line.html").read_text()
    assert "/v1/forecasts/{run_id}/point" in (tmp_path / "reference" / "http.html").read_text()
    assert not list(tmp_path.rglob("*.map"))
    assert not dead_links(tmp_path)
    for page in tmp_path.rglob("*.html"):  # a step that the one before has swallowed
        assert not re.search(r"<p>[^<]*\n\d+\. [A-Z]", page.read_text()), page
    assert "handbook.css" in (tmp_path / "index.html").read_text()
