"""The embedded atmosphere: a small global simulation with ERA5's schema (always labelled so).

``recipe`` holds the numbers, ``physics`` and ``dynamics`` step them (JAX, extra ``[simulate]``),
``output`` turns spectral states into ERA5's fields, ``files`` writes them, ``run`` is the resumable
whole, ``report`` looks at the climate, ``land`` makes the land fraction.
"""
