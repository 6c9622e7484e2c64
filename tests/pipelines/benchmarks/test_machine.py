"""The measured limits of the machine: matrix products and memory."""

from __future__ import annotations

import torch

from pipelines.benchmarks import machine


def test_the_machine_is_measured() -> None:
    rates = machine.best_matmul_rates(seconds=0.01)
    assert {"mkl_float32", "onednn_bfloat16"} <= set(rates)
    assert all(rate > 1e8 for rate in rates.values())
    held = torch.ones(30_000_000)
    assert machine.peak_memory() >= machine.current_memory() * 0.9 > held.numel() * 4
