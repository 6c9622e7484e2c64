"""Statistics of winds that do not depend on the frame of their components."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pear.errors import InputError
from pear.normaliser import Normaliser
from pear.variables import Layout, wind_pair


def isotropic(normaliser: Normaliser) -> Normaliser:
    """Return statistics with mean 0 and one standard deviation for both components of each wind.

    A mean of eastward components is a vector that points east everywhere, which another frame
    would turn. The standard deviation is that of either component about 0, in the root mean square.

    Parameters
    ----------
    normaliser
        Statistics.

    Returns
    -------
    Normaliser
        New statistics; those of other variables are the same.

    Examples
    --------
    >>> from pear.models.wind_statistics import isotropic
    >>> layout = Layout(("10m_u_component_of_wind", "10m_v_component_of_wind"), (), ())
    >>> mean, std, none = torch.tensor([1.0, 0.0]), torch.tensor([5.0, 2.0**0.5]), torch.ones(0, 0)
    >>> isotropic(Normaliser(layout, mean, std, none, none)).surface_std.tolist()
    [3.7416574954986572, 3.7416574954986572]
    """
    given = {name: value.clone() for name, value in normaliser.named_buffers()}
    for kind, components in _winds(normaliser.layout):
        mean, std, step = (given[f"{kind}_{name}"] for name in ("mean", "std", "step_std"))
        for part in (std, step):
            square = part[components] ** 2
            if part is std:
                square = square + mean[components] ** 2
            part[components] = square.mean(0, keepdim=True).sqrt().expand_as(square)
        mean[components] = 0.0
    return Normaliser(normaliser.layout, **given)


def check_isotropic(normaliser: Normaliser) -> None:
    """Check that no statistic of a wind depends on the frame.

    Parameters
    ----------
    normaliser
        Statistics.

    Raises
    ------
    InputError
        If a component has a mean, or the two of a wind have different standard deviations.

    Examples
    --------
    >>> from pear.models.wind_statistics import check_isotropic
    >>> layout = Layout(("10m_u_component_of_wind", "10m_v_component_of_wind"), (), ())
    >>> check_isotropic(Normaliser.identity(layout))
    """
    for kind, components in _winds(normaliser.layout):
        names = normaliser.layout.surface if kind == "surface" else normaliser.layout.upper
        where = " and ".join(names[channel] for channel in components)
        found = {
            name: getattr(normaliser, f"{kind}_{name}")[components]
            for name in ("mean", "std", "step_std")
        }
        wrong = "mean 0" if bool((found["mean"] != 0).any()) else ""
        if not wrong and any(_differ(found[name]) for name in ("std", "step_std")):
            wrong = "one standard deviation"
        if wrong:
            raise InputError(
                f"a model whose winds leave geographic frames needs {wrong} for {where}",
                field="normaliser",
                hint="pass it through pear.models.wind_statistics.isotropic",
            )


def _differ(pair: Tensor) -> bool:
    return not torch.equal(pair[0], pair[1])


def _winds(layout: Layout) -> Iterator[tuple[str, list[int]]]:
    """Yield the kind and both channels of each wind."""
    for kind, names in (("surface", layout.surface), ("upper", layout.upper)):
        for name in names:
            pair = wind_pair(name)
            if pair is not None and pair[0] == name and pair[1] in names:
                yield kind, [names.index(each) for each in pair]
