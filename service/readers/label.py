"""What an answer with values says of them: a simulated atmosphere, a statistic of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass

from pear.derived import find_derived
from pear.variables import BY_NAME, PROBABILITY
from pipelines.catalog import Run
from pipelines.storage.data_folder import DataFolder
from service.readers.forecasts import ForecastStore
from service.readers.nature import Nature, nature_of


@dataclass(frozen=True)
class Label:
    """What the values of an answer are.

    Attributes
    ----------
    atmosphere
        ``simulated atmosphere, not observed``; empty for the observed one.
    statistic
        ``mean of 4 members``; empty for a single forecast.
    is_probability
        True if the values are probabilities of what the statistic names, not of the variable.
    """

    atmosphere: str = ""
    statistic: str = ""
    is_probability: bool = False

    @classmethod
    def of(cls, nature: Nature, store: ForecastStore) -> Label:
        """Return the label of a store of a run: its mean, or a statistic of its ensemble."""
        event = store.dataset.attrs.get(PROBABILITY)
        part = store.run.partition(".")[2] or None
        statistic = nature.name_statistic(part, None if event is None else str(event))
        return cls(nature.kind, statistic, event is not None)

    def fields(self) -> dict[str, str]:
        """Return ``atmosphere`` and ``statistic``, without those that are empty."""
        found = {"atmosphere": self.atmosphere, "statistic": self.statistic}
        return {name: text for name, text in found.items() if text}

    def headers(self) -> dict[str, str]:
        """Return the same as HTTP headers, for answers that have no room for words."""
        found = {"PEAR-Atmosphere": "simulated"} if self.atmosphere else {}
        if self.statistic:  # headers are ASCII
            found["PEAR-Statistic"] = self.statistic.encode("ascii", "replace").decode()
        return found

    def name(self, variable: str, level: int | None = None) -> str:
        """Return the name of a variable in words, with the statistic of it.

        Parameters
        ----------
        variable
            Canonical name.
        level
            Pressure level in hPa that is named as well.

        Returns
        -------
        str
            Of a probability, what it is a probability of.

        Examples
        --------
        >>> Label(statistic="standard deviation of 4 members").name("2m_temperature")
        'Air temperature at 2 m, standard deviation of 4 members'
        >>> Label(statistic="member 1 of 4").name("something_of_a_model")
        'something_of_a_model, member 1 of 4'
        """
        if self.is_probability:
            return self.statistic or "probability"
        found = find_derived(variable)
        row = BY_NAME.get(variable) if found is None else found.row
        name = variable if row is None else row.long_name
        name += "" if level is None else f" at {level} hPa"
        return f"{name}, {self.statistic}" if self.statistic else name

    def describe(self, variable: str, level: int | None = None) -> str:
        """Return the name of a variable in words, with its statistic and atmosphere."""
        return ", ".join(part for part in (self.name(variable, level), self.atmosphere) if part)


def label_of(folder: DataFolder, run: Run, store: ForecastStore) -> Label:
    """Return the label of a store of a run.

    Parameters
    ----------
    folder
        The data folder.
    run
        The run.
    store
        Its store, or that of a statistic of its ensemble.

    Returns
    -------
    Label
        Empty for a single forecast of the observed atmosphere.
    """
    return Label.of(nature_of(folder, run), store)
