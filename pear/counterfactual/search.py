"""The smallest coordinates at which a function reaches a goal.

The improved Hasofer–Lind–Rackwitz–Fiessler iteration of structural reliability (Zhang and
Der Kiureghian 1995): each step solves the problem linearised at the present point, and is halved
until a merit function falls. One step is exact for linear functions. The length of the result is
the reliability index β, and Φ(-β) the first-order estimate of the probability under z ~ N(0, 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pear.errors import InputError

MOST_ITERATIONS: Final = 15
TOLERANCE: Final = 0.02
"""Of the way from the present value to the goal."""
ALIGNED: Final = 0.98
"""Least cosine of z and the gradient: at the smallest |z| they are parallel."""
LARGEST: Final = 6.0
"""|z| above which an event lies outside what the chart's climate and the model have seen."""
_MOST_HALVINGS: Final = 6
_FAR: Final = 1.5
_OVERSHOOT: Final = 1e-4
_MOST_CORRECTIONS: Final = 4

Function = Callable[[Tensor], Tensor]


class HappensAlreadyError(InputError):
    """The event happens in the factual forecast, so that there is nothing to seek."""


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Attributes
    ----------
    z
        (size,) the coordinates.
    start, value, goal
        Value of the function at 0 and at ``z``, and the goal.
    gradients, evaluations
        Gradients and values of the function that were computed.
    cosine
        Of ``z`` and the gradient at the last point that had one.
    converged
        Whether ``z`` is the smallest within the tolerances; else it is only one that reaches the
        goal.
    """

    z: Tensor
    value: float
    start: float
    goal: float
    gradients: int
    evaluations: int
    cosine: float
    converged: bool

    @property
    def length(self) -> float:
        """|z|."""
        return float(self.z.norm())

    @property
    def probability(self) -> float:
        """Φ(-|z|), the first-order estimate."""
        return 0.5 * math.erfc(self.length / math.sqrt(2))


class _Counted:
    """A function that counts its calls and turns unphysical states into infinite distance."""

    def __init__(self, function: Function, tick: Callable[[], None]) -> None:
        self._function, self._tick = function, tick
        self.evaluations = self.gradients = 0

    def value(self, z: Tensor) -> Tensor | None:
        """Return the value with its graph; None where the function refuses the point."""
        self.evaluations += 1
        self._tick()
        try:
            found = self._function(z)
        except InputError:
            return None
        return found if math.isfinite(found.item()) else None

    def gradient(self, value: Tensor, z: Tensor) -> Tensor:
        """Return the gradient of a value that :meth:`value` gave."""
        self.gradients += 1
        z.grad = None
        value.backward()  # type: ignore[no-untyped-call]
        found = torch.zeros_like(z) if z.grad is None else z.grad.clone()
        z.grad = None
        return found


def find_smallest(
    function: Function,
    size: int,
    goal: float | Callable[[float], float],
    *,
    dtype: torch.dtype = torch.float32,
    largest: float = math.inf,
    tick: Callable[[], None] = lambda: None,
) -> SearchResult:
    """Find the smallest coordinates at which a function is at least the goal.

    Parameters
    ----------
    function
        Maps coordinates (size,) to a number, differentiably; an InputError refuses a point.
    size
        Number of coordinates.
    goal
        The value to reach, above that at 0.
    dtype
        Of the coordinates.
    largest
        |z| above which a result is refused as extrapolation.
    tick
        Called before each value is computed.

    Returns
    -------
    SearchResult
        With ``value`` ≥ ``goal``.

    Raises
    ------
    HappensAlreadyError
        If the value at 0 reaches the goal already.
    InputError
        If the value does not depend on the coordinates, the goal is not reached, or needs larger
        coordinates than those allowed.

    Examples
    --------
    >>> slope = torch.tensor([3.0, 4.0], dtype=torch.float64)
    >>> found = find_smallest(lambda z: z @ slope - 1, 2, 9.0, dtype=torch.float64)
    >>> round(found.length, 3), found.gradients, found.z.numpy().round(2)
    (2.0, 2, array([1.2, 1.6]))
    """
    counted = _Counted(function, tick)
    z = torch.zeros(size, dtype=dtype, requires_grad=True)
    value = counted.value(z)
    if value is None:
        counted.evaluations = 0
        value = function(z)  # raises what was refused
    start = value.item()
    goal = goal(start) if callable(goal) else goal
    if start >= goal:
        raise HappensAlreadyError(
            f"the event happens already: {start:.6g}, where {goal:.6g} is asked for",
            field="counterfactual",
            hint="ask for a higher threshold, or for the opposite",
        )
    reach, best = goal - start, _Best(goal)
    cosine = 0.0
    while True:
        gradient = counted.gradient(value, z)
        squared = float(gradient.square().sum())
        if not 0 < squared < math.inf:
            raise InputError(
                "the event does not depend on the initial state",
                field="counterfactual",
                hint="choose another place or an earlier day",
            )
        best.note(z, value.item())
        at = z.detach()
        cosine = float(torch.cosine_similarity(at, gradient, dim=0))
        if abs(value.item() - goal) < TOLERANCE * reach and cosine > ALIGNED:
            break
        if counted.gradients >= MOST_ITERATIONS or float(at.norm()) > _FAR * largest:
            break
        following = _line_search(counted, at, value.item(), goal, gradient, best)
        if following is None:
            break
        z, value = following
    if float(z.detach().norm()) <= largest:
        _correct(counted, z.detach(), value.item(), goal, gradient, best)
    z, reached = best.require(z.detach(), largest, counted.gradients)
    converged = cosine > ALIGNED and abs(reached - goal) < TOLERANCE * reach
    return SearchResult(
        z, reached, start, goal, counted.gradients, counted.evaluations, cosine, converged
    )


class _Best:
    """The smallest point so far at which the goal is reached, and the nearest value of all."""

    def __init__(self, goal: float) -> None:
        self._goal = goal
        self.point: tuple[Tensor, float] | None = None
        self.nearest = -math.inf

    def require(self, last: Tensor, largest: float, gradients: int) -> tuple[Tensor, float]:
        """Return the point and its value; InputError if there is none, or it is too far."""
        point = self.point
        length = float((last if point is None else point[0]).norm())
        if length > largest:
            raise InputError(
                f"the smallest change that brings the event has |z| = {length:.2f}, above "
                f"{largest:g}: it lies outside what the chart's climate and the model have seen, "
                "and a change would be extrapolation",
                field="counterfactual",
                hint="ask for a lower threshold",
            )
        if point is None:
            raise InputError(
                f"no change was found that brings the event: {self.nearest:.6g} of "
                f"{self._goal:.6g} after {gradients} gradients",
                field="counterfactual",
                hint="ask for a lower threshold or an earlier day",
            )
        return point

    def note(self, z: Tensor, value: float) -> None:
        if abs(value - self._goal) < abs(self.nearest - self._goal):
            self.nearest = value
        if value >= self._goal:
            z = z.detach()
            if self.point is None or float(z.norm()) < float(self.point[0].norm()):
                self.point = z.clone(), value


def _line_search(
    counted: _Counted,
    at: Tensor,
    value: float,
    goal: float,
    gradient: Tensor,
    best: _Best,
) -> tuple[Tensor, Tensor] | None:
    """Return the next point and its value, where the merit falls; None if it falls nowhere."""
    # The merit is ½|z|² + c |J - goal| with c above |z| / |g|, for which the step is a descent
    # direction; c has the units of 1 / |g|, so that the search does not depend on those of J.
    squared = float(gradient.square().sum())
    step = (float(gradient @ at) - (value - goal)) / squared * gradient - at
    weight = 2 * max(float(at.norm()), float((at + step).norm()), 0.5) / squared**0.5
    before = 0.5 * float(at.square().sum()) + weight * abs(value - goal)
    size = 1.0
    for _ in range(_MOST_HALVINGS):
        z = (at + size * step).requires_grad_()
        found = counted.value(z)
        if found is not None:
            best.note(z, found.item())
            merit = 0.5 * float(z.detach().square().sum()) + weight * abs(found.item() - goal)
            if merit < before:
                return z, found
        size /= 2
    return None


def _correct(
    counted: _Counted, z: Tensor, value: float, goal: float, gradient: Tensor, best: _Best
) -> None:
    """Move along the gradient until the goal is reached and not only approached."""
    slope = gradient / gradient.square().sum()
    aim = goal + _OVERSHOOT * abs(goal - value)
    for _ in range(_MOST_CORRECTIONS):
        if value >= goal:
            return
        z = z + (aim - value) * slope
        aim += goal - value  # a slope that is too flat is overcome by aiming higher
        with torch.no_grad():
            found = counted.value(z)
        if found is None:
            return
        value = found.item()
        best.note(z, value)
