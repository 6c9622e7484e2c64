"""What a request of the OGC interfaces is about: a run, or an analysis or climatology."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pear.times import to_iso
from pipelines.catalog import Model, Run
from service.api.schemas import format_utc
from service.http.disclaimer import DISCLAIMER
from service.http.response_cache import Versioned
from service.readers.forecasts import ForecastReader, ForecastStore
from service.readers.label import Label
from service.readers.nature import Nature
from service.readers.ogc.selection import Layer
from service.readers.serialisers import grid_of, run_header
from service.readers.series import LABEL_YEAR, SeriesStore

PREFIX: Final = "/ogc"
MOST_FIELDS: Final = 4000
"""Fields of an analysis or climatology that one answer may be read from."""


def describe_nature(nature: Nature) -> str:
    """Return what has to be known of a run, in sentences."""
    return nature.describe() + DISCLAIMER


@dataclass(frozen=True)
class Target(ABC):
    """What a request is about.

    Attributes
    ----------
    reader, store
        The reader of its fields, and its store.
    nature
        What it is, besides its times and its statistic.
    label
        What the values are: atmosphere, and statistic of an ensemble.
    pinned
        True if the request names what never changes, False for the newest run or a store.
    """

    reader: ForecastReader
    store: ForecastStore
    nature: Nature
    label: Label
    pinned: bool

    @property
    @abstractmethod
    def collection(self) -> str:
        """Id of the collection."""

    @property
    @abstractmethod
    def version(self) -> Versioned:
        """What answers are kept by."""

    @property
    @abstractmethod
    def words(self) -> tuple[str, ...]:
        """Everything that has to be said of the values, in words."""

    @property
    @abstractmethod
    def collection_title(self) -> str:
        """Title of the collection, with whether the atmosphere is simulated."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Title of answers."""

    @property
    @abstractmethod
    def path(self) -> str:
        """Path below which the queries of this target are."""

    @property
    @abstractmethod
    def source(self) -> str:
        """Whom a map names."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is, in sentences."""

    @property
    @abstractmethod
    def described_by(self) -> tuple[str, str]:
        """Path and title of what else describes the collection."""

    @abstractmethod
    def header(self) -> dict[str, Any]:
        """Return what every answer says of it."""

    @abstractmethod
    def layer_headers(self, layer: Layer) -> dict[str, str]:
        """Return the HTTP headers of a picture of one field."""


