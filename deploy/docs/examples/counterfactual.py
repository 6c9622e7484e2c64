# %% [markdown]
# # A counterfactual
#
# What would have had to be different on 11 November for Europe to be warmer three days later? The
# answer is the smallest change of the initial state that brings the event, found with the
# gradients of the forecast, among the changes that are likely in the climate
# ([arXiv 2206.05075](https://arxiv.org/abs/2206.05075)). It shows what the model is sensitive to,
# not what causes warm weather.

# %%
import cartopy.crs as ccrs
import matplotlib.pyplot as plt
import numpy as np

import pear
from pear.counterfactual.chart import Chart
from pear.counterfactual.event import parse_event
from pear.counterfactual.find import find_counterfactual
from pear.resources.natural_earth import coastline

model = pear.load_model("shipped")
analysis = pear.sample_analysis()


def state(time: str) -> pear.State:
    """Return the state of a day as the model reads it."""
    return pear.State.from_xarray(analysis, time, model.layout, model.nside)


# %% [markdown]
# Which changes are likely is read from at least a year of states: the chart holds the leading
# patterns of their anomalies, and a change is a point *z* in it, with *z* ~ N(0, 1) in the climate.
# The package brings 25 days, so the model itself makes the year, in one to five minutes. For an
# analysis store of your own, `pear models chart` fits the chart, and `pear forecast
# --counterfactual` does the search.

# %%
year = list(model.iterate(state("2006-11-25"), 366))
chart = Chart.fit(
    lambda day: year[day].to_channels()[0],
    np.concatenate([each.valid_time for each in year]),
    model.layout,
    source="a year of the shipped model",
)
print(f"{chart.size} patterns hold {chart.share:.0%} of the variance")

# %% [markdown]
# The event: the mean of the temperature at 850 hPa over Europe, two standard deviations above the
# climatology of the chart, on day 3. The second search changes every cell for itself.

# %%
event = parse_event("mean:t850@45..60N,0..40E>+2sd day 3")
start = state("2006-11-11")
found = {
    name: find_counterfactual(model, start, chart, event, longest=72, coordinates=name)
    for name in ("chart", "cells")
}
for name, each in found.items():
    figures = each.figures
    print(
        f"{name}: {figures.factual:.1f} K becomes {figures.counterfactual:.1f} K, asked "
        f"{figures.threshold:.1f} K; size {figures.size:.3f} of an anomaly's, "
        f"{figures.small_scales:.0%} of it in small scales"
    )

# %% [markdown]
# Along the chart the change is wide and smooth, as weather is, and grows into the warm anomaly. In
# cells it is many times smaller and looks like noise, which analyses do not contain; the model
# reacts to it all the same. The maps show the change of t850 at the start and three days later.

# %%
figure = plt.figure(figsize=(9, 5), layout="constrained")
views = {"projection": ccrs.Robinson()}
factual = model.forecast(start, lead="3d", variables=["temperature"])["temperature"]
for row, (name, each) in enumerate(found.items()):
    changed = model.forecast(each.initial, lead="3d", variables=["temperature"])["temperature"]
    change = pear.to_latlon((changed - factual).sel(level=850).to_dataset(), 1.0)["temperature"]
    for column, lead in enumerate(("0D", "3D")):
        axes = figure.add_subplot(2, 2, 2 * row + column + 1, **views)
        field = change.sel(prediction_timedelta=lead).squeeze()
        limit = float(np.abs(field).max())
        drawn = axes.pcolormesh(
            field["longitude"],
            field["latitude"],
            field.transpose("latitude", "longitude"),
            transform=ccrs.PlateCarree(),
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
        )
        for line in coastline():
            axes.plot(*line.T, color="black", linewidth=0.5, transform=ccrs.PlateCarree())
        axes.set_title(f"{name}, day {lead[0]}")
        figure.colorbar(drawn, ax=axes, shrink=0.6, label="K")
figure.savefig("counterfactual.png", dpi=80)
