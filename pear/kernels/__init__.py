"""Kernels of infinitely wide networks: recursions, exact mean predictions, and finite networks.

:mod:`~pear.kernels.architecture` describes a network once, as the recursion of its kernels and as
a module of any width; :mod:`~pear.kernels.predict` has the mean prediction of an ensemble of such
networks at every time of its training; :mod:`~pear.kernels.empirical` has the kernel of a single
finite network. :mod:`~pear.kernels.finite_width` corrects the mean kernels for their width, and
:mod:`~pear.kernels.sampling` draws networks to compare.
"""
