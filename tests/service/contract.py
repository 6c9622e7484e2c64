"""schemathesis over the whole OpenAPI document of a service."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

LOG = logging.getLogger("contract")
# Which variables, levels and times a run has is no part of the document, so a request that fits
# the document may still be refused with 422.
CONFIGURATION = """
[parameters]
"path.run_id" = "{run}"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "404", "409", "410", "413", "422", "429"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "414", "422", "429"]
"""


def keep_the_contract(url: str, run: str, folder: Path, examples: int, *options: str) -> int:
    """Run every check over every operation; fail with what was found, return the cases made.

    Parameters
    ----------
    run
        Identity of a finished run, to reach behind its path.
    folder
        For the configuration.
    examples
        At most so many of each operation and phase.
    options
        More of schemathesis's own.
    """
    configuration = folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(run=run))
    command = [
        str(Path(sys.executable).with_name("st")),
        "--config-file",
        str(configuration),
        "run",
        f"{url}/openapi.json",
        "--checks",
        "all",
        "--max-examples",
        str(examples),
        "--seed",
        "1",
        "--exclude-path-regex",
        "events",
        "--no-color",
        "--generation-database",
        "none",
        "--request-timeout",
        "120",
        "--max-response-time",
        "120",
        # Of its own making of cases, by the clock: says nothing about the service.
        "--suppress-health-check",
        "too_slow",
        *options,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=7200)
    assert done.returncode == 0, done.stdout[-6000:]
    count = re.search(r"(\d[\d,]*) generated", done.stdout)
    assert count is not None, done.stdout[-2000:]
    LOG.info("schemathesis %s", " ".join(done.stdout[done.stdout.rfind("Test cases:") :].split()))
    return int(count[1].replace(",", ""))
