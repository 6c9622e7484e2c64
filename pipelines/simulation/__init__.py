"""A small global simulation with ERA5's schema, always labelled as simulated.

``parameters`` holds the numbers, ``physics`` and ``dynamics`` step them (JAX, extra
``[simulate]``), ``diagnostics`` turns spectral states into ERA5's fields, ``files`` writes them,
``run`` is the resumable whole; ``climate``, ``climate_report`` and ``predictability`` describe the
result.
"""
