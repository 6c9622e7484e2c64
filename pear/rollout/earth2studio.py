"""earth2studio: its prognostic models as forecasters, and forecasters as its prognostic models.

Both are adapters to the protocol ``earth2studio.models.px.PrognosticModel``; the package itself is
not imported. Its models compute on latitude and longitude, to and from which fields are taken
conservatively, see :class:`pear.rollout.latlon_bridge.LatLonBridge`.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor

from pear.errors import InputError
from pear.rollout.forecaster import OneStepForecaster
from pear.rollout.latlon_bridge import LatLonBridge
from pear.sphere.latlon import LatLonGrid, global_grid
from pear.state import State
from pear.typing import Float32
from pear.variables import Layout

Coordinates = OrderedDict[str, np.typing.NDArray[Any]]
_SURFACE: Final = {
    "t2m": "2m_temperature",
    "u10m": "10m_u_component_of_wind",
    "v10m": "10m_v_component_of_wind",
    "msl": "mean_sea_level_pressure",
}
_UPPER: Final = {
    "z": "geopotential",
    "q": "specific_humidity",
    "t": "temperature",
    "u": "u_component_of_wind",
    "v": "v_component_of_wind",
}
_REMEMBERED: Final = 16
"""States whose fields on the grid of a model are kept, so that steps do not smooth them again."""


class PrognosticModel(Protocol):
    """The part of earth2studio's protocol that a forecaster needs."""

    def __call__(self, x: Tensor, coords: Coordinates) -> tuple[Tensor, Coordinates]:
        """Return the fields one step later."""

    def input_coords(self) -> Coordinates:
        """Return the coordinates of the input."""

    def output_coords(self, input_coords: Coordinates) -> Coordinates:
        """Return the coordinates of the output."""


class Earth2StudioForecaster(OneStepForecaster):
    """A prognostic model of earth2studio as a forecaster on HEALPix.

    Between two steps the fields stay on the grid of the model: a forecast is regridded once on the
    way in, and each output once on the way out. A run that was interrupted goes on from its
    HEALPix fields.

    Parameters
    ----------
    model
        The model, on its device; it needs one initial state, and variables that PEAR knows.
    nside
        Resolution of the forecasts.
    name
        Label of the scores.
    device
        Device of the fields that the model is given.

    Raises
    ------
    InputError
        If the model is not global on latitude and longitude, needs several initial states or a
        variable that PEAR does not know, or its levels are not the same for all variables.
    """

    def __init__(
        self, model: PrognosticModel, nside: int, name: str, device: str | torch.device = "cpu"
    ) -> None:
        self.model, self.nside, self.name = model, nside, name
        self.device = torch.device(device)
        given = model.input_coords()
        if not {"lat", "lon", "variable", "lead_time"} <= set(given):
            raise InputError(
                f"{name} has the axes {', '.join(given)}, and needs lat, lon, variable, lead_time",
                field="model",
            )
        if len(given["lead_time"]) != 1:
            raise InputError(
                f"{name} needs {len(given['lead_time'])} initial states, and PEAR starts from one",
                field="model",
            )
        try:
            self.grid = LatLonGrid(given["lat"], given["lon"]).require_global()
        except ValueError as error:
            raise InputError(f"{name}: {error}", field="model") from error
        self.names = [str(each) for each in given["variable"]]
        self.layout, self._order = _layout_of(self.names, name)
        following = model.output_coords(OrderedDict(given))
        step = following["lead_time"][-1] - given["lead_time"][-1]
        self.time_step = np.timedelta64(step, "s")
        lost = [each for each in self.names if each not in set(map(str, following["variable"]))]
        if lost:
            raise InputError(f"{name} does not forecast its input {', '.join(lost)}", field="model")
        self.bridge = LatLonBridge(self.layout, nside, self.grid)
        self._native: OrderedDict[str, Float32] = OrderedDict()

    @torch.inference_mode()
    def step(self, state: State) -> State:
        """Return the state one step later, unchecked; batch entries advance one by one."""
        out = []
        for fields, time in zip(state.to_channels(), state.valid_time, strict=True):
            key = _key(fields, time)
            points = self._native.get(key)
            points = self.bridge.to_grid(fields) if points is None else points
            following = self._advance(points, time)
            cells = self.bridge.to_cells(following)
            self._native[_key(cells, time + self.time_step)] = following
            while len(self._native) > _REMEMBERED:
                self._native.popitem(last=False)
            out.append(cells)
        times = state.valid_time + self.time_step
        return State.from_channels(np.stack(out), times, self.layout)

    def _advance(self, points: Float32, time: np.datetime64) -> Float32:
        """Return the fields (channel, point) one step later, on the grid of the model."""
        rows = np.empty((len(self.names), *self.grid.shape), dtype=np.float32)
        rows[self._order] = points.reshape(-1, *self.grid.shape)
        coords: Coordinates = OrderedDict(
            {
                "time": np.array([time], dtype="datetime64[ns]"),
                "lead_time": np.array([0], dtype="timedelta64[ns]"),
                "variable": np.array(self.names),
                "lat": self.model.input_coords()["lat"],
                "lon": self.model.input_coords()["lon"],
            }
        )
        x, found = self.model(torch.from_numpy(rows).to(self.device)[None, None], coords)
        names = [str(each) for each in found["variable"]]
        values = x[0, -1].float().cpu().numpy()
        kept = values[[names.index(each) for each in self.names]][self._order]
        return np.ascontiguousarray(kept.reshape(len(self.names), -1), dtype=np.float32)


