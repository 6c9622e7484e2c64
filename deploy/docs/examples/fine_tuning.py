# %% [markdown]
# # Fine-tuning
#
# Training continues from a checkpoint: here from the shipped one, on the embedded days, for a few
# steps so that it takes a minute. For your own data the same commands are used, with more steps;
# see [fine-tune](../fine-tune.md).

# %%
import json
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt

import pear
from pear import resources

command = [sys.executable, "-m", "service.cli"]  # the command `pear`
(states,) = resources.path("sample").glob("*.nc")
subprocess.run(
    [*command, "ingest", str(states), "--output", "states.zarr", "--nside", "16"], check=True
)

# %%
options = ["--steps", "50", "--rate", "1e-5", "--batch", "1", "--seed", "0"]
periods = ["--period", "2006-11-01..2006-11-18", "--validation", "2006-11-19..2006-11-25"]
train = ["train", "--analysis", "states.zarr", "--initial", "shipped", "--output", "tuned"]
subprocess.run([*command, *train, *options, *periods], check=True)

# %% [markdown]
# The log has the loss of every tenth step, and the tuned checkpoint is loaded as any other.

# %%
lines = [json.loads(line) for line in Path("tuned/train.jsonl").read_text().splitlines()]
losses = [(line["step"], line["loss"]) for line in lines if line["event"] == "step"]
tuned = pear.load_model("tuned/checkpoint")
print(tuned, tuned.provenance["outcome"]["stopped"])

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(*zip(*losses, strict=True), "o-")
axes.set(xlabel="step", ylabel="loss")
figure.savefig("fine_tuning.png", dpi=110)
