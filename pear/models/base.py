"""Base class of networks that advance a state by one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pear.equivariant.linear import Symmetry
from pear.equivariant.patch import PatchEmbed, PatchRecover
from pear.models.config import FORCINGS, HOURLY, LEVELS_IN_PATCH
from pear.normaliser import Normaliser
from pear.times import as_utc, year_phase
from pear.typing import TimesLike
from pear.variables import Layout

STATIC: Final = ("orography", "land_fraction")
_METRES_PER_UNIT: Final = 1000.0


class NetworkConfig(Protocol):
    """Settings that training and rollout need of any network."""

    @property
    def layout(self) -> Layout:
        """Channels."""
        ...

    @property
    def forcings(self) -> tuple[str, ...]:
        """Names from :data:`pear.models.config.FORCINGS`."""
        ...

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a step of one state, by which threads are chosen."""
        ...

    @property
    def residual(self) -> bool:
        """Whether the output is the state plus a scaled step."""
        ...


class StepNetwork(nn.Module):
    """A network that advances fields on points of any grid, called as (surface, upper, forcing).

    Attributes
    ----------
    config
        The settings.

    Examples
    --------
    >>> from pear.models.base import StepNetwork
    >>> from pear.models.config import PearConfig
    >>> from pear.models.pear import Pear
    >>> sizes = {"embed": 8, "depths": (1,) * 4, "heads": (1,) * 4, "patch": 4}
    >>> model = Pear(PearConfig(nside=4, forcings=("sin_year",), **sizes))
    >>> isinstance(model, StepNetwork), tuple(model.forcing(["2001-01-01", "2001-07-01"]).shape)
    (True, (2, 1, 192))
    """

    config: NetworkConfig
    sin_latitude: Tensor
    longitude: Tensor
    surface_step_scale: Tensor
    upper_step_scale: Tensor

    def build_embeddings(
        self,
        symmetry: Symmetry,
        surface: Sequence[int],
        upper: Sequence[int],
        points: int,
        width: int,
        masks: int = 0,
    ) -> None:
        """Create the patch embeddings and recoveries for state and forcing fields.

        Parameters
        ----------
        symmetry
            Symmetry of the features.
        surface, upper
            Sign of each channel under the mirror.
        points
            Points in a patch.
        width
            Features of a token; the recoveries take twice as many.
        masks
            Constant surface channels, embedded after those of the layout.
        """
        levels = LEVELS_IN_PATCH
        self.embed_surface = PatchEmbed(symmetry, (*surface, *[1] * masks), 1, points, width)
        self.embed_upper = PatchEmbed(symmetry, upper, levels, points, width)
        self.recover_surface = PatchRecover(symmetry, surface, 1, points, 2 * width)
        self.recover_upper = PatchRecover(symmetry, upper, levels, points, 2 * width)
        signs = [FORCINGS[name] for name in self.config.forcings]
        self.embed_forcing = (
            PatchEmbed(symmetry, signs, 1, points, width, bias=False) if signs else None
        )

    def build_fields(self, lat: npt.NDArray[np.float64], lon: npt.NDArray[np.float64]) -> None:
        """Register the fields that ``config`` names; call after :meth:`build_embeddings`.

        The recoveries of a residual network are set to zero, so that it starts as persistence.

        Parameters
        ----------
        lat, lon
            (point,) latitudes and longitudes in degrees.
        """
        config = self.config
        sine = np.sin(np.radians(lat))
        self.register_buffer("sin_latitude", torch.from_numpy(sine).float(), persistent=False)
        if set(HOURLY) & set(config.forcings):
            turn = torch.from_numpy(np.radians(lon))
            self.register_buffer("longitude", turn, persistent=False)
        for name in STATIC:
            if name in config.forcings:
                self.register_buffer(name, torch.full((lat.size,), torch.nan))
        if config.residual:
            layout = config.layout
            upper = torch.ones(len(layout.upper), len(layout.levels))
            self.register_buffer("surface_step_scale", torch.ones(len(layout.surface)))
            self.register_buffer("upper_step_scale", upper)
            self.recover_surface.zero()
            self.recover_upper.zero()

    def check_forcing(self, forcing: Tensor | None) -> None:
        """Raise if the network needs a forcing and has none.

        Parameters
        ----------
        forcing
            Forcing given to the network.

        Raises
        ------
        ValueError
            If it is missing.
        """
        if self.config.forcings and forcing is None:
            raise ValueError(f"the model needs forcing {self.config.forcings}; see its forcing()")

    def forced(self, tokens: Tensor, forcing: Tensor | None) -> Tensor:
        """Add the embedded forcing (batch, forcing, point), points by patch, to tokens in place."""
        if self.embed_forcing is not None and forcing is not None:
            tokens += self.embed_forcing(forcing[:, :, None])
        return tokens

    def apply_increment(
        self, surface: Tensor, upper: Tensor, new_surface: Tensor, new_upper: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the next state from the output of the last layer.

        Parameters
        ----------
        surface, upper
            Standardised state.
        new_surface, new_upper
            Output of the last layer.

        Returns
        -------
        surface, upper
            The output; for a residual network the state plus ``step_scale`` times the output.
        """
        if not self.config.residual:
            return new_surface, new_upper
        return (
            torch.addcmul(surface, new_surface, self.surface_step_scale[:, None]),
            torch.addcmul(upper, new_upper, self.upper_step_scale[..., None]),
        )

    def forcing(self, valid_time: TimesLike) -> Tensor | None:
        """Build the forcing at the times of the input states, or None if the model has none.

        Parameters
        ----------
        valid_time
            (batch,) ``datetime64``, UTC.

        Returns
        -------
        Tensor or None
            (batch, forcing, cell) in the order of ``config.forcings``: sine of latitude, orography
            in km, land fraction, cosine and sine of the phase of the year and of the local mean
            solar time.

        Raises
        ------
        ValueError
            If a static field was never set.
        """
        if not self.config.forcings:
            return None
        angle = torch.from_numpy(2 * np.pi * year_phase(as_utc(valid_time)))
        shape = (len(angle), self.sin_latitude.numel())
        seasons = {
            "cos_year": angle.cos().to(self.sin_latitude),
            "sin_year": angle.sin().to(self.sin_latitude),
        }
        hours = self._hours(valid_time)
        rows = []
        for name in self.config.forcings:
            if name in seasons:
                rows.append(seasons[name][:, None].expand(shape))
                continue
            if name in hours:
                rows.append(hours[name])
                continue
            field: Tensor = getattr(self, name)
            if not bool(torch.isfinite(field).all()):
                raise ValueError(f"static field {name} is not set; call set_static({name}=…)")
            rows.append(field.expand(shape))
        return torch.stack(rows, dim=1)

    def _hours(self, valid_time: TimesLike) -> dict[str, Tensor]:
        """Return cosine and sine of the local mean solar time, (batch, cell), 0 at midnight."""
        if not set(HOURLY) & set(self.config.forcings):
            return {}
        times = as_utc(valid_time)
        day = (times - times.astype("datetime64[D]")) / np.timedelta64(86_400, "s")
        utc = torch.from_numpy(2 * np.pi * np.asarray(day, dtype=np.float64))
        phase = utc.to(self.longitude)[:, None] + self.longitude
        return {
            "cos_hour": phase.cos().to(self.sin_latitude),
            "sin_hour": phase.sin().to(self.sin_latitude),
        }

    def set_static(self, **fields: npt.ArrayLike) -> None:
        """Set static fields: ``orography`` in metres, ``land_fraction`` in [0, 1], each (cell,).

        Parameters
        ----------
        fields
            Values by name.

        Raises
        ------
        ValueError
            If the model has no such forcing, or a field has the wrong shape or is not finite.
        """
        for name, values in fields.items():
            if name not in STATIC or name not in self.config.forcings:
                raise ValueError(
                    f"the model has no static forcing {name!r}: {self.config.forcings}"
                )
            buffer: Tensor = getattr(self, name)
            field = torch.as_tensor(np.asarray(values)).to(buffer)
            if field.shape != buffer.shape or not bool(torch.isfinite(field).all()):
                raise ValueError(
                    f"{name} must be finite with shape {tuple(buffer.shape)}, "
                    f"got shape {tuple(field.shape)}"
                )
            buffer.copy_(field / _METRES_PER_UNIT if name == "orography" else field)

    def set_step_scale(self, normaliser: Normaliser) -> None:
        """Scale a residual model's output by the standard deviation of the change over one step.

        ``step_scale`` = standard deviation of the change / standard deviation, by channel.

        Parameters
        ----------
        normaliser
            Statistics.

        Raises
        ------
        ValueError
            If the model is not residual.
        """
        if not self.config.residual:
            raise ValueError("only a residual model has a step scale")
        self.surface_step_scale.copy_(normaliser.surface_step_std / normaliser.surface_std)
        self.upper_step_scale.copy_(normaliser.upper_step_std / normaliser.upper_std)