class PearPrognostic:
    """A forecaster as a prognostic model of earth2studio, on a grid of latitude and longitude.

    Parameters
    ----------
    forecaster
        Steps the states, such as :func:`pear.load_model` returns it.
    grid
        Grid of the fields that go in and come out; default: one degree with the poles.

    Examples
    --------
    >>> from pear.rollout import Persistence
    >>> from pear.rollout.earth2studio import PearPrognostic
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> model = PearPrognostic(Persistence(layout, nside=4), global_grid(19, 36))
    >>> list(model.input_coords()), model.input_coords()["variable"].tolist()
    (['batch', 'lead_time', 'variable', 'lat', 'lon'], ['t2m'])
    """

    def __init__(self, forecaster: OneStepForecaster, grid: LatLonGrid | None = None) -> None:
        self.forecaster = forecaster
        self.grid = global_grid(181, 360) if grid is None else grid
        self.names = [_name_of(*channel) for channel in forecaster.layout.channels]
        self.bridge = LatLonBridge(forecaster.layout, forecaster.nside, self.grid)

    def __str__(self) -> str:
        return self.forecaster.name

    def to(self, device: Any) -> PearPrognostic:  # noqa: ANN401 - of the protocol
        """Return itself: a forecaster is on its device from the start."""
        del device
        return self

    def input_coords(self) -> Coordinates:
        """Return the coordinates of the input: one time, all channels, the grid."""
        return OrderedDict(
            {
                "batch": np.empty(0),
                "lead_time": np.array([0], dtype="timedelta64[ns]"),
                "variable": np.array(self.names),
                "lat": self.grid.lat,
                "lon": self.grid.lon,
            }
        )

    def output_coords(self, input_coords: Coordinates) -> Coordinates:
        """Return the coordinates one step after those of an input.

        Parameters
        ----------
        input_coords
            Coordinates of the input.

        Returns
        -------
        OrderedDict
            The same with the next lead time.

        Raises
        ------
        ValueError
            If variables or grid are not those of :meth:`input_coords`.
        """
        for axis, wanted in list(self.input_coords().items())[2:]:
            given = input_coords.get(axis)
            equal = np.array_equal if axis == "variable" else np.allclose
            if given is None or given.shape != wanted.shape or not equal(given, wanted):
                raise ValueError(f"{self}: the input has another {axis} than input_coords()")
        following = OrderedDict(input_coords)
        following["lead_time"] = input_coords["lead_time"][-1:] + self.forecaster.time_step
        return following

    def __call__(self, x: Tensor, coords: Coordinates) -> tuple[Tensor, Coordinates]:
        """Return the fields one step later.

        Parameters
        ----------
        x
            (…, lead time, variable, latitude, longitude).
        coords
            Coordinates, ``time`` among them.

        Returns
        -------
        x, coords
            One step later.
        """
        stream = self.create_iterator(x, coords)
        next(stream)
        return next(stream)

    def create_iterator(
        self, x: Tensor, coords: Coordinates
    ) -> Iterator[tuple[Tensor, Coordinates]]:
        """Yield the initial fields, then those of each step without end.

        Parameters
        ----------
        x, coords
            As for a call.

        Yields
        ------
        x, coords
            Fields stay on HEALPix between steps, so that they are regridded once each way.
        """
        self.output_coords(coords)
        coords = OrderedDict(coords)
        lead = list(coords).index("lead_time")
        x = x.narrow(lead, x.shape[lead] - 1, 1)
        coords["lead_time"] = coords["lead_time"][-1:]
        yield x, coords
        shape, device = x.shape, x.device
        flat = x.detach().float().cpu().numpy().reshape(-1, len(self.names), self.grid.size)
        cells = np.stack([self.bridge.to_cells(each) for each in flat])
        state = State.from_channels(cells, _valid_times(coords, lead), self.forecaster.layout)
        state = self.forecaster.prepare(state.check_finite(f"{self}: initial fields"))
        while True:
            state = self.forecaster.step(state).check_finite(f"{self}")
            coords = self.output_coords(coords)
            fields = np.stack([self.bridge.to_grid(each) for each in state.to_channels()])
            yield torch.from_numpy(fields.reshape(shape)).to(device), OrderedDict(coords)


