"""The loss curve of a training, from its log."""

from __future__ import annotations

import json
from pathlib import Path


def plot_losses(folder: Path) -> Path:
    """Draw training and validation loss by step as ``loss.png`` in the training's folder.

    Returns
    -------
    Path
        The picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for event, style in (("step", {"lw": 0.8}), ("validation", {"marker": "o", "ms": 3})):
        points = [(e["step"], e["loss"]) for e in entries if e["event"] == event]
        if points:
            axes.plot(
                *zip(*points, strict=True), label={"step": "training"}.get(event, event), **style
            )
    axes.set(xlabel="optimiser step", ylabel="loss", yscale="log")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    path = folder / "loss.png"
    figure.savefig(path, dpi=120)
    return path
