"""Convolutions on the rotation group: lifting from the sphere, convolution, and the way back.

With the conventions of :mod:`pear.sphere.harmonics` and :mod:`pear.sphere.rotations`, and filters
that are signals themselves (Cohen et al., arXiv 1801.10130; 2202.03990):

    lifting       (κ ⋆ f)(R) = ∫ conj(κ(R⁻¹x)) f(x) dx          F^l_mn = f_lm conj(κ_ln)
    convolution   (ψ ⋆ F)(R) = ∫ ψ(S⁻¹R) F(S) dS                F′^l = 8π²/(2l + 1) F^l ψ^l
    descent       f(x) = ∫ v(R⁻¹x) F(R) dR, up to a factor      f_l = F^l v_l

dS = dα sin β dβ dγ. All act from the right, so that they commute with the rotation of a signal,
which multiplies F^l by D^l(g) from the left. Coefficients are (batch, channel, (lmax + 1)²) on the
sphere and (batch, channel, Σ(2l + 1)²) on the rotations. They are real, with respect to the real
harmonics and the real D^l, or complex.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pear.sphere.rotations import (
    check_rotation_grid,
    so3_offset,
    spin_analysis,
    spin_columns,
    spin_synthesis,
    spin_weights,
)


class RotationLift(nn.Module):
    """Signals on the sphere to signals on the rotations, F^l_mn = Σ f_lm conj(κ_ln).

    (batch, input, (lmax + 1)²) to (batch, output, Σ(2l + 1)²).

    Parameters
    ----------
    lmax
        Largest degree.
    inputs, outputs
        Channels.
    dtype
        Real or complex.

    Examples
    --------
    >>> from pear.equivariant.so3 import RotationLift
    >>> tuple(RotationLift(2, 3, 5)(torch.zeros(1, 3, 9)).shape)
    (1, 5, 35)
    """

    def __init__(
        self, lmax: int, inputs: int, outputs: int, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.kernel = nn.Parameter(
            torch.randn(outputs, inputs, (lmax + 1) ** 2, dtype=dtype) / inputs**0.5
        )

    def forward(self, f: Tensor) -> Tensor:
        """Lift coefficients."""
        kernel = self.kernel.conj()
        return _by_degree(
            lambda a, k: torch.einsum("bim,oin->bomn", a, k),
            sphere_blocks(f),
            sphere_blocks(kernel),
        )


class RotationConv(nn.Module):
    """Convolution on the rotations, F′^l = Σ F^l w^l with w^l = 8π²/(2l + 1) ψ^l.

    (batch, input, Σ(2l + 1)²) to (batch, output, Σ(2l + 1)²).

    Parameters
    ----------
    lmax, inputs, outputs, dtype
        As in :class:`RotationLift`.

    Attributes
    ----------
    weight
        w, (output, input, Σ(2l + 1)²).

    Examples
    --------
    >>> from pear.equivariant.so3 import RotationConv
    >>> tuple(RotationConv(2, 3, 5)(torch.zeros(1, 3, 35)).shape)
    (1, 5, 35)
    """

    def __init__(
        self, lmax: int, inputs: int, outputs: int, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        weight = torch.randn(outputs, inputs, so3_offset(lmax + 1), dtype=dtype)
        for degree in range(lmax + 1):  # keeps the variance
            part = slice(so3_offset(degree), so3_offset(degree + 1))
            weight[..., part] /= (inputs * (2 * degree + 1)) ** 0.5
        self.weight = nn.Parameter(weight)

    def forward(self, f: Tensor) -> Tensor:
        """Convolve coefficients."""
        return _by_degree(
            lambda a, w: torch.einsum("bimk,oikn->bomn", a, w),
            rotation_blocks(f),
            rotation_blocks(self.weight),
        )


class RotationDescend(nn.Module):
    """Signals on the rotations to signals on the sphere, f_lm = Σ F^l_mn v_ln.

    (batch, input, Σ(2l + 1)²) to (batch, output, (lmax + 1)²); all linear maps that commute with
    rotations. With one channel and all weights 1 it is the projection of arXiv 2202.03990.

    Parameters
    ----------
    lmax, inputs, outputs, dtype
        As in :class:`RotationLift`.

    Examples
    --------
    >>> from pear.equivariant.so3 import RotationDescend
    >>> tuple(RotationDescend(2, 3, 5)(torch.zeros(1, 3, 35)).shape)
    (1, 5, 9)
    """

    def __init__(
        self, lmax: int, inputs: int, outputs: int, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        weight = torch.randn(outputs, inputs, (lmax + 1) ** 2, dtype=dtype)
        for degree in range(lmax + 1):
            weight[..., degree**2 : (degree + 1) ** 2] /= (inputs * (2 * degree + 1)) ** 0.5
        self.weight = nn.Parameter(weight)

    def forward(self, f: Tensor) -> Tensor:
        """Project coefficients."""
        return _by_degree(
            lambda a, v: torch.einsum("bimn,oin->bom", a, v),
            rotation_blocks(f),
            sphere_blocks(self.weight),
        )


class RotationSynthesis(nn.Module):
    """Real coefficients (…, Σ(2l + 1)²) to samples (…, cell, angle) of signals on the rotations.

    One matrix for each spin, and a Fourier transform over the angles.

    Parameters
    ----------
    nside
        Resolution of the cells.
    angles
        Number of angles γ, at least 2 lmax + 1.
    lmax
        Largest degree, at most 2 nside.

    Raises
    ------
    ValueError
        If the samples do not resolve the degree.

    Examples
    --------
    >>> from pear.equivariant.so3 import RotationAnalysis, RotationSynthesis
    >>> c = torch.randn(2, 35, dtype=torch.float64)
    >>> samples = RotationSynthesis(2, 5, 2)(c)
    >>> tuple(samples.shape), torch.allclose(RotationAnalysis(2, 5, 2)(samples), c)
    ((2, 48, 5), True)
    """

    def __init__(self, nside: int, angles: int, lmax: int) -> None:
        super().__init__()
        check_rotation_grid(nside, angles, lmax)
        self.angles, self.lmax = angles, lmax
        for spin in range(lmax + 1):
            table = torch.from_numpy(spin_synthesis(nside, lmax, spin).copy())
            self.register_buffer(f"table{spin}", table, persistent=False)
            for name, sign in (("plus", 1), ("minus", -1)):
                columns = torch.from_numpy(spin_columns(lmax, sign * spin))
                self.register_buffer(f"{name}{spin}", columns, persistent=False)

    def forward(self, coefficients: Tensor) -> Tensor:
        """Return the signal at the rotations R_z(longitude) R_y(colatitude) R_z(2πk/angles)."""
        fields = []
        for spin in range(self.lmax + 1):
            plus, minus = spin_weights(spin)
            real = coefficients[..., self.get_buffer(f"plus{spin}")] * plus.real
            imaginary = coefficients[..., self.get_buffer(f"minus{spin}")] * minus.imag
            table = self.get_buffer(f"table{spin}")
            column = torch.complex(real, imaginary)
            fields.append(column @ table.to(column.dtype).mT)
        # Sums over negative spins are the conjugates.
        samples: Tensor = torch.fft.irfft(self.angles * torch.stack(fields, -1), n=self.angles)
        return samples


class RotationAnalysis(nn.Module):
    """Samples (…, cell, angle) to real coefficients (…, Σ(2l + 1)²), by the pseudo-inverse.

    Parameters
    ----------
    nside, angles, lmax
        As in :class:`RotationSynthesis`.

    Raises
    ------
    ValueError
        If the samples do not resolve the degree.
    """

    order: Tensor

    def __init__(self, nside: int, angles: int, lmax: int) -> None:
        super().__init__()
        check_rotation_grid(nside, angles, lmax)
        self.lmax = lmax
        places = []
        for spin in range(lmax + 1):
            table = torch.from_numpy(spin_analysis(nside, lmax, spin).copy())
            self.register_buffer(f"table{spin}", table, persistent=False)
            signs = (1, -1) if spin else (1,)
            places += [torch.from_numpy(spin_columns(lmax, sign * spin)) for sign in signs]
        self.register_buffer("order", torch.cat(places).argsort(), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Return the coefficients whose signal is nearest in the mean square."""
        fields = torch.fft.rfft(samples) / samples.shape[-1]
        columns = []
        for spin in range(self.lmax + 1):
            table = self.get_buffer(f"table{spin}").to(fields.dtype)
            column = fields[..., spin] @ table.mT
            plus, minus = spin_weights(spin)
            columns.append(column.real / plus.real)
            if spin:
                columns.append(column.imag / minus.imag)
        return torch.cat(columns, -1)[..., self.order]


def sphere_blocks(packed: Tensor) -> list[Tensor]:
    """Return the degrees (…, 2l + 1) of packed coefficients on the sphere."""
    count = round(packed.shape[-1] ** 0.5)
    return list(torch.split(packed, [2 * degree + 1 for degree in range(count)], -1))


def rotation_blocks(packed: Tensor) -> list[Tensor]:
    """Return the degrees (…, 2l + 1, 2l + 1) of packed coefficients on the rotations."""
    blocks, degree = [], 0
    while so3_offset(degree) < packed.shape[-1]:
        part = packed[..., so3_offset(degree) : so3_offset(degree + 1)]
        blocks.append(part.reshape(*part.shape[:-1], 2 * degree + 1, -1))
        degree += 1
    return blocks


def _by_degree(
    product: Callable[[Tensor, Tensor], Tensor], first: Sequence[Tensor], other: Sequence[Tensor]
) -> Tensor:
    """Multiply degree by degree, and pack what comes out, (batch, channel, …)."""
    return torch.cat([product(a, b).flatten(2) for a, b in zip(first, other, strict=True)], -1)