def _valid_times(coords: Mapping[str, Any], lead: int) -> np.typing.NDArray[np.datetime64]:
    """Return the valid time of each batch entry, all axes before the lead time flattened."""
    axes = list(coords)[:lead]
    if "time" not in axes:
        raise InputError("the coordinates have no axis time before lead_time", field="coords")
    shape = [1] * lead
    shape[axes.index("time")] = -1
    times = np.asarray(coords["time"], dtype="datetime64[ns]").reshape(shape)
    full = np.broadcast_to(times, [max(len(coords[axis]), 1) for axis in axes])
    return np.asarray((full + coords["lead_time"][-1]).ravel().astype("datetime64[s]"))


def _layout_of(names: list[str], who: str) -> tuple[Layout, list[int]]:
    """Return the layout of variables of earth2studio, and the place of each channel among them."""
    channels: dict[tuple[str, int | None], int] = {}
    for place, name in enumerate(names):
        found = re.fullmatch(r"([a-z]+)(\d+)", name)
        if name in _SURFACE:
            channels[_SURFACE[name], None] = place
        elif found is not None and found[1] in _UPPER:
            channels[_UPPER[found[1]], int(found[2])] = place
        else:
            raise InputError(
                f"{who} needs {name}, which is not a variable of PEAR",
                field="model",
                hint=f"PEAR has {', '.join(_SURFACE)} and {', '.join(_UPPER)} at levels",
            )
    surface = tuple(each for each in _SURFACE.values() if (each, None) in channels)
    upper = tuple(
        each
        for each in _UPPER.values()
        if each in {name for name, level in channels if level is not None}
    )
    levels = tuple(sorted({level for _, level in channels if level is not None}, reverse=True))
    layout = Layout(surface, upper, levels if upper else ())
    for channel in layout.channels:
        if channel not in channels:
            raise InputError(
                f"{who} has {channel[0]} at other levels than its other variables: "
                f"{channel[1]} hPa is missing",
                field="model",
                hint="PEAR's layouts have every variable at every level",
            )
    return layout, [channels[channel] for channel in layout.channels]


def _name_of(name: str, level: int | None) -> str:
    """Return earth2studio's name of a channel."""
    known = {value: key for key, value in (*_SURFACE.items(), *_UPPER.items())}
    if name not in known:
        raise InputError(f"earth2studio's name of {name} is not known", field="layout")
    return known[name] if level is None else f"{known[name]}{level}"


def _key(fields: Float32, time: np.datetime64) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(fields).tobytes())
    digest.update(str(time).encode())
    return digest.hexdigest()
