# %% [markdown]
# # Evaluation, beside another library
#
# Forecasts from four init times, scored by PEAR and, to compare, by the library
# [scores](https://scores.readthedocs.io). HEALPix cells have equal area, so no weights are needed.

# %%
import matplotlib.pyplot as plt
import numpy as np
import scores
import xarray as xr

import pear

analysis = pear.sample_analysis()
model = pear.load_model("shipped")
inits = analysis["time"].values[:4]
forecast = model.forecast(analysis, init=inits, lead="5d", variables=["z"])
result = pear.evaluate(forecast, analysis, climatology="shipped", metrics=["rmse", "acc"])
z500 = result["geopotential"].sel(level=500, region="global")
z500 = z500.drop_sel(forecaster="climatology")  # its anomalies are zero, and have no correlation
print(z500.sel(metric="acc").to_pandas().round(3).to_string())

# %% [markdown]
# The root mean square error once more, from the fields themselves.

# %%
predicted = forecast["geopotential"].sel(level=500)
valid = predicted["time"] + predicted["prediction_timedelta"]
observed = analysis["geopotential"].sel(level=500).sel(time=valid.values.ravel())
observed = xr.DataArray(
    observed.transpose("time", "cell").values.reshape(*valid.shape, -1),
    dims=("time", "prediction_timedelta", "cell"),
)
predicted = predicted.transpose("time", "prediction_timedelta", "cell").drop_vars(
    list(predicted.coords)
)
theirs = scores.continuous.rmse(
    predicted.astype(float), observed.astype(float), preserve_dims="prediction_timedelta"
)
ours = z500.sel(metric="rmse", forecaster=model.name)
difference = np.abs(theirs.values[1:] / ours.values - 1)  # the scores begin at one day
print(f"largest relative difference: {difference.max():.1e}")

# %%
days = z500["prediction_timedelta"] / np.timedelta64(1, "D")
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for name in z500["forecaster"].values:
    axes.plot(days, z500.sel(metric="acc", forecaster=name), "o-", label=str(name))
axes.axhline(0.6, color="grey", linewidth=0.8)
axes.set(xlabel="days", ylabel="anomaly correlation", title="500 hPa geopotential, four init times")
axes.legend()
figure.savefig("evaluation.png", dpi=110)
