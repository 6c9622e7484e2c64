"""Clients generated from the OpenAPI document, in Python and TypeScript: without a warning."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.fixtures.node import NODE_MODULES, needs

GENERATOR = "openapi-python-client"
# The generator knows files by one type only, and asks for the others to be named.
CONFIGURATION = """
project_name_override: made
package_name_override: made
content_type_overrides:
  image/png: application/octet-stream
  image/jpeg: application/octet-stream
  image/svg+xml: application/octet-stream
  image/webp: application/octet-stream
  application/x-netcdf: application/octet-stream
  application/zip: application/octet-stream
  application/wmo-GRIB2: application/octet-stream
post_hooks: []
"""
PROGRAM = """
import sys
from made import Client
from made.api.forecasts import get_forecast, list_forecasts
from made.api.points import get_open_meteo, get_point

client = Client(sys.argv[1], raise_on_unexpected_status=True)
run = get_forecast.sync("latest", client=client)
assert run.status == "succeeded", run
assert run.id in [each.id for each in list_forecasts.sync(client=client).items]
point = get_point.sync("latest", client=client, latitude="59.3", longitude="18.1")
assert len(point.points[0].series[0].values) == len(point.lead_hours)
place = {"latitude": ["59.3"], "longitude": ["18.1"], "hourly": ["temperature_2m"]}
found = get_open_meteo.sync(client=client, **place)
assert len(found.hourly["temperature_2m"]) == len(found.lead_hours)
print(run.id)
"""


@pytest.mark.nightly
def test_a_generated_client_reads_the_service(url: str, run_id: str, tmp_path: Path) -> None:
    generator = shutil.which(GENERATOR)
    if generator is None:  # it pins an older typer than PEAR's: pipx install openapi-python-client
        pytest.skip(f"{GENERATOR} is not in the PATH")
    (tmp_path / "config.yaml").write_text(CONFIGURATION)
    (tmp_path / "openapi.json").write_text(httpx.get(f"{url}/openapi.json", timeout=60).text)
    options = ["--path", "openapi.json", "--meta", "none", "--fail-on-warning"]
    done = subprocess.run(
        [generator, "generate", *options, "--config", "config.yaml", "--output-path", "made"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "WARNING" not in done.stdout + done.stderr
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    read = subprocess.run(
        [sys.executable, "-c", PROGRAM, url],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert read.returncode == 0, read.stderr[-3000:]
    assert read.stdout.strip() == run_id


TYPES = """
import type { paths } from "./api";

type Answer<P extends keyof paths> = paths[P] extends {
  get: { responses: { 200: { content: { "application/json": infer T } } } };
} ? T : never;
export const id: string = {} as Answer<"/v1/forecasts/{run_id}">["id"];
export const nside: number = {} as Answer<"/v1/models">["items"][number]["nside"];
export const values: (number | null)[] =
  {} as Answer<"/v1/forecasts/{run_id}/point">["points"][number]["series"][number]["values"];
"""


@pytest.mark.slow
@needs("openapi-typescript")
def test_types_of_typescript_are_made_without_a_warning(url: str, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(httpx.get(f"{url}/openapi.json", timeout=60).text)
    (tmp_path / "used.ts").write_text(TYPES)
    programs = NODE_MODULES / ".bin"
    for command in (
        [programs / "openapi-typescript", "openapi.json", "-o", "api.d.ts"],
        [programs / "tsc", "--noEmit", "--strict", "api.d.ts", "used.ts"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        assert "warn" not in (done.stdout + done.stderr).lower()
