"""Attributes by which a store or Dataset says what its fields are."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

PROBABILITY: Final = "pear_probability_of"
"""Attribute of a store whose fields are probabilities: the event they are probabilities of."""
STATISTIC: Final = "pear_statistic"
"""Attribute of a store with a statistic of an ensemble by component: its spread, a quantile."""

SIMULATED: Final = "simulated"
"""Attribute of a store or Dataset of a simulated atmosphere, with the value ``true``."""
MEMBERS: Final = "pear_members"
"""Attribute of a store with the mean of an ensemble: the number of its members."""


def holds_vectors(attributes: Container[object]) -> bool:
    """Return whether the wind components of a store or Dataset are those of vectors.

    Parameters
    ----------
    attributes
        Its attributes.

    Returns
    -------
    bool
        False for the spread, the quantiles and the probabilities of an ensemble: the two
        components of a wind are reduced one by one there, and do not make a wind.

    Examples
    --------
    >>> from pear.variables import holds_vectors
    >>> holds_vectors({"title": "PEAR forecast"}), holds_vectors({"pear_statistic": "spread"})
    (True, False)
    """
    return STATISTIC not in attributes and PROBABILITY not in attributes
