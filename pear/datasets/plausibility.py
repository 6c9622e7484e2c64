"""Fields that no weather has: constant, partly so, of a wrong unit, or with a number for gaps.

The commonest value of a real field covers little of the globe, or (where few digits are kept) not
much more than the second commonest: at most 3.2 times as much in all real files that were measured,
down to fields of eleven distinct values. Unwritten blocks and fill values stand out by hundreds.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pear.datasets.units import RELATIVE_HUMIDITY, Conversion, Quantity, units_of
from pear.sphere.latlon import LatLonGrid
from pear.sphere.source_grids import SourceGrid, area_shares, on_poles
from pear.store.static_fields import GROUND, LAND
from pear.typing import Float32
from pear.variables import BY_NAME, rms_range, wind_pair

_HUMIDITY: Final = ("specific_humidity", RELATIVE_HUMIDITY)
_DRY_ABOVE: Final = 300  # hPa; stored with few digits, humidity is zero over wide areas there
_FLOOR: Final = 1e-5  # kg kg-1
_SAMPLE: Final = 17  # one point in so many is enough to rule a plateau out
# (area share, times the share of the second commonest value) that no weather reaches
_PLATEAUS: Final = ((0.2, 8.0), (0.03, 20.0))
_LEAST_POINTS: Final = 500  # of a field that is told from noise
_SEAM: Final = 0.01  # of the range of values; packing and regridding leave less
# Values of static fields on sea and land; packing moves them by a little.
_COMMON_STATIC: Final[dict[str, tuple[tuple[float, ...], float]]] = {
    GROUND: ((0.0,), 500.0),
    LAND: ((0.0, 1.0), 0.01),
}
# Bounds of the root mean square of static fields over the globe; the Earth's are 7500 and 0.54.
_RMS_STATIC: Final = {GROUND: (1800.0, 20000.0), LAND: (0.15, 0.95)}
_SENTINELS: Final = (-99.0, -99.9, -999.0, -999.9, -9999.0, -99999.0, 99.0, 999.0, 9999.0, 99999.0)


def find_implausible(
    values: Float32,
    grid: SourceGrid,
    quantity: Quantity,
    level: int | None,
    how: Conversion,
    *,
    may_rest: bool = False,
) -> str | None:
    """Look for values in a field that cannot be weather.

    Parameters
    ----------
    values
        (point,), in the units of the quantity, without missing values.
    grid
        Grid of the points.
    quantity
        What the field is.
    level
        Pressure level in hPa, or None.
    how
        How the values were converted, so that numbers are quoted as the file has them.
    may_rest
        Whether winds may be given by formulas, such as exactly zero in part or everywhere.

    Returns
    -------
    str or None
        What is wrong; None if nothing is.

    Examples
    --------
    >>> from pear.datasets.plausibility import find_implausible
    >>> from pear.sphere.latlon import global_grid
    >>> how = Conversion(1.0, 0.0, "K", "K")
    >>> values = np.full(19 * 36, 270.0, dtype=np.float32)
    >>> find_implausible(values, global_grid(19, 36), Quantity("2m_temperature"), None, how)
    'one value everywhere (270): no data were written, or a fill value was taken for data'
    """
    low, high = values.min(), values.max()
    is_at_rest = may_rest and wind_pair(quantity.name) is not None
    if low == high and not (is_at_rest and low == 0.0):
        return (
            f"one value everywhere ({_raw(low, how)}): no data were written, or a fill value was "
            "taken for data"
        )
    if fault := _open_seam(values, grid, how):
        return fault
    row = BY_NAME.get(quantity.name)
    if is_at_rest:  # formulas also have one value along lines and circles
        return None
    for extreme, sign in ((low, 1.0), (high, -1.0)):
        if _are_common(np.array([extreme]), quantity.name).all():
            continue
        fault = _lone_number(values, grid, float(extreme), sign, how)
        if fault:
            return fault
    dry = quantity.name in _HUMIDITY and (level is None or level <= _DRY_ABOVE)
    filled = row is not None and row.missing is not None  # water under ice, and gaps of land
    if not (dry or filled) and (fault := _plateau(values, grid, quantity, how)):
        return fault
    return _unusual_size(values, grid, quantity, level, how)


def neighbour_correlation(values: Float32, name: str, level: int | None) -> float:
    """Return the correlation of points that follow each other, which noise does not have.

    They are neighbours on the globe in every order of points. The least of all real files that were
    measured, on grids as coarse as 10 degrees, is 0.59.

    Parameters
    ----------
    values
        (point,).
    name
        Canonical name.
    level
        Pressure level in hPa, or None.

    Returns
    -------
    float
        NaN for fewer than 500 points, for vertical velocity, rain, clouds and the like, and for the
        little humidity aloft, which may be as rough as noise.

    Examples
    --------
    >>> from pear.datasets.plausibility import neighbour_correlation
    >>> smooth = np.sin(np.arange(1000) / 10).astype(np.float32)
    >>> round(neighbour_correlation(smooth, "temperature", 500), 2)
    0.99
    """
    row = BY_NAME.get(name)
    dry = name in _HUMIDITY and (level is None or level <= _DRY_ABOVE)
    if row is None or not row.published or dry or values.size < _LEAST_POINTS:
        return float("nan")
    centred = values.astype(np.float64) - float(values.mean(dtype=np.float64))
    scale = float(centred @ centred)
    return float(centred[:-1] @ centred[1:]) / scale if scale else float("nan")


def _unusual_size(
    values: Float32, grid: SourceGrid, quantity: Quantity, level: int | None, how: Conversion
) -> str | None:
    """Find a root mean square over the globe that no climate has, as of a wrong unit."""
    if quantity.name in _RMS_STATIC:
        bounds: tuple[float, float] | None = _RMS_STATIC[quantity.name]
    else:
        bounds = rms_range(quantity.name, level) if quantity.name in BY_NAME else None
    if bounds is None:
        return None
    weights, low, high = area_shares(grid), *bounds

    def rms(factor: float, offset: float) -> float:
        raw = (values.astype(np.float64) - how.offset) / how.factor
        return float(np.sqrt(weights @ (raw * factor + offset) ** 2))

    found = float(np.sqrt(weights @ values.astype(np.float64) ** 2))
    if low <= found <= high:
        return None
    text = (
        f"a root mean square over the globe of {found:.3g} {how.target}, outside of "
        f"[{low:.3g}, {high:.3g}]"
    )
    for unit, (factor, offset) in units_of(quantity).items() if quantity.name in BY_NAME else ():
        if low <= rms(factor, offset) <= high:
            return (
                f"{text}; it fits units of {unit!r}: is the attribute units={how.stated!r} wrong?"
            )
    return f"{text}; its unit is wrong, or the variable is mislabelled"


def _are_common(values: Float32, name: str) -> npt.NDArray[np.bool_]:
    """Return which values, (value,), may cover much of the globe, such as no rain and the sea."""
    row = BY_NAME.get(name)
    common, tolerance = _COMMON_STATIC.get(name, (() if row is None else row.common_values, 1e-6))
    near = np.isclose(values[:, None], np.array(common)[None], rtol=0, atol=tolerance)
    return np.asarray(near.any(axis=1))


def _plateau(values: Float32, grid: SourceGrid, quantity: Quantity, how: Conversion) -> str | None:
    """Find one value on a large part of the globe."""
    sample = values[::_SAMPLE]
    if np.unique(sample, return_counts=True)[1].max() < 0.02 * sample.size and values.size > 20_000:
        return None
    found, index = np.unique(values, return_inverse=True)
    shares = np.bincount(index, weights=area_shares(grid))
    if quantity.name in _COMMON_STATIC:  # sea and land apart, a plateau still stands out
        shares[_are_common(found, quantity.name)] = 0.0
    commonest = int(shares.argmax())
    first, second = shares[commonest], np.partition(shares, -2)[-2]
    bounded = quantity.name == RELATIVE_HUMIDITY and found[commonest] in (0.0, 100.0)
    bounded |= bool(_are_common(found[[commonest]], quantity.name).all())
    # Models keep specific humidity from becoming negative by a floor such as 1e-7.
    bounded |= (
        quantity.name == "specific_humidity" and 0.0 < values.min() <= _FLOOR and commonest == 0
    )
    if not bounded and any(first >= p and first >= ratio * second for p, ratio in _PLATEAUS):
        return (
            f"one value ({_raw(found[commonest], how)}) on {100 * first:.0f} % of the globe: parts "
            "were not written, or a fill value was taken for data"
        )
    return None


def _open_seam(values: Float32, grid: SourceGrid, how: Conversion) -> str | None:
    """Find a last column that is to repeat the first, 360 degrees east of it, and does not."""
    if not (isinstance(grid, LatLonGrid) and grid.closed):
        return None
    columns = values.reshape(grid.shape)
    apart = float(np.abs(columns[:, -1] - columns[:, 0]).max())
    if apart <= _SEAM * float(values.max() - values.min()):
        return None
    return (
        f"the column at {grid.lon[-1]:g} degrees east is that at {grid.lon[0]:g} degrees, but "
        f"differs from it by up to {apart / abs(how.factor):.3g}"
    )


def _lone_number(
    values: Float32, grid: SourceGrid, extreme: float, sign: float, how: Conversion
) -> str | None:
    """Find an extreme that several points share, far from all other values."""
    here = values == np.float32(extreme)
    count = int(here.sum())
    if count < 2 or not (here & ~on_poles(grid)).any():  # a row on a pole is one point, many times
        return None
    rest = values[~here]
    gap = sign * (float(rest.min() if sign > 0 else rest.max()) - extreme)
    spread = float(rest.max() - rest.min())
    raw = float(_raw(extreme, how))
    known = any(abs(raw - number) < 1e-3 for number in _SENTINELS)
    if gap > spread > 0 or (known and gap > 0.05 * spread > 0):
        return f"the value {raw:g} at {count} points, far from all others, stands for missing ones"
    return None


def _raw(value: float | np.floating, how: Conversion) -> str:
    """Return a value as the file has it."""
    return f"{(float(value) - how.offset) / how.factor:.6g}"
