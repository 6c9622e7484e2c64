"""Equivariant layers on tokens of the nested HEALPix grid.

Each layer keeps the group it names, exactly: window attention with shifts as one gather, linear
maps and norms on plain and on mirror-regular features, patches, blocks. The networks of
:mod:`pear.models` are assembled from them. :mod:`~pear.equivariant.contract` defines and measures
equivariance; :mod:`~pear.equivariant.general` has the general map of which all layers are
instances; :mod:`~pear.equivariant.symmetrise` averages any network over the group;
:mod:`~pear.equivariant.kernels` computes the same faster.
"""
