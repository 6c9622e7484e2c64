"""PEAR: weather forecasting on HEALPix with equivariant windowed attention.

>>> import pear
>>> analysis = pear.sample_analysis()
>>> model = pear.load_model("shipped", device="cpu")
>>> forecast = model.forecast(analysis, init="2006-11-01", lead="3d")
>>> scores = pear.evaluate(forecast, analysis, climatology="shipped")
>>> bool(scores["geopotential"].sel(metric="acc", forecaster="pear", level=500).min() > 0.9)
True

Names are imported when they are used: ``import pear`` loads no other package.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pear.client import AsyncClient, Client, connect, connect_async
    from pear.datasets.latlon import to_latlon
    from pear.datasets.regrid import regrid
    from pear.datasets.sample import sample_analysis
    from pear.errors import InputError
    from pear.evaluation import evaluate
    from pear.model import Model, load_model
    from pear.models.compiled import compile_model as compile  # noqa: A004 - as torch.compile
    from pear.plotting import plot
    from pear.rollout import ClimatologyForecaster, Ensemble, Persistence
    from pear.state import State
    from pear.store.climatology import Climatology
    from pear.store.reader import open_analysis, open_climatology, open_forecast
    from pear.variables import VARIABLES, Layout, variable

    __version__: str

_EXPORTS = {
    "AsyncClient": "pear.client",
    "Client": "pear.client",
    "Climatology": "pear.store.climatology",
    "ClimatologyForecaster": "pear.rollout",
    "Ensemble": "pear.rollout",
    "InputError": "pear.errors",
    "Layout": "pear.variables",
    "Model": "pear.model",
    "Persistence": "pear.rollout",
    "State": "pear.state",
    "VARIABLES": "pear.variables",
    "compile": "pear.models.compiled:compile_model",
    "connect": "pear.client",
    "connect_async": "pear.client",
    "evaluate": "pear.evaluation",
    "load_model": "pear.model",
    "open_analysis": "pear.store.reader",
    "open_climatology": "pear.store.reader",
    "open_forecast": "pear.store.reader",
    "plot": "pear.plotting",
    "regrid": "pear.datasets.regrid",
    "sample_analysis": "pear.datasets.sample",
    "to_latlon": "pear.datasets.latlon",
    "variable": "pear.variables",
}
"""Public name to its module, ``module:name`` where they differ."""
_MODULES = (
    "client",
    "datasets",
    "equivariant",
    "metrics",
    "models",
    "plotting",
    "resources",
    "rollout",
    "sphere",
    "store",
    "training",
)

__all__ = [
    "VARIABLES",
    "AsyncClient",
    "Client",
    "Climatology",
    "ClimatologyForecaster",
    "Ensemble",
    "InputError",
    "Layout",
    "Model",
    "Persistence",
    "State",
    "__version__",
    "compile",
    "connect",
    "connect_async",
    "evaluate",
    "load_model",
    "open_analysis",
    "open_climatology",
    "open_forecast",
    "plot",
    "regrid",
    "sample_analysis",
    "to_latlon",
    "variable",
]


def _find_version() -> str:
    # importlib.metadata takes longer to import than the rest of this module.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pear-weather")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"pear.{name}")
    if name == "__version__":
        globals()[name] = number = _find_version()
        return number
    if name not in _EXPORTS:
        raise AttributeError(f"module 'pear' has no attribute {name!r}")
    module, _, own = _EXPORTS[name].partition(":")
    found: object = getattr(import_module(module), own or name)
    if "xarray" in sys.modules:
        import_module("pear.accessor")  # Datasets that this name makes have ``.pear``
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})


if "xarray" in sys.modules:
    import_module("pear.accessor")
