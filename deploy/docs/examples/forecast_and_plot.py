# %% [markdown]
# # Forecast and plot
#
# Five days of weather from one state, as a Dataset on HEALPix cells, and maps of it. The states are
# those of the embedded simulated atmosphere; your own Dataset or store is used in the same way.

# %%
import cartopy.crs as ccrs
import matplotlib.pyplot as plt

import pear

analysis = pear.sample_analysis()
model = pear.load_model("shipped")
forecast = model.forecast(analysis, init="2006-11-10", lead="5d")
print(dict(forecast.sizes))

# %% [markdown]
# Fields have the short names of meteorology: `z500` is the geopotential at 500 hPa, drawn as
# height.

# %%
figure = plt.figure(figsize=(11, 3.4), layout="constrained")
for column, lead in enumerate(("1d", "3d", "5d"), start=1):
    axes = figure.add_subplot(1, 3, column, projection=ccrs.Robinson())
    forecast.pear.plot("z500", lead=lead, ax=axes)
    axes.set_title(f"day {lead[0]}")
figure.savefig("forecast_and_plot.png", dpi=80)

# %% [markdown]
# The temperature at a place, and all fields on a latitude–longitude grid. Wind is interpolated as a
# vector, so it is correct at the poles too.

# %%
stockholm = forecast.pear.sel_point(59.3, 18.1)
celsius = (stockholm["2m_temperature"].squeeze() - 273.15).to_series().round(1)
print(celsius.to_string())

regular = forecast.pear.to_latlon(2.5)
print(dict(regular.sizes))
