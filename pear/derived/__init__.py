"""Quantities derived from stored variables: winds, humidity, temperatures, thickness, vorticity."""

from pear.derived.dataset import derive
from pear.derived.quantities import Derived, find_derived, parse_quantity, require_derivable

__all__ = ["Derived", "derive", "find_derived", "parse_quantity", "require_derivable"]
