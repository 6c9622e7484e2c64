"""The equivariant layer core.

Layers on tokens of the nested HEALPix grid that keep the group they name, exactly: window attention
with shifts as one gather, linear maps and norms on plain and on mirror-regular features, patches,
blocks. :mod:`~pear.equivariant.contract` says what that means and measures it;
:mod:`~pear.equivariant.general` holds the map that all layers are instances of;
:mod:`~pear.equivariant.symmetrise` averages any network over the group. Networks in
:mod:`pear.models` are assembled from these alone.
"""