@dataclass(frozen=True)
class RunTarget(Target):
    """A finished run, or a statistic of its ensemble.

    Attributes
    ----------
    model, run
        Model and run.
    statistic
        Statistic of the ensemble; None for the run itself.
    """

    model: Model
    run: Run
    statistic: str | None = None

    @property
    def collection(self) -> str:
        """Id of the collection: that of the model, with the statistic."""
        return self.model.id if self.statistic is None else f"{self.model.id}.{self.statistic}"

    @property
    def version(self) -> Versioned:
        """The run."""
        return self.run

    @property
    def words(self) -> tuple[str, ...]:
        """Everything that has to be said of the values, in words."""
        if self.statistic is None:
            return self.nature.words
        return (self.label.statistic, *self.nature.words)

    @property
    def collection_title(self) -> str:
        """Title of the collection: model, statistic, and whether the atmosphere is simulated."""
        words = f"PEAR forecasts by {self.model.name}"
        words += "" if self.statistic is None else f", {self.label.statistic}"
        return f"{words}, {self.nature.atmosphere}" if self.nature.simulated else words

    @property
    def title(self) -> str:
        """Model, init time, and whether it is of a simulated atmosphere."""
        init = to_iso(self.run.init_time)[:16].replace("T", " ")
        words = f"PEAR forecast by {self.model.name} from {init} UTC"
        return ", ".join((words, *self.words))

    @property
    def path(self) -> str:
        """Path of the run as an instance of its collection."""
        return f"{PREFIX}/collections/{self.collection}/instances/{self.run.id}"

    @property
    def source(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def description(self) -> str:
        """Id of the run, and its nature."""
        return f"Run {self.run.id}. {describe_nature(self.nature)}"

    @property
    def described_by(self) -> tuple[str, str]:
        """The model."""
        return f"/v1/models/{self.model.id}", "The model"

    def header(self) -> dict[str, Any]:
        """Return what every answer says of the run."""
        created = str(format_utc(self.run.created_at))
        header = run_header(self.store, self.run.model, created, self.label)
        return {"title": self.title, **header}

    def layer_headers(self, layer: Layer) -> dict[str, str]:
        """Return run, model, times and what the values are."""
        return run_headers(self.run, self.store, self.label, layer)


def run_headers(run: Run, store: ForecastStore, label: Label, layer: Layer) -> dict[str, str]:
    """Return the HTTP headers of a picture of one field of a run."""
    return {
        "PEAR-Run": run.id,
        "PEAR-Model": run.model,
        "PEAR-Init-Time": to_iso(store.init_time),
        "PEAR-Lead-Hours": str(layer.lead_hours),
        **_field_headers(store, label, layer),
    }


def _field_headers(store: ForecastStore, label: Label, layer: Layer) -> dict[str, str]:
    valid = to_iso(store.valid_times[store.lead_index(layer.lead_hours)])
    found = {"PEAR-Variable": layer.variable, "PEAR-Valid-Time": valid}
    if layer.level is not None:
        found["PEAR-Level"] = str(layer.level)
    return {**found, **label.headers()}


@dataclass(frozen=True)
class _State:
    """A store in one state."""

    id: str
    finished_at: datetime | None


@dataclass(frozen=True)
class StoreTarget(Target):
    """An analysis or climatology, whose collection has no instances.

    Attributes
    ----------
    series
        The store, again.
    store_title
        Title that the store has.
    """

    series: SeriesStore
    store_title: str

    @classmethod
    def of(
        cls, reader: ForecastReader, series: SeriesStore, nature: Nature, store_title: str
    ) -> StoreTarget:
        """Return a store as a target."""
        statistic = ""
        if series.period is not None:
            first, last = (time[:10] for time in series.period)
            statistic = f"mean of {first} to {last} on this day of the year"
        label = Label(nature.kind, statistic)
        return cls(
            reader, series, nature, label, pinned=False, series=series, store_title=store_title
        )

    @property
    def collection(self) -> str:
        """``analysis.NAME`` or ``climatology.NAME``."""
        return f"{self.series.served.kind}.{self.series.served.name}"

    @property
    def version(self) -> Versioned:
        """The store in its present state."""
        return _State(self.series.run, self.series.changed_at)

    @property
    def words(self) -> tuple[str, ...]:
        """Everything that has to be said of the values, in words."""
        statistic = (self.label.statistic,) if self.label.statistic else ()
        return (*statistic, *self.nature.words)

    @property
    def collection_title(self) -> str:
        """Kind and name, and whether the atmosphere is simulated."""
        words = f"PEAR {self.series.what}"
        return f"{words}, {self.nature.atmosphere}" if self.nature.simulated else words

    @property
    def title(self) -> str:
        """Kind and name, and what the values are."""
        return ", ".join((f"PEAR {self.series.what}", *self.words))

    @property
    def path(self) -> str:
        """Path of the collection."""
        return f"{PREFIX}/collections/{self.collection}"

    @property
    def source(self) -> str:
        """Kind and name."""
        return self.series.what

    @property
    def description(self) -> str:
        """Title of the store, what its dates mean, and its nature."""
        words = f"{self.store_title}. {self.collection_title}. "
        if self.series.period is not None:
            words += f"The year {LABEL_YEAR} of the dates stands for any year. "
        return words + describe_nature(self.nature)

    @property
    def described_by(self) -> tuple[str, str]:
        """The store."""
        served = self.series.served
        return f"/v1/stores/{served.kind}/{served.name}", "The store"

    def header(self) -> dict[str, Any]:
        """Return what every answer says of the store."""
        served = self.series.served
        period = {} if self.series.period is None else {"period": "/".join(self.series.period)}
        return {
            "title": self.title,
            served.kind: served.name,
            **period,
            "updated_at": str(format_utc(self.series.changed_at)),
            "grid": grid_of(self.store),
            **self.label.fields(),
            "note": DISCLAIMER,
        }

    def layer_headers(self, layer: Layer) -> dict[str, str]:
        """Return the store, the time and what the values are."""
        named = {"PEAR-Store": f"{self.series.served.kind}/{self.series.served.name}"}
        return {**named, **_field_headers(self.store, self.label, layer)}
