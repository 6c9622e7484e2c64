"""Benchmarks: speed, memory and symmetry of PEAR on one machine, beside a reference."""
