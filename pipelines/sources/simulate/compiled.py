"""Keep JAX's compiled programs between processes: the first day takes seconds, not minutes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax


def use_cache() -> Path:
    """Point JAX at a cache folder of the user (``XDG_CACHE_HOME`` or ``~/.cache``)."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "pear" / "jax"
    folder.mkdir(parents=True, exist_ok=True)
    settings: Any = jax.config
    settings.update("jax_compilation_cache_dir", str(folder))
    settings.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    settings.update("jax_platforms", "cpu")
    return folder
