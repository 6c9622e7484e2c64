"""Environment variables of PEAR whose names have changed."""

from __future__ import annotations

import os
from typing import Final

from pear.errors import InputError

RENAMED: Final = {
    "PEAR_COMPILED": "PEAR_NATIVE_KERNELS",
    "PEAR_LOG": "PEAR_LOG_LEVEL",
    "PEAR_MAX_AT_ONCE": "PEAR_MAX_CONCURRENT_REQUESTS",
    "PEAR_ANSWER_CACHE_BYTES": "PEAR_RESPONSE_CACHE_BYTES",
}
"""New names by old name."""


def check_environment() -> None:
    """Check that no environment variable has an old name.

    Raises
    ------
    InputError
        If one has; names the new variable.

    Examples
    --------
    >>> from pear.environment import check_environment
    >>> check_environment()  # no variable has an old name
    """
    for old, new in RENAMED.items():
        if old in os.environ:
            raise InputError(
                f"environment variable {old} has been renamed", field=old, hint=f"set {new} instead"
            )
