"""Forecasters of other packages: entry points of the group ``pear.forecasters``.

A package names a factory in its ``pyproject.toml``::

    [project.entry-points."pear.forecasters"]
    aurora = "my_package.pear:make_aurora"

PEAR lists such names without importing anything, and loads one when it is added to a data folder or
forecasts. Requests name models of a data folder and never an import path.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Protocol

import numpy as np

from pear.errors import InputError, did_you_mean
from pear.rollout.forecaster import Forecaster, OneStepForecaster
from pear.state import State
from pear.variables import Layout

GROUP: Final = "pear.forecasters"
_BASELINES: Final = (
    "persistence",
    "climatology",
    "damped_persistence",
    "linear_inverse_model",
    "pear",
    "pear-ensemble",
)


class ForecasterFactory(Protocol):
    """What an entry point names: a function or class that makes a forecaster.

    Examples
    --------
    >>> from pear.rollout import Persistence
    >>> from pear.rollout.installed import ForecasterFactory
    >>> def make(device: str) -> Persistence:
    ...     return Persistence(Layout(("2m_temperature",), (), ()), nside=4)
    >>> factory: ForecasterFactory = make
    >>> factory("cpu").nside
    4
    """

    def __call__(self, device: str) -> Forecaster:
        """Return the forecaster, with its weights on a device such as ``cpu`` or ``cuda:0``."""


@dataclass(frozen=True)
class InstalledForecaster:
    """A forecaster of an installed package, by its metadata alone.

    Attributes
    ----------
    name
        Name of the entry point.
    package, version
        Distribution that has it.

    Examples
    --------
    >>> from pear.rollout.installed import InstalledForecaster
    >>> str(InstalledForecaster("aurora", "my-package", "1.0"))
    'aurora (my-package 1.0)'
    """

    name: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} ({self.package} {self.version})"


def list_installed() -> list[InstalledForecaster]:
    """List the forecasters of all installed packages, without importing them.

    Returns
    -------
    list of InstalledForecaster
        By name.

    Examples
    --------
    >>> from pear.rollout.installed import list_installed
    >>> all(isinstance(one, InstalledForecaster) for one in list_installed())
    True
    """
    return sorted((_describe(point) for point in entry_points(group=GROUP)), key=str)


def find_installed(name: str) -> InstalledForecaster:
    """Return the forecaster of a name, without importing it.

    An :class:`~pear.errors.InputError` says that no package has it, several have, or it has the
    name of a baseline.

    Parameters
    ----------
    name
        Name of the entry point.

    Returns
    -------
    InstalledForecaster
        Its metadata.

    Examples
    --------
    >>> from pear.rollout.installed import find_installed
    >>> find_installed("nothing")
    Traceback (most recent call last):
    pear.errors.InputError: no installed package has a forecaster 'nothing'...
    """
    return _describe(_point(name))


def load_installed(name: str, device: str = "cpu") -> OneStepForecaster:
    """Load a forecaster of an installed package.

    Parameters
    ----------
    name
        Name of its entry point.
    device
        Where it computes.

    Returns
    -------
    OneStepForecaster
        Ready to forecast; one that is not of this class is stepped state by state.

    Raises
    ------
    InputError
        If the entry point does not exist, cannot be loaded, or does not give a forecaster.

    Examples
    --------
    >>> from pear.rollout.installed import load_installed
    >>> load_installed("nothing")
    Traceback (most recent call last):
    pear.errors.InputError: no installed package has a forecaster 'nothing'...
    """
    point = _point(name)
    try:
        found = point.load()(device=device)
    except InputError:
        raise
    except Exception as error:  # code of others raises errors of its own kinds
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"forecaster {_describe(point)} cannot be loaded: {type(error).__name__}: {reason}",
            field="model",
            hint="see the documentation of its package",
        ) from error
    _require_forecaster(found, _describe(point))
    wrapped = found if isinstance(found, OneStepForecaster) else SteppedForecaster(found)
    wrapped.name = name
    return wrapped


class SteppedForecaster(OneStepForecaster):
    """Any forecaster, one step at a time: what :meth:`Forecaster.iterate` yields first.

    Parameters
    ----------
    inner
        The forecaster.

    Examples
    --------
    >>> from pear.rollout import Persistence
    >>> from pear.rollout.installed import SteppedForecaster
    >>> SteppedForecaster(Persistence(Layout(("2m_temperature",), (), ()), nside=4)).nside
    4
    """

    def __init__(self, inner: Forecaster) -> None:
        self.inner, self.name = inner, inner.name
        self.layout, self.nside, self.time_step = inner.layout, inner.nside, inner.time_step

    def step(self, state: State) -> State:
        """Return the state one step later."""
        return next(iter(self.inner.iterate(state, 1)))


def _describe(point: EntryPoint) -> InstalledForecaster:
    package = point.dist
    name, version = ("unknown", "") if package is None else (package.name, package.version)
    return InstalledForecaster(point.name, name, version)


def _point(name: str) -> EntryPoint:
    known = list(entry_points(group=GROUP))
    points = [point for point in known if point.name == name]
    if not points:
        raise InputError(
            f"no installed package has a forecaster {name!r}",
            field="model",
            hint=did_you_mean(name, [point.name for point in known]),
        )
    if len({point.value for point in points}) > 1:
        many = ", ".join(str(_describe(point)) for point in points)
        raise InputError(
            f"several packages have a forecaster of that name: {many}",
            field="model",
            hint="uninstall all but one",
        )
    if name in _BASELINES:
        raise InputError(
            f"forecaster {_describe(points[0])} has the name of a forecast that PEAR scores beside "
            "models",
            field="model",
            hint="give its entry point another name",
        )
    return points[0]


def _require_forecaster(found: object, what: InstalledForecaster) -> None:
    """Refuse what does not keep the protocol, before it forecasts."""
    kinds = {"layout": Layout, "nside": int, "time_step": np.timedelta64, "name": str}
    for attribute, kind in kinds.items():
        if not isinstance(getattr(found, attribute, None), kind):
            raise InputError(
                f"forecaster {what} has no {attribute} of type {kind.__name__}",
                field="model",
                hint="see pear.rollout.Forecaster",
            )
    if not callable(getattr(found, "iterate", None)):
        raise InputError(
            f"forecaster {what} has no method iterate",
            field="model",
            hint="see pear.rollout.Forecaster",
        )
