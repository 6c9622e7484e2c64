"""State of the atmosphere that a model reads and writes, in tensors of checked shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from pear.errors import InputError
from pear.sphere.healpix import nside_from_cells
from pear.store.analysis import open_overview, read_fields
from pear.store.dataset import arrange_fields, build_dataset, dataset_layout
from pear.store.schema import level_order
from pear.times import as_utc, to_iso
from pear.typing import Float32, StrPath, Times, TimesLike
from pear.variables import Layout


@dataclass(frozen=True)
class State:
    """Fields in physical units at one valid time per batch entry, on nested HEALPix cells.

    Attributes
    ----------
    surface
        (batch, surface variable, cell), float, units of :mod:`pear.variables`.
    upper
        (batch, upper variable, level, cell), float, units of :mod:`pear.variables`.
    valid_time
        (batch,) ``datetime64[s]``, UTC.
    layout
        The names behind the channel and level axes.

    Raises
    ------
    InputError
        If a shape breaks the layout, the cells are not a HEALPix grid or the two tensors disagree.
    """

    surface: Tensor
    upper: Tensor
    valid_time: Times
    layout: Layout = field(default_factory=Layout.default)

    def __post_init__(self) -> None:
        object.__setattr__(self, "valid_time", as_utc(self.valid_time))
        batch, cells = self.surface.shape[0], self.surface.shape[-1]
        lay = self.layout
        want_surface = (batch, len(lay.surface), cells)
        want_upper = (batch, len(lay.upper), len(lay.levels), cells)
        for label, got, want in (
            ("surface", tuple(self.surface.shape), want_surface),
            ("upper", tuple(self.upper.shape), want_upper),
            ("valid_time", self.valid_time.shape, (batch,)),
        ):
            if got != want:
                raise InputError(f"state.{label} has shape {got}, must be {want}", field=label)
        nside_from_cells(cells)

    @classmethod
    def from_arrays(
        cls,
        surface: npt.ArrayLike,
        upper: npt.ArrayLike,
        valid_time: npt.ArrayLike,
        layout: Layout | None = None,
    ) -> Self:
        """Build a float32 state from NumPy arrays; inverse of :meth:`to_arrays`.

        Shapes that do not fit the layout are an :class:`~pear.errors.InputError`.

        Parameters
        ----------
        surface
            (batch, surface variable, cell), physical units.
        upper
            (batch, upper variable, level, cell), physical units.
        valid_time
            (batch,) valid times, UTC.
        layout
            Names of the channels and levels; default: ``Layout.default()``.

        Returns
        -------
        State
            On the CPU; float32 C-contiguous arrays are shared, others copied.

        Examples
        --------
        >>> import numpy as np
        >>> layout = Layout(("2m_temperature",), ("geopotential",), (850, 500))
        >>> state = State.from_arrays(
        ...     np.full((1, 1, 48), 288.0), np.full((1, 1, 2, 48), 5e4), ["2019-01-01"], layout
        ... )
        >>> state.nside, state.batch
        (2, 1)
        """
        parts = [np.ascontiguousarray(part, dtype=np.float32) for part in (surface, upper)]
        times = as_utc(valid_time)
        layout = layout or Layout.default()
        return cls(torch.from_numpy(parts[0]), torch.from_numpy(parts[1]), times, layout)

    @classmethod
    def from_channels(
        cls, fields: npt.ArrayLike, valid_time: npt.ArrayLike, layout: Layout | None = None
    ) -> Self:
        """Build a float32 state from one array; inverse of :meth:`to_channels`.

        Parameters
        ----------
        fields
            (batch, channel, cell), physical units, channels as in ``layout.channels``.
        valid_time
            (batch,) valid times, UTC.
        layout
            Names of the channels and levels; default: ``Layout.default()``.

        Returns
        -------
        State
            On the CPU.

        Raises
        ------
        InputError
            If the shape does not fit the layout.
        """
        fields, layout = np.asarray(fields), layout or Layout.default()
        channels = len(layout.channels)
        if fields.ndim != 3 or fields.shape[1] != channels:
            raise InputError(
                f"fields have shape {fields.shape}, must be (batch, {channels}, cell)",
                field="fields",
            )
        split = len(layout.surface)
        shape = len(fields), len(layout.upper), len(layout.levels), fields.shape[-1]
        return cls.from_arrays(
            fields[:, :split], fields[:, split:].reshape(shape), valid_time, layout
        )

    @classmethod
    def from_xarray(
        cls,
        dataset: xr.Dataset,
        time: TimesLike | None = None,
        layout: Layout | None = None,
        nside: int | None = None,
        *,
        name: str = "the dataset",
    ) -> Self:
        """Build a float32 state from analyses in a Dataset; inverse of :meth:`to_xarray`.

        Parameters
        ----------
        dataset
            Analyses on HEALPix, as :func:`pear.open_analysis` and :func:`pear.regrid` return them.
        time
            One or several valid times, UTC; default: all of the Dataset.
        layout
            Channels, in the order wanted; default: all of the Dataset.
        nside
            Resolution; a finer Dataset is averaged to it. Default: that of the Dataset.
        name
            Name of the Dataset, for messages.

        Returns
        -------
        State
            (time, …), on the CPU.
        """
        times = as_utc(dataset["time"].values if time is None else time)
        layout = dataset_layout(dataset) if layout is None else layout
        return cls.from_arrays(*read_fields(dataset, times, layout, nside, name), times, layout)

    @classmethod
    def from_store(
        cls,
        path: StrPath,
        time: TimesLike,
        layout: Layout | None = None,
        nside: int | None = None,
    ) -> Self:
        """Read a float32 state from an analysis store; as :meth:`from_xarray`.

        Parameters
        ----------
        path
            Analysis store.
        time, layout, nside
            As in :meth:`from_xarray`; the store's overview is used where it keeps one at
            ``nside``.

        Returns
        -------
        State
            (time, …), on the CPU.
        """
        with open_overview(path, nside) as dataset:
            return cls.from_xarray(dataset, time, layout, nside, name=str(path))

    def to_xarray(self) -> xr.Dataset:
        """Return the state as a Dataset in the schema of the analysis stores.

        Returns
        -------
        xarray.Dataset
            (time, level, cell), float32, levels from the top down. Members of an ensemble, which
            share one valid time, lie along ``number`` after ``time``.

        Examples
        --------
        >>> import numpy as np
        >>> layout = Layout(("2m_temperature",), ("geopotential",), (850, 500))
        >>> state = State.from_arrays(
        ...     np.full((1, 1, 48), 288.0), np.full((1, 1, 2, 48), 5e4), ["2019-01-01"], layout
        ... )
        >>> state.to_xarray()["geopotential"].sel(level=500).dims
        ('time', 'cell')
        """
        surface, upper = self.to_arrays()
        times = self.valid_time
        if self.batch > 1 and bool((times == times[0]).all()):
            surface, upper, times = surface[None], upper[None], times[:1]
        fields = arrange_fields(surface, upper, self.layout)
        return build_dataset(fields, level_order(self.layout), times)

    def to_arrays(self) -> tuple[Float32, Float32]:
        """Return the fields as NumPy arrays: (batch, surface, cell), (batch, upper, level, cell).

        Returns
        -------
        tuple of ndarray
            float32, in memory; shares the memory of a float32 state on the CPU.
        """
        surface, upper = (
            part.detach().to(device="cpu", dtype=torch.float32).numpy()
            for part in (self.surface, self.upper)
        )
        return surface, upper

    def to_channels(self) -> Float32:
        """Return all fields as one array; inverse of :meth:`from_channels`.

        Returns
        -------
        ndarray
            (batch, channel, cell), float32, channels in the order of ``layout.channels``.
        """
        surface, upper = self.to_arrays()
        return np.concatenate([surface, upper.reshape(self.batch, -1, upper.shape[-1])], axis=1)

    @property
    def nside(self) -> int:
        """HEALPix resolution of the cells."""
        return nside_from_cells(self.surface.shape[-1])

    @property
    def batch(self) -> int:
        """Number of states side by side."""
        return int(self.surface.shape[0])

    def check_finite(self, context: str = "state") -> State:
        """Check that all values are finite.

        Parameters
        ----------
        context
            Opens the message.

        Returns
        -------
        State
            Itself.

        Raises
        ------
        InputError
            Naming the first bad variable and level, how many cells are bad and the valid time.
        """
        if all(isfinite(low) and isfinite(high) for _, _, low, high in self.extremes()):
            return self
        for name, level, values in self.fields():
            bad = ~torch.isfinite(values)
            if bool(bad.any()):
                entry = int(bad.any(dim=-1).nonzero()[0])
                where = name if level is None else f"{name} at {level} hPa"
                raise InputError(
                    f"{context}: {where} has {int(bad[entry].sum())} values that are not finite "
                    f"at {to_iso(self.valid_time[entry])}",
                    field=name,
                )
        return self

    def extremes(self) -> list[tuple[str, int | None, float, float]]:
        """Return the least and largest value of every field over batch and cells.

        Costs two passes over the values, and two transfers of a few numbers from their device.

        Returns
        -------
        list of tuple
            (variable, level or None, least, largest), in layout order; NaN if a field has one.
        """
        # Not aminmax, which is fifteen times as slow along an axis.
        parts = [part.flatten(1, -2) for part in (self.surface, self.upper)]
        least = torch.cat([part.amin(dim=(0, 2)) for part in parts]).tolist()
        most = torch.cat([part.amax(dim=(0, 2)) for part in parts]).tolist()
        return [
            (name, level, low, high)
            for (name, level), low, high in zip(self.layout.channels, least, most, strict=True)
        ]

    def fields(self) -> list[tuple[str, int | None, Tensor]]:
        """Return every field in layout order: (variable, level or None, values (batch, cell))."""
        values = [*self.surface.unbind(1), *self.upper.flatten(1, 2).unbind(1)]
        pairs = zip(self.layout.channels, values, strict=True)
        return [(name, level, field) for (name, level), field in pairs]

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """Return the state with both tensors passed through a function that keeps shapes."""
        return State(function(self.surface), function(self.upper), self.valid_time, self.layout)

    def advanced(self, surface: Tensor, upper: Tensor, step: np.timedelta64) -> State:
        """Return the state one step later with new fields."""
        return State(surface, upper, self.valid_time + step, self.layout)
