"""Writing of a run, or of part of it, as GRIB 2 messages, on HEALPix or a latitude-longitude grid.

One message holds one field. Values are 32-bit floats of IEEE (data representation template 5.4), so
that they read back as they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np
import xarray as xr

from pear.derived import find_derived
from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside, nside_from_cells
from pear.store.schema import PROBABILITY, STATISTIC
from pear.times import as_utc
from pear.typing import Array
from pear.variables import MEMBERS, Variable, variable

_CENTRE: Final = 255  # consensus: PEAR is not an originating centre of WMO
_TABLES: Final = 34
_RESEARCH: Final = 2
_SPHERE: Final = 6  # of radius 6371229 m, as the grids of ECMWF
_DERIVED: Final = {"mean": 0, "spread": 4}
"""Code table 4.7: unweighted mean of all members, and their spread."""
_ABOVE: Final = 3  # code table 4.9: probability of an event above a lower limit
_CONTROL, _PERTURBED = 1, 3  # code table 4.6
_SUM: Final = 1
_TEMPLATES: Final = {
    "forecast": (0, 8),
    "member": (1, 11),
    "mean": (2, 12),
    "spread": (2, 12),
    "probability": (5, 9),
    "quantile": (6, 10),
}
"""Product definition templates of instants and of sums over time."""
_PARAMETERS: Final[dict[str, tuple[int, float]]] = {
    # ECMWF's local parameters in the units of WMO's own.
    "total_cloud_cover": (228164, 100.0),
    "total_precipitation_6hr": (228228, 1000.0),
    "10m_wind_speed": (207, 1.0),
    "10m_wind_direction": (260260, 1.0),
    "100m_wind_speed": (228249, 1.0),
    "100m_wind_direction": (3031, 1.0),
    "2m_relative_humidity": (260242, 1.0),
    "wind_speed": (10, 1.0),
    "wind_direction": (3031, 1.0),
    "relative_humidity": (157, 1.0),
    "dewpoint_temperature": (3017, 1.0),
    "potential_temperature": (3, 1.0),
    "vorticity": (138, 1.0),
    "divergence": (155, 1.0),
}
"""Parameter of ECMWF and factor to its unit, of what the table of variables does not tell."""


@dataclass(frozen=True)
class Product:
    """What the fields of a store are: a forecast, or a statistic of an ensemble.

    Attributes
    ----------
    kind
        ``forecast``, ``member``, ``mean``, ``spread``, ``probability`` or ``quantile``.
    members
        Size of the ensemble; 0 of a single forecast.
    number
        Number of the member, or per cent of the quantile.
    limit
        Value that is exceeded, in the unit of the variable.
    """

    kind: str
    members: int = 0
    number: int = 0
    limit: float = 0.0

    @classmethod
    def of(cls, dataset: xr.Dataset) -> Product:
        """Return the product of a part of a run, by its attributes.

        Returns
        -------
        Product
            A forecast, if nothing else is said.

        Raises
        ------
        InputError
            If a probability does not name its limit.

        Examples
        --------
        >>> Product.of(xr.Dataset(attrs={"pear_statistic": "10 % quantile"}))
        Product(kind='quantile', members=0, number=10, limit=0.0)
        """
        attributes = dataset.attrs
        members = int(attributes.get(MEMBERS, 0))
        part = str(attributes.get("pear_run", "")).partition(".")[2]
        if PROBABILITY in attributes:
            text = str(attributes[PROBABILITY])
            found = re.search(r" above (\S+) ", f"{text} ")
            if found is None:
                raise InputError(f"no limit is named in {text!r}", field="statistic")
            return cls("probability", members, limit=float(found[1]))
        statistic = str(attributes.get(STATISTIC, ""))
        if statistic.endswith("quantile"):
            return cls("quantile", members, int(statistic.split()[0]))
        if statistic:
            return cls("spread", members)
        if re.fullmatch(r"m\d+", part):
            return cls("member", members, int(part[1:]))
        return cls("mean" if members else "forecast", members)

    def template(self, row: Variable) -> int:
        """Return the number of the product definition template for a variable."""
        return _TEMPLATES[self.kind][row.accumulated_hours is not None]

    def keys(self, scale: float) -> dict[str, int]:
        """Return the keys of the template, for a unit that is ``scale`` times that of the store."""
        if self.kind == "member":
            kind = _PERTURBED if self.number else _CONTROL
            return {
                "typeOfEnsembleForecast": kind,
                "perturbationNumber": self.number,
                "numberOfForecastsInEnsemble": self.members,
            }
        if self.kind in _DERIVED:
            return {
                "derivedForecast": _DERIVED[self.kind],
                "numberOfForecastsInEnsemble": self.members,
            }
        if self.kind == "quantile":
            return {"percentileValue": self.number}
        if self.kind == "probability":
            factor, value = scaled(self.limit * scale)
            return {
                "probabilityType": _ABOVE,
                "scaleFactorOfLowerLimit": factor,
                "scaledValueOfLowerLimit": value,
            }
        return {}


def scaled(value: float) -> tuple[int, int]:
    """Return factor and integer of a number as GRIB writes it: value = integer · 10^-factor.

    Returns
    -------
    tuple of int
        The smallest factor with which nothing is lost, at most 9 digits.

    Examples
    --------
    >>> scaled(303.15), scaled(54000.0)
    ((2, 30315), (0, 54000))
    """
    for factor in range(10):
        integer = round(value * 10**factor)
        if abs(integer) < 10**9 and np.isclose(integer / 10**factor, value, rtol=1e-9, atol=0.0):
            return factor, integer
    digits = max(0, 8 - len(str(int(abs(value)))))
    return digits, round(value * 10**digits)


def require_encodable(names: tuple[str, ...], *, has_part_of_cells: bool) -> None:
    """Raise unless GRIB has numbers for all variables, and a grid of these cells.

    Parameters
    ----------
    names
        Canonical names.
    has_part_of_cells
        True for a region of the HEALPix grid, which GRIB does not know.

    Raises
    ------
    InputError
        Naming the variable or the parameter.

    Examples
    --------
    >>> require_encodable(("temperature",), has_part_of_cells=False)
    """
    if has_part_of_cells:
        raise InputError(
            "GRIB has whole HEALPix grids only",
            field="bbox",
            hint="leave out bbox, or use grid=latlon:1.5",
        )
    for name in names:
        if _parameter(_row(name))[0] is None and _row(name).discipline_category_number is None:
            raise InputError(
                f"{name} has no number in GRIB",
                field="variables",
                hint="leave it out, or write NetCDF",
            )


def write_grib(part: xr.Dataset, target: Path) -> None:
    """Write a part of a run as GRIB 2: lead times in order, of each all variables and levels.

    Parameters
    ----------
    part
        (time, prediction_timedelta, [level,] cell) or (…, latitude, longitude), one init time.
    target
        The file.
    """
    codes = load_eccodes()
    product, init = Product.of(part), as_utc(part["time"].values)[0]
    with target.open("wb") as file:
        for index, lead in enumerate(part["prediction_timedelta"].values):
            hours = int(lead / np.timedelta64(1, "h"))
            fields = part.isel(time=0, prediction_timedelta=index)
            for name in part.data_vars:
                row, values = _row(str(name)), np.asarray(fields[name].values)
                for level, field in _levels(fields[name], values):
                    message = codes.codes_grib_new_from_samples("GRIB2")
                    try:
                        _set_grid(codes, message, fields)
                        _set_product(codes, message, product, row, (init, hours, level))
                        _set_values(codes, message, field, _factor(product, row))
                        codes.codes_write(message, file)
                    finally:
                        codes.codes_release(message)


def load_eccodes() -> ModuleType:
    """Return ecCodes.

    Returns
    -------
    module
        The module ``eccodes``.

    Raises
    ------
    InputError
        If it is not installed.
    """
    from pipelines.ingestion.readers import eccodes

    try:
        return eccodes.load()
    except (ImportError, RuntimeError) as error:
        raise InputError(
            "GRIB needs ecCodes", field="format", hint="pip install 'pear-weather[grib]'"
        ) from error


def _row(name: str) -> Variable:
    found = find_derived(name)
    return found.row if found is not None else variable(name)


def _parameter(row: Variable) -> tuple[int | None, float]:
    return _PARAMETERS.get(row.name, (row.param_id, 1.0))


def _factor(product: Product, row: Variable) -> float:
    """Return the factor from the store to the message: probabilities are in per cent."""
    return 100.0 if product.kind == "probability" else _parameter(row)[1]


def _levels(field: xr.DataArray, values: Array) -> Iterator[tuple[int | None, Array]]:
    if "level" not in field.dims:
        yield None, values
        return
    for level, one in zip(field["level"].values, values, strict=True):
        yield int(level), one


def _set_grid(codes: ModuleType, message: int, fields: xr.Dataset) -> None:
    codes.codes_set(message, "tablesVersion", _TABLES)
    codes.codes_set(message, "centre", _CENTRE)
    codes.codes_set(message, "productionStatusOfProcessedData", _RESEARCH)
    if "cell" in fields.dims:
        nside = nside_from_cells(fields.sizes["cell"])
        found: dict[str, str | int | float] = {
            "gridType": "healpix",
            "Nside": nside,
            "ordering": "nested",
            "numberOfDataPoints": cells_of_nside(nside),
            "longitudeOfFirstGridPointInDegrees": 45.0,
        }
    else:
        lat, lon = fields["latitude"].values, fields["longitude"].values
        found = {
            "gridType": "regular_ll",
            "Ni": lon.size,
            "Nj": lat.size,
            "latitudeOfFirstGridPointInDegrees": float(lat[0]),
            "latitudeOfLastGridPointInDegrees": float(lat[-1]),
            "longitudeOfFirstGridPointInDegrees": float(lon[0] % 360.0),
            "longitudeOfLastGridPointInDegrees": float(lon[-1] % 360.0),
            "iDirectionIncrementInDegrees": _increment(lon),
            "jDirectionIncrementInDegrees": _increment(lat),
        }
    for key, value in {**found, "shapeOfTheEarth": _SPHERE}.items():
        codes.codes_set(message, key, value)


def _increment(axis: Array) -> float:
    return float(abs(axis[1] - axis[0])) if axis.size > 1 else 0.0


def _set_product(
    codes: ModuleType,
    message: int,
    product: Product,
    row: Variable,
    at: tuple[np.datetime64, int, int | None],
) -> None:
    init, hours, level = at
    text, (number, scale) = str(init.astype("datetime64[m]")), _parameter(row)
    keys: dict[str, str | int] = {
        "productDefinitionTemplateNumber": product.template(row),
        **product.keys(scale),
        "dataDate": int(text[:10].replace("-", "")),
        "dataTime": int(text[11:].replace(":", "")),
        "stepUnits": "h",
    }
    if row.accumulated_hours is None:
        keys["forecastTime"] = hours
    else:
        keys |= {
            "typeOfStatisticalProcessing": _SUM,
            "startStep": hours - row.accumulated_hours,
            "endStep": hours,
        }
    if number is not None:
        keys["paramId"] = number
    elif row.discipline_category_number is not None:
        names = ("discipline", "parameterCategory", "parameterNumber")
        keys |= dict(zip(names, row.discipline_category_number, strict=True))
    if level is not None:
        keys |= {"typeOfLevel": "isobaricInhPa", "level": level}
    elif row.name.startswith("100m_wind_direction"):
        keys |= {"typeOfLevel": "heightAboveGround", "level": 100}
    for key, value in keys.items():
        codes.codes_set(message, key, value)


def _set_values(codes: ModuleType, message: int, field: Array, factor: float) -> None:
    values = np.asarray(field, dtype=np.float64).ravel()
    if factor != 1.0:  # as a float32, which is what is stored
        values = (values * factor).astype(np.float32).astype(np.float64)
    codes.codes_set(message, "packingType", "grid_ieee")
    codes.codes_set(message, "precision", 1)
    codes.codes_set_values(message, values)
