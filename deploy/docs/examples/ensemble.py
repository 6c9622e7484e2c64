# %% [markdown]
# # An ensemble and its probabilities
#
# Eight members differ by noise before every step; the first is the unperturbed control. Their
# spread shows how certain the forecast is, and the share of members beyond a threshold is a
# probability.

# %%
import matplotlib.pyplot as plt
import numpy as np

import pear

analysis = pear.sample_analysis()
model = pear.load_model("shipped")
forecast = model.forecast(
    analysis, init="2006-11-10", lead="5d", members=8, variables=["2m_temperature"]
)
print(forecast.attrs["spread_skill"])

# %% [markdown]
# The forecasts for a place: every member, and the state of the simulation at that time.

# %%
place = forecast.pear.sel_point(52.5, 13.4)["2m_temperature"].squeeze() - 273.15
days = place["prediction_timedelta"] / np.timedelta64(1, "D")
truth = analysis.pear.sel_point(52.5, 13.4)["2m_temperature"].sel(
    time=slice("2006-11-10", "2006-11-15")
)
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
axes.plot(days, place.transpose("prediction_timedelta", "number"), color="tab:blue", alpha=0.5)
axes.plot(days, truth.squeeze() - 273.15, color="black", label="simulated truth")
axes.set(xlabel="days", ylabel="2 m temperature, °C", title="52.5° N 13.4° E, eight members")
axes.legend()
figure.savefig("ensemble.png", dpi=110)

# %% [markdown]
# Probability of frost on day 3, and the score of the whole ensemble: the fair continuous ranked
# probability score (CRPS) beside the mean absolute error of the first member alone.

# %%
frost = (forecast["2m_temperature"].sel(prediction_timedelta="3D") < 273.15).mean("number")
print(f"cells with frost likelier than 50 %: {float((frost > 0.5).mean()):.0%}")
scores = pear.evaluate(forecast, analysis, climatology="shipped", metrics=["crps"], baselines=False)
alone = pear.evaluate(
    forecast.isel(number=0, drop=True), analysis, "shipped", metrics=["mae"], baselines=False
)
ratio = (
    scores["2m_temperature"].sel(metric="crps") / alone["2m_temperature"].sel(metric="mae")
).squeeze()
print(ratio.to_series().round(2).to_string())
