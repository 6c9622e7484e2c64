"""Boltzmann machines, renormalisation of spins, and neural quantum states.

Spins are ±1. A restricted Boltzmann machine is p(v, h) = exp(vᵀWh + a·v + b·h)/Z, so that
log p(v) = a·v + Σ_j log 2cosh(b_j + (vW)_j) − log Z. :mod:`~pear.boltzmann.ising` has the models
that it learns, with exact references; :mod:`~pear.boltzmann.rbm` and
:mod:`~pear.boltzmann.deep` the machines and :mod:`~pear.boltzmann.training` their trainings;
:mod:`~pear.boltzmann.renormalise` block spins, whose block on the sphere is a nested parent cell;
:mod:`~pear.boltzmann.quantum` wave functions and their entanglement.
"""
