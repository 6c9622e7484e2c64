"""The JavaScript of the pages by Node: unit tests, and HEALPix against healpy."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import pytest

NODE = shutil.which("node")
HERE = Path(__file__).parent
STATIC = Path(__file__).parents[3] / "service" / "dashboard" / "static"
TSC = HERE.parents[1] / "node_modules" / "typescript" / "bin" / "tsc"
pytestmark = pytest.mark.skipif(NODE is None, reason="no node here; apt-get install nodejs")

_SCRIPT = """
import {{ around, cellOfUnit, ringOfNested, weigh }} from {module};
const points = JSON.parse(await new Promise((resolve) => {{
  let text = ""; process.stdin.on("data", (part) => text += part).on("end", () => resolve(text));
}}));
const out = {{}};
for (const nside of [1, 2, 4, 16, 64]) {{
  const near = around();
  out[nside] = {{ ring: [...ringOfNested(nside)], cells: [], weights: [], nested: [] }};
  for (const [longitude, latitude] of points) {{
    const phi = latitude * Math.PI / 180;
    weigh(nside, longitude, Math.sin(phi), Math.cos(phi), near);
    out[nside].cells.push([...near.cells]);
    out[nside].weights.push([...near.weights]);
    out[nside].nested.push(cellOfUnit(nside, longitude, Math.sin(phi), Math.cos(phi)));
  }}
}}
process.stdout.write(JSON.stringify(out));
"""


def _node(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(NODE), *arguments], input=given, capture_output=True, text=True, timeout=120
    )


def test_unit_tests_of_the_modules_pass() -> None:
    tests = sorted(str(path) for path in (HERE / "javascript").glob("*.test.mjs"))
    done = _node("--test", *tests)
    assert tests
    assert done.returncode == 0, done.stdout + done.stderr


def test_cells_and_weights_are_those_of_healpy() -> None:
    rng = np.random.default_rng(1)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, 1500)))
    lon = rng.uniform(-180, 360, 1500)
    lat[:6], lon[:6] = [90, -90, 89.99, -89.99, 41.81, 0], [0, 0, 45, 200, 0, 90]
    script = _SCRIPT.format(module=json.dumps((STATIC / "healpix.js").as_uri()))
    points = json.dumps(np.stack([lon, lat], axis=1).tolist())
    done = _node("--input-type=module", "--eval", script, given=points)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    for name, got in found.items():
        nside = int(name)
        cells = np.arange(12 * nside**2)
        assert (np.array(got["ring"]) == healpy.nest2ring(nside, cells)).all()
        field = rng.normal(size=cells.size)
        index, weight = healpy.get_interp_weights(nside, lon, lat, lonlat=True)
        ours = (np.array(got["weights"]) * field[np.array(got["cells"])]).sum(axis=1)
        np.testing.assert_allclose(ours, (weight * field[index]).sum(axis=0), atol=1e-10)
        wrong = np.array(got["nested"]) != healpy.ang2pix(nside, lon, lat, nest=True, lonlat=True)
        assert wrong.sum() <= 2, "only points on a cell's very edge may fall to either side"


@pytest.mark.slow
@pytest.mark.skipif(not TSC.is_file(), reason="no typescript; npm install --prefix tests")
def test_types_of_the_modules_hold() -> None:
    flags = "--noEmit --allowJs --strict --target es2022 --module es2022 --moduleResolution bundler"
    modules = sorted(str(path) for path in STATIC.glob("*.js"))
    done = _node(str(TSC), *flags.split(), "--lib", "es2022,dom,dom.iterable", *modules)
    assert done.returncode == 0, done.stdout
