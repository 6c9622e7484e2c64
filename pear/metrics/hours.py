"""Scores by hour of day, from the sums by init time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from pear.metrics.dataset import (
    scores_to_dataset,
    scores_to_frame,
    sums_from_dataset,
    to_records,
)

if TYPE_CHECKING:
    import pandas as pd

HOUR_METRICS: Final = ("acc", "rmse", "mae", "bias")


def scores_by_hour(data: xr.Dataset, metrics: Sequence[str] = HOUR_METRICS) -> pd.DataFrame | None:
    """Compute scores of the forecasts from each hour of the day by themselves.

    At a given lead time all forecasts from one hour are valid at one hour, too, so that each row
    is of one init hour and of one valid hour: what errs by night alone is not averaged away.

    Parameters
    ----------
    data
        With ``sums`` as in :func:`pear.metrics.dataset.sums_to_dataset`.
    metrics
        Names of :data:`pear.metrics.SCORES`.

    Returns
    -------
    pandas.DataFrame or None
        ``init_hour`` and ``valid_hour`` (UTC, 0 to 23) before the columns of
        :func:`pear.metrics.dataset.scores_to_frame`, where ``init_times`` is the number of those of
        the hour; None if all forecasts start at the same hour.

    Examples
    --------
    >>> import numpy as np
    >>> from pear.metrics import ScoreAccumulator
    >>> from pear.metrics.dataset import sums_to_dataset
    >>> lead, inits = np.timedelta64(6, "h"), np.array(["2019-01-01T00", "2019-01-01T12"], "M8[s]")
    >>> table = ScoreAccumulator(inits, lead, (("2m_temperature", None),))
    >>> for time, error in zip(inits, (1.0, 3.0), strict=True):
    ...     table.add(time, lead, np.full((1, 48), error), *np.zeros((2, 1, 48)))
    >>> frame = scores_by_hour(sums_to_dataset({"pear": table}))
    >>> frame[["init_hour", "valid_hour", "rmse"]].values.tolist()
    [[0.0, 6.0, 1.0], [12.0, 18.0, 3.0]]
    """
    import pandas as pd

    tables = sums_from_dataset(data)
    inits = next(iter(tables.values())).inits.astype("datetime64[h]").astype(np.int64)
    hours = np.unique(inits % 24)
    if hours.size < 2:
        return None
    frames = []
    for hour in hours:
        rows = np.flatnonzero(inits % 24 == hour)
        parts = {name: table.select(inits=rows) for name, table in tables.items()}
        scores = scores_to_dataset(parts, metrics).assign_attrs(data.attrs)
        frame = scores_to_frame(scores)
        lead_hours = (frame["lead_days"].astype(float) * 24).round().astype(int)
        frame.insert(0, "init_hour", int(hour))
        frame.insert(1, "valid_hour", (int(hour) + lead_hours) % 24)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def hourly_records(data: xr.Dataset) -> list[dict[str, Any]]:
    """Return the rows of :func:`scores_by_hour` as JSON can hold them; empty for one hour."""
    frame = scores_by_hour(data)
    return [] if frame is None else to_records(frame)
