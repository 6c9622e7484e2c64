"""PEAR: weather forecasting on HEALPix with equivariant windowed attention."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("pear-weather")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
