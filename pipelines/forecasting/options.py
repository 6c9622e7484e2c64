"""What may be asked of a forecast beyond model, init time and length; checked, in one form.

Whatever is left at its default is left out, so that the same wish is the same run however it was
written.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from pear.errors import InputError, did_you_mean
from pear.variables import BY_NAME, Layout, parse_field, variable

Precision = Literal["float32", "bfloat16"]


Source = Literal["noise", "orbit"]


MOST_MEMBERS: Final = 100


_MOST_THRESHOLDS: Final = 20


@dataclass(frozen=True)
class ForecastOptions:
    """Settings of a forecast.

    Attributes
    ----------
    analysis
        Name of the store with the initial state.
    variables, levels, leads
        What is kept: canonical names, hPa, hours; None keeps everything. The initial state is
        kept at lead 0 if ``leads`` is None or names it.
    precision
        ``bfloat16`` computes the network's products in it and keeps the state in float32.
    symmetrise
        Average each step over the eight symmetries of the grid.
    members
        Size of an ensemble of noise; its first member is unperturbed. None: no ensemble.
    source
        Of the ensemble: ``noise`` perturbs the initial state; ``orbit`` moves it through the eight
        symmetries of the grid and back.
    seed
        Of the noise.
    amplitude
        Standard deviation of the noise, in units of each channel's change over one model step:
        one number, or one for each variable that is to be perturbed.
    length_km
        Correlation length of the noise along the sphere.
    perturb_steps
        Add noise not to the initial state alone but anew before every step: a network errs in each.
    models
        Further checkpoints that take part as members.
    quantiles
        Kept beside the ensemble's mean and spread, in per cent.
    exceedance
        Thresholds as ``t2m>303.15`` or ``z500>54000``: the share of members above each is kept.
    keep_members
        Whether each member's own forecast is kept.
    """

    analysis: str | None = None
    variables: tuple[str, ...] | None = None
    levels: tuple[int, ...] | None = None
    leads: tuple[int, ...] | None = None
    precision: Precision = "float32"
    symmetrise: bool = False
    members: int | None = None
    source: Source = "noise"
    seed: int = 0
    amplitude: float | Mapping[str, float] = 0.1
    length_km: float = 1000.0
    perturb_steps: bool = False
    models: tuple[str, ...] = ()
    quantiles: tuple[int, ...] = ()
    exceedance: tuple[str, ...] = ()
    keep_members: bool = False

    def __post_init__(self) -> None:
        for name, known in (("precision", get_args(Precision)), ("source", get_args(Source))):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name} {getattr(self, name)!r} is unknown",
                    field=name,
                    hint="known: " + ", ".join(known),
                )
        if self.variables is not None:
            names = sorted({variable(name).name for name in self.variables})
            self._set("variables", tuple(names))
        for name in ("levels", "leads", "quantiles"):
            given = getattr(self, name)
            if given is not None:
                self._set(name, tuple(sorted({_whole(name, item) for item in given})))
        for name in ("variables", "levels", "leads"):
            if getattr(self, name) == ():
                raise InputError(f"{name} is empty", field=name, hint="leave it out to keep all")
        if len(self.exceedance) > _MOST_THRESHOLDS:
            raise InputError(
                f"{len(self.exceedance)} thresholds, at most {_MOST_THRESHOLDS}", field="exceedance"
            )
        thresholds = sorted({Threshold.parse(text) for text in self.exceedance})
        self._set("exceedance", tuple(each.text for each in thresholds))
        self._check_noise()
        self._check_ensemble()

    def _check_noise(self) -> None:
        given = self.amplitude
        if isinstance(given, Mapping):
            given = {variable(name).name: _number(value) for name, value in sorted(given.items())}
            self._set("amplitude", given)
        sizes = list(given.values()) if isinstance(given, Mapping) else [_number(given)]
        if not sizes or not all(0 < size <= 10 for size in sizes):
            raise InputError(f"noise of amplitude {given} is outside 0…10", field="amplitude")
        if not 100 <= _number(self.length_km, "length_km") <= 20_000:
            raise InputError(
                f"noise of length {self.length_km} km is outside 100…20000 km", field="length_km"
            )

    def _check_ensemble(self) -> None:
        if self.members is not None and not 2 <= _whole("members", self.members) <= MOST_MEMBERS:
            raise InputError(
                f"{self.members} members are no ensemble",
                field="members",
                hint=f"ask for 2 to {MOST_MEMBERS}",
            )
        if self.source == "orbit" and self.members is not None:
            raise InputError(
                "an orbit has the eight members of the symmetry group",
                field="members",
                hint="leave members out with source=orbit",
            )
        if self.perturb_steps and self.members is None:
            raise InputError(
                "only members can be perturbed at every step",
                field="perturb_steps",
                hint="ask for members as well",
            )
        if any(not 0 < q < 100 for q in self.quantiles):
            raise InputError(f"quantiles {self.quantiles} must lie in 1…99", field="quantiles")
        if (self.quantiles or self.exceedance or self.keep_members) and not self.ensemble:
            raise InputError(
                "one forecast has no quantiles, no probabilities and no members",
                field="members",
                hint="ask for members as well",
            )

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """Thresholds whose exceedance is kept, in their order."""
        return tuple(Threshold.parse(text) for text in self.exceedance)

    def amplitude_of(self, name: str) -> float:
        """Amplitude of the noise of a variable; 0 if it is not perturbed."""
        if isinstance(self.amplitude, Mapping):
            return float(self.amplitude.get(name, 0.0))
        return float(self.amplitude)

    @property
    def ensemble(self) -> bool:
        """Whether more than one forecast is made of the initial state."""
        return self.members is not None or self.source == "orbit" or bool(self.models)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ForecastOptions:
        """Read options as JSON holds them.

        Raises
        ------
        InputError
            If an option is unknown or its value makes no sense.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        chosen: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                raise InputError(
                    f"unknown option {name!r}", field=name, hint=did_you_mean(name, known)
                )
            if value is not None:
                chosen[name] = tuple(value) if isinstance(value, list | tuple) else value
        if chosen.get("members") == 1:
            del chosen["members"]  # one member is the forecast itself
        return cls(**chosen)

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from the defaults, as JSON can hold it."""
        return {
            item.name: list(value) if isinstance(value, tuple) else value
            for item in dataclasses.fields(self)
            for value in (getattr(self, item.name),)
            if value != item.default
        }

    def check_fits(self, full: Layout, total: int, step_hours: int) -> None:
        """Raise InputError if a model with these channels and steps lacks what is asked for."""
        self.layout(full)
        self.kept_steps(total, step_hours)
        for threshold in self.thresholds:
            threshold.layout(full)
        for name in self.amplitude if isinstance(self.amplitude, Mapping) else ():
            if name not in full.names:
                raise InputError(
                    f"the model has no {name}",
                    field="amplitude",
                    hint=did_you_mean(name, full.names),
                )

    def layout(self, full: Layout) -> Layout:
        """Choose from a model's channels what is to be kept.

        Raises
        ------
        InputError
            If a variable or level is none of the model's.
        """
        for name in self.variables or ():
            if name not in full.names:
                raise InputError(
                    f"the model has no {name}",
                    field="variables",
                    hint=did_you_mean(name, full.names),
                )
        for level in self.levels or ():
            if level not in full.levels:
                raise InputError(
                    f"the model has no level {level} hPa",
                    field="levels",
                    hint="it has " + ", ".join(map(str, full.levels)),
                )
        wanted = self.variables or full.names
        upper = tuple(name for name in full.upper if name in wanted)
        levels = tuple(level for level in full.levels if level in (self.levels or full.levels))
        surface = tuple(name for name in full.surface if name in wanted)
        return Layout(surface, upper, levels if upper else ())

    def kept_steps(self, total: int, step_hours: int) -> tuple[int, ...]:
        """Steps that are kept, lead 0 being the initial state.

        Raises
        ------
        InputError
            If a lead is none of the forecast's.
        """
        if self.leads is None:
            return tuple(range(total + 1))
        for lead in self.leads:
            if lead % step_hours or not 0 <= lead <= total * step_hours:
                raise InputError(
                    f"lead {lead} h is none of the forecast's",
                    field="leads",
                    hint=f"it goes to {total * step_hours} h in steps of {step_hours} h",
                )
        return tuple(lead // step_hours for lead in self.leads)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def _number(value: Any, name: str = "amplitude") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} {value!r} is no number", field=name)
    return float(value)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or int(value) != value:
        raise InputError(f"{name} {value!r} is no whole number", field=name)
    return int(value)


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
