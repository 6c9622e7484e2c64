"""Climatologies: what is usual at a valid time, built from an analysis store by dask.

Three kinds, named in the store and in every answer that used one:

``harmonic``
    Mean and the first harmonics of the year, by least squares: small enough to ship.
``daily``
    Mean of the same calendar day over the years (the published PEAR's), with a leap-day rule.
``smoothed``
    Gaussian-weighted mean of the 61 days around each day (WeatherBench2's kind).

Each keeps the hours of the day apart. All are read by VALID time.
"""

from pipelines.climatology.build import build
from pipelines.climatology.read import KINDS, Climatology, Kind

__all__ = ["KINDS", "Climatology", "Kind", "build"]
