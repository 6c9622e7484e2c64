"""The winds among a network's channels, as complex numbers apart from the scalars."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pear.equivariant.wind_tokens import WindTokens
from pear.models.config import LEVELS_IN_PATCH, PearConfig


class WindChannels(nn.Module):
    """Splits states into scalars and wind tokens, and joins what becomes of them.

    Parameters
    ----------
    config
        Settings of the network.

    Examples
    --------
    >>> from pear.models.wind_channels import WindChannels
    >>> channels = WindChannels(PearConfig(nside=4, patch=4, embed=8, heads=(1,) * 4))
    >>> state = torch.randn(1, 4, 192), torch.randn(1, 5, 14, 192)
    >>> surface, upper, winds = channels.split(*state)
    >>> tuple(surface.shape), tuple(upper.shape), tuple(winds.shape)
    ((1, 2, 192), (1, 3, 14, 192), (1, 8, 2, 48))
    """

    def __init__(self, config: PearConfig) -> None:
        super().__init__()
        self.surface, self.upper = config.winds("surface"), config.winds("upper")
        self.surface_scalars, self.upper_scalars = (
            config.scalars("surface"),
            config.scalars("upper"),
        )
        self.tokens = WindTokens(
            config.symmetry,
            config.nside,
            config.patch,
            surface=len(self.surface),
            upper=len(self.upper),
            levels=LEVELS_IN_PATCH,
            width=config.embed,
        )

    def split(self, surface: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return scalars at the surface and aloft, and the winds of all tokens.

        Parameters
        ----------
        surface, upper
            (batch, variable, cell) and (batch, variable, padded level, cell), standardised.

        Returns
        -------
        surface, upper, winds : Tensor
            The first two with fewer variables; (batch, depth, feature, token), complex.
        """
        winds = self.tokens.embed(
            _complex(surface, self.surface)[:, :, None], _complex(upper, self.upper)
        )
        return surface[:, self.surface_scalars], upper[:, self.upper_scalars], winds

    def join(
        self, surface: Tensor, upper: Tensor, features: Tensor, winds: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return all channels from those of scalars, the trunk's features and the winds.

        Parameters
        ----------
        surface, upper
            Scalars that the trunk recovers.
        features
            Of the trunk, twice as wide as its tokens.
        winds
            From :meth:`split`.

        Returns
        -------
        surface, upper : Tensor
            Every variable in its place.
        """
        new_surface, new_upper = self.tokens.recover(features, winds)
        return (
            _joined(surface, new_surface[:, :, 0], self.surface_scalars, self.surface),
            _joined(upper, new_upper, self.upper_scalars, self.upper),
        )


def _complex(fields: Tensor, winds: Sequence[tuple[int, int]]) -> Tensor:
    east, north = [pair[0] for pair in winds], [pair[1] for pair in winds]
    return torch.complex(fields[:, east], fields[:, north])


def _joined(
    scalars: Tensor, winds: Tensor, places: Sequence[int], pairs: Sequence[tuple[int, int]]
) -> Tensor:
    out = scalars.new_empty(len(scalars), len(places) + 2 * len(pairs), *scalars.shape[2:])
    out[:, list(places)] = scalars
    out[:, [east for east, _ in pairs]] = winds.real.to(out.dtype)
    out[:, [north for _, north in pairs]] = winds.imag.to(out.dtype)
    return out
