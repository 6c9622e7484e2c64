"""The handbook builds without a warning: no dead link, no page outside its navigation."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "deploy" / "handbook" / "mkdocs.yml"


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
