"""Options of a forecast beyond model, init time and length: one model for every interface.

The HTTP request inherits :class:`ForecastOptions`, the command line and schedules pass
dictionaries, the catalog stores :meth:`ForecastOptions.to_dict`. Default values are omitted, so
that equivalent requests map to the same run id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    WithJsonSchema,
    model_validator,
)

from pear.counterfactual.event import MAX_LENGTH, Event, parse_event, split_condition
from pear.derived import Derived, find_derived, parse_quantity
from pear.errors import InputError, did_you_mean
from pear.models.ensemble_defaults import (
    DEFAULT_FIELD_SCALE,
    DEFAULT_PERTURB_STEPS,
    DEFAULT_SCALE,
)
from pear.typing import Channel
from pear.variables import Layout, ProbabilityLayout, variable, wind_partner
from pipelines.catalog.identity import RENAMED_OPTIONS
from pipelines.faults import shorten
from pipelines.settings import Name, Number, StoreName, StrictModel, Whole, validate

MAX_MEMBERS: Final = 100
MAX_STEPS: Final = 1000
"""Longest forecast that is accepted; a longer one is likelier a typing error."""
MIN_PAST_TIMES: Final = 20
"""Analysis times before the init time that random field perturbations need."""

_MAX_THRESHOLD: Final = 64

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Threshold:
    """A field and a value; the probability that the field exceeds the value is kept.

    Attributes
    ----------
    variable
        Canonical name, of a variable of the model or of a quantity that is derived from them.
    level
        hPa; 0 for surface variables, so that thresholds have an order.
    value
        In the units of the variable.
    """

    variable: str
    level: int
    value: float

    @classmethod
    def from_text(cls, text: str) -> Threshold:
        """Parse ``FIELD>VALUE``, with the field as in ``t2m``, ``z500`` or ``ws10``.

        Returns
        -------
        Threshold
            With the canonical name of the variable.

        Raises
        ------
        InputError
            If the text has another form, an upper-air variable lacks its level, or the field is a
            direction.
        """
        hint = "write e.g. t2m>303.15, z500>54000 or ws10>20, in the units of the variable"
        try:
            name, given = split_condition(text)
        except InputError as error:
            raise InputError(
                f"invalid threshold {text!r}", field="thresholds", hint=hint
            ) from error
        if given.deviations or not given.above:
            raise InputError(f"invalid threshold {text!r}", field="thresholds", hint=hint)
        found, level = parse_quantity(name)
        if find_derived(found.name) is not None and found.units == "degree":
            raise InputError(
                f"threshold {text!r}: {found.name} is an angle, of which none is above another",
                field="thresholds",
                hint="keep the members (keep_members) and count directions among them",
            )
        if found.kind == "upper" and level is None:
            raise InputError(f"threshold {text!r} lacks a level", field="thresholds", hint=hint)
        return cls(found.name, level or 0, given.value)

    @property
    def text(self) -> str:
        """Canonical form, such as ``temperature@850>273.15``."""
        level = f"@{self.level}" if self.level else ""
        return f"{self.variable}{level}>{self.value:.10g}"

    @property
    def description(self) -> str:
        """Description for people, such as ``air temperature at 2 m above 303.15 K``."""
        row = variable(self.variable)
        name = f"{row.long_name[0].lower()}{row.long_name[1:]}"
        where = f" at {self.level} hPa" if self.level else ""
        return f"{name}{where} above {self.value:.10g} {row.units}"

    def layout(self, full: Layout) -> Layout:
        """Return the layout of this field alone.

        Parameters
        ----------
        full
            Channels of the model.

        Returns
        -------
        Layout
            One channel.

        Raises
        ------
        InputError
            If the model does not forecast the field, or what it is derived from.
        """
        name = self.text.partition(">")[0]
        for part, level in self.parts:
            if (part, level) in full.channels:
                continue
            needed = part if level is None else f"{part}@{level}"
            why = "" if needed == name else f", from which {name} is derived"
            raise InputError(
                f"the model does not forecast {needed}{why}",
                field="thresholds",
                hint="it has "
                + ", ".join(full.names)
                + (f"; levels: {', '.join(map(str, full.levels))}" if full.levels else ""),
            )
        kind = Layout if self.derived is None else ProbabilityLayout
        if self.level:
            return kind((), (self.variable,), (self.level,))
        return kind((self.variable,), (), ())

    @property
    def derived(self) -> Derived | None:
        """How the field is derived from others; None for a variable of the model."""
        return find_derived(self.variable)

    @property
    def parts(self) -> tuple[Channel, ...]:
        """Variable and level of each field of the model that is needed."""
        level = self.level or None
        found = self.derived
        return ((self.variable, level),) if found is None else found.channels(level)


def _as_threshold(value: object) -> Threshold:
    if isinstance(value, Threshold):
        return value
    if not isinstance(value, str) or len(value) > _MAX_THRESHOLD:
        raise ValueError(f"{shorten(value)} is not text of up to {_MAX_THRESHOLD} letters")
    return Threshold.from_text(value)


def _as_event(value: object) -> Event:
    if isinstance(value, Event):
        return value
    if isinstance(value, str):
        return parse_event(value)
    raise ValueError(f"{shorten(value)} is not text")


def _sorted_unique(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(sorted(set(values)))  # type: ignore[type-var]


def _canonical_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return _sorted_unique(variable(name).name for name in names)


def _several(members: int | None) -> int | None:
    """Read one member as a single forecast."""
    return None if members == 1 else members


def _canonical_scale(
    scale: float | Mapping[str, float],
) -> float | dict[str, float]:
    if not isinstance(scale, Mapping):
        return scale
    try:
        return {variable(name).name: size for name, size in sorted(scale.items())}
    except InputError as error:
        raise InputError(error.message, field="perturbation_scale", hint=error.hint) from error


Precision = Literal["float32", "bfloat16"]
EnsembleKind = Literal["noise", "random_field", "symmetry", "augmented"]
Scale = Annotated[Number, Field(gt=0, le=10, allow_inf_nan=False)]
ThresholdText = Annotated[
    Threshold,
    PlainValidator(_as_threshold),
    PlainSerializer(lambda threshold: threshold.text, return_type=str),
    WithJsonSchema({"type": "string", "maxLength": _MAX_THRESHOLD, "examples": ["t2m>303.15"]}),
]


EventText = Annotated[
    Event,
    PlainValidator(_as_event),
    PlainSerializer(lambda event: event.text, return_type=str),
    WithJsonSchema(
        {"type": "string", "maxLength": MAX_LENGTH, "examples": ["t2m>305 at 59.3,18.1 day 3"]}
    ),
]


class ForecastOptions(StrictModel):
    """Options of a forecast, validated and in canonical form."""

    analysis: StoreName | None = Field(
        default=None,
        description="Analysis store of the initial state (default: first that holds it).",
    )
    variables: (
        Annotated[
            tuple[Name, ...],
            Field(min_length=1, max_length=64),
            AfterValidator(_canonical_names),
        ]
        | None
    ) = Field(
        default=None,
        description="Variables to keep, names or aliases (default: all).",
    )
    levels: (
        Annotated[
            tuple[Whole, ...],
            Field(min_length=1, max_length=64),
            AfterValidator(_sorted_unique),
        ]
        | None
    ) = Field(default=None, description="Levels to keep, hPa (default: all).")
    leads: (
        Annotated[
            tuple[Whole, ...],
            Field(min_length=1, max_length=MAX_STEPS + 1),
            AfterValidator(_sorted_unique),
        ]
        | None
    ) = Field(
        default=None,
        description="Lead times to keep, hours; 0 is the initial state (default: all).",
    )
    precision: Precision = Field(
        default="float32",
        description="Precision of the network's products; the state stays float32.",
    )
    allow_other_climate: StrictBool = Field(
        default=False,
        description="Forecast from a state of another climate than that of the model's training "
        "data, such as observations with a model of the simulated atmosphere; outputs say so.",
    )
    symmetrise: StrictBool = Field(
        default=False, description="Average each step over the eight symmetries of the grid."
    )
    correction: StrictBool = Field(
        default=True,
        description="Apply the correction stored with the model after each step (filter of the "
        "smallest scales, mean error, humidity at or above 0); false runs the network alone.",
    )
    ensemble: EnsembleKind = Field(
        default="noise",
        description="Origin of the ensemble members: correlated noise, random field perturbations "
        "(differences of past states), the symmetries of the grid that the model does not keep, or "
        "models trained with these as augmentation, whose mean has them as members are added.",
    )
    members: Annotated[
        Annotated[Whole, Field(ge=1, le=MAX_MEMBERS)] | None, AfterValidator(_several)
    ] = Field(
        default=None,
        description="Perturbed members per model, the first of them unperturbed (default: a "
        "single forecast).",
    )
    models: tuple[Name, ...] = Field(
        default=(), max_length=16, description="Further models whose forecasts are members too."
    )
    seed: Whole = Field(
        default=0, ge=0, le=2**53 - 1, description="Random seed of the perturbations."
    )
    perturbation_scale: (
        Annotated[
            Scale | Annotated[dict[Name, Scale], Field(min_length=1, max_length=64)],
            AfterValidator(_canonical_scale),
        ]
        | None
    ) = Field(
        default=None,
        description="Standard deviation of the perturbations (default: 0.3 for noise, 0.1 for "
        "random fields). Noise: in units of each channel's "
        "change over one step, one number or one for each variable to perturb. Random fields: in "
        "units of the climatological spread.",
    )
    length_km: Number = Field(
        default=1000.0, ge=100, le=20_000, description="Correlation length of the noise, km."
    )
    perturb_steps: StrictBool | None = Field(
        default=None,
        description="Perturb the members before every step, not at the start alone (default: "
        "true for noise, which is nearly calibrated so).",
    )
    quantiles: Annotated[
        tuple[Annotated[Whole, Field(ge=1, le=99)], ...], AfterValidator(_sorted_unique)
    ] = Field(default=(), max_length=99, description="Quantiles of the ensemble to keep, per cent.")
    thresholds: Annotated[tuple[ThresholdText, ...], AfterValidator(_sorted_unique)] = Field(
        default=(),
        max_length=20,
        description="Thresholds such as `t2m>303.15` or, of a derived quantity, `ws10>20`; the "
        "probability of exceeding each is kept as `p00`, `p01`, ….",
    )
    keep_members: StrictBool = Field(default=False, description="Keep the forecast of each member.")
    counterfactual: EventText | None = Field(
        default=None,
        description="Forecast from the smallest change of the initial state, along the chart of "
        "the model's climate, that brings this event, such as `t2m>305 at 59.3,18.1 day 3`; the "
        "forecast from the state itself is made too.",
    )
    chart: Annotated[str, Field(max_length=12, pattern="^[0-9a-f]{12}$")] | None = Field(
        default=None, description="Id of that chart (default: the model's)."
    )

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, given: object) -> object:
        """Refuse former names and read None as the default."""
        if not isinstance(given, Mapping):
            return given
        for old, new in RENAMED_OPTIONS.items():
            if old in given:
                raise InputError(f"{old!r} is now called {new!r}", field=old)
        return {name: value for name, value in given.items() if value is not None}

    @model_validator(mode="after")
    def _check_ensemble(self) -> Self:
        if self.ensemble == "symmetry" and self.members is not None:
            raise InputError(
                "a symmetry ensemble has one member for each symmetry that its model does not keep",
                field="members",
                hint="leave members out with ensemble=symmetry",
            )
        if self.ensemble == "augmented":
            self._check_augmented()
        self._check_counterfactual()
        needs = "perturb_steps" if self.perturb_steps else None
        if self.ensemble == "random_field":
            needs = "ensemble=random_field"
            if isinstance(self.perturbation_scale, dict):
                raise InputError(
                    "random field perturbations have one scale for all variables",
                    field="perturbation_scale",
                )
        if needs is not None and self.members is None:
            raise InputError(
                f"{needs} needs members", field=needs.partition("=")[0], hint="set members as well"
            )
        for name in ("quantiles", "thresholds", "keep_members"):
            if getattr(self, name) and not self.is_ensemble:
                raise InputError(
                    f"{name} needs an ensemble", field=name, hint="set members as well"
                )
        if self.members is not None:
            self._fill_perturbation()
        return self

    def _check_augmented(self) -> None:
        if self.members is not None:
            raise InputError(
                "an ensemble of augmented models has one member for each model",
                field="members",
                hint="leave members out with ensemble=augmented",
            )
        if not self.models:
            raise InputError(
                "ensemble=augmented needs further models, trained with other seeds",
                field="models",
                hint="name them, or use symmetrise with one model",
            )

    def _check_counterfactual(self) -> None:
        if self.counterfactual is None:
            if self.chart is not None:
                raise InputError("a chart needs a counterfactual", field="chart")
            return
        for name, unfit in (
            ("members", self.is_ensemble),
            ("precision", self.precision != "float32"),
        ):
            if unfit:
                raise InputError(
                    "a counterfactual is of a single forecast in float32",
                    field=name,
                    hint="leave out members, models, ensemble and precision",
                )

    def _fill_perturbation(self) -> None:
        """Write down the default perturbation, so that a stored run says which one it has."""
        noise = self.ensemble == "noise"
        if self.perturbation_scale is None:
            scale = DEFAULT_SCALE if noise else DEFAULT_FIELD_SCALE
            object.__setattr__(self, "perturbation_scale", scale)
        if self.perturb_steps is None:
            object.__setattr__(self, "perturb_steps", noise and DEFAULT_PERTURB_STEPS)

    @property
    def is_ensemble(self) -> bool:
        """True if several forecasts are made from the initial state."""
        return self.members is not None or self.ensemble == "symmetry" or bool(self.models)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Read options from JSON; former names are accepted, as stored runs hold them.

        Parameters
        ----------
        given
            Option names and values; None means the default.

        Returns
        -------
        ForecastOptions
            In canonical form; InputError names an unknown option or an invalid value.
        """
        return validate(cls, cls.rename(given))

    @staticmethod
    def rename(given: Mapping[str, Any]) -> dict[str, Any]:
        """Return options by their present names, as stored runs may hold former ones."""
        renamed = {RENAMED_OPTIONS.get(name, name): value for name, value in given.items()}
        if renamed.get("ensemble") == "orbit":
            renamed["ensemble"] = "symmetry"
        return renamed

    def to_dict(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, as JSON can hold them."""
        return self.model_dump(
            mode="json", exclude_defaults=True, include=set(ForecastOptions.model_fields)
        )

    def check_fits(self, full: Layout, total: int, step_hours: int) -> None:
        """Check that a model has the channels and lead times of the options, else InputError.

        Parameters
        ----------
        full
            Channels of the model.
        total
            Steps of the forecast.
        step_hours
            Time step of the model.
        """
        self.layout(full)
        self.kept_steps(total, step_hours)
        for threshold in self.thresholds:
            threshold.layout(full)
        if self.counterfactual is not None:
            self.counterfactual.check_fits(full).lead(total * step_hours, step_hours)
        if isinstance(self.perturbation_scale, dict):
            _check_known("perturbation_scale", self.perturbation_scale, full)

    def layout(self, full: Layout) -> Layout:
        """Return the channels to keep.

        Parameters
        ----------
        full
            Channels of the model.

        Returns
        -------
        Layout
            Part of ``full``. A wind is kept whole: one component alone could not be interpolated.

        Raises
        ------
        InputError
            If the model lacks a variable or a level.
        """
        _check_known("variables", self.variables or (), full)
        for level in self.levels or ():
            if level not in full.levels:
                raise InputError(
                    f"the model has no level {level} hPa",
                    field="levels",
                    hint="it has " + ", ".join(map(str, full.levels)),
                )
        wanted = {*(self.variables or full.names)}
        wanted |= {partner for name in wanted if (partner := wind_partner(name)) is not None}
        upper = tuple(name for name in full.upper if name in wanted)
        levels = tuple(level for level in full.levels if level in (self.levels or full.levels))
        surface = tuple(name for name in full.surface if name in wanted)
        return Layout(surface, upper, levels if upper else ())

    def kept_steps(self, total: int, step_hours: int) -> tuple[int, ...]:
        """Return the steps to keep; step 0 is the initial state.

        Parameters
        ----------
        total
            Steps of the forecast.
        step_hours
            Time step of the model.

        Returns
        -------
        tuple of int
            Increasing.

        Raises
        ------
        InputError
            If a lead time is not reached by a step.
        """
        if self.leads is None:
            return tuple(range(total + 1))
        for lead in self.leads:
            if lead % step_hours or not 0 <= lead <= total * step_hours:
                raise InputError(
                    f"lead time {lead} h is not a step of the forecast",
                    field="leads",
                    hint=f"it goes to {total * step_hours} h in steps of {step_hours} h",
                )
        return tuple(lead // step_hours for lead in self.leads)


def _check_known(option: str, names: Iterable[str], full: Layout) -> None:
    for name in names:
        if name not in full.names:
            raise InputError(
                f"the model has no variable {name!r}",
                field=option,
                hint=did_you_mean(name, full.names),
            )
