"""Thresholds whose exceedance by an ensemble is asked for, such as ``t2m>303.15``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pear.errors import InputError
from pear.variables import BY_NAME, Layout, parse_field


@dataclass(frozen=True, order=True)
class Threshold:
    """One field and a value.

    Attributes
    ----------
    variable
        Canonical name.
    level
        hPa; 0 for surface variables, so that thresholds have an order.
    value
        In the variable's unit.
    """

    variable: str
    level: int
    value: float

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """Read ``FIELD>VALUE``, the field as in ``t2m`` or ``z500``.

        Raises
        ------
        InputError
            If it is none, or an upper-air variable lacks its level.
        """
        name, sign, number = str(text).partition(">")
        hint = "write t2m>303.15 or z500>54000, in the variable's own unit"
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not sign or not math.isfinite(value):
            raise InputError(f"exceedance {text!r} is no threshold", field="exceedance", hint=hint)
        found, level = parse_field(name.strip())
        if found.kind == "upper" and level is None:
            raise InputError(f"exceedance {text!r} names no level", field="exceedance", hint=hint)
        return cls(found.name, level or 0, value)

    @property
    def text(self) -> str:
        """The one form in which it is kept: ``temperature@850>273.15``."""
        level = f"@{self.level}" if self.level else ""
        return f"{self.variable}{level}>{self.value:.10g}"

    @property
    def words(self) -> str:
        """What is asked, for people."""
        row = BY_NAME[self.variable]
        name = f"{row.long_name[0].lower()}{row.long_name[1:]}"
        where = f" at {self.level} hPa" if self.level else ""
        return f"{name}{where} above {self.value:.10g} {row.units}"

    def layout(self, full: Layout) -> Layout:
        """Layout of this field alone.

        Raises
        ------
        InputError
            If the model does not have it.
        """
        if (self.variable, self.level or None) not in full.channels:
            raise InputError(
                f"the model does not forecast {self.text.partition('>')[0]}",
                field="exceedance",
                hint="levels: " + ", ".join(map(str, full.levels)),
            )
        if self.level:
            return Layout((), (self.variable,), (self.level,))
        return Layout((self.variable,), (), ())
