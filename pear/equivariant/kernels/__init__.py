"""Kernels that compute what the layers of :mod:`pear.equivariant` define, faster.

The layers import nothing from here; :func:`pear.models.compiled.compile_model` puts a network and
these kernels together.
"""
