"""Which symmetries of the grid a model keeps, and which it learnt, from its checkpoint alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pear.sphere.symmetry import C4, C4H, IDENTITY, Element


def kept_group(config: Mapping[str, Any]) -> tuple[Element, ...]:
    """Return the symmetries of the grid with which a network commutes exactly.

    Parameters
    ----------
    config
        Settings of the network, as a checkpoint holds them.

    Returns
    -------
    tuple of Element
        A group: all of C4h, the rotations, or the identity alone.

    Examples
    --------
    >>> [len(kept_group({"symmetry": kind})) for kind in ("c4h", "r")]
    [8, 4]
    >>> len(kept_group({"symmetry": "r", "shift": "ring_roll"}))
    1
    >>> len(kept_group({"symmetry": "r", "shift": "ring_roll", "mixing": "stencil"}))
    4
    """
    if config.get("symmetry") == "c4h":
        return C4H
    mixing = config.get("mixing", "attention")
    attends = any("attention" in name for name in ([mixing] if isinstance(mixing, str) else mixing))
    breaking = attends and (config.get("shift") == "ring_roll" or config.get("joined_windows"))
    return C4 if config.get("symmetry") == "r" and not breaking else (IDENTITY,)


def distinct_elements(config: Mapping[str, Any]) -> tuple[Element, ...]:
    """Return one element of C4h for each forecast that differs from the others.

    Two elements whose quotient the network keeps give the same forecast, g⁻¹ Φ(g x), and count
    once.

    Parameters
    ----------
    config
        Settings of the network.

    Returns
    -------
    tuple of Element
        The identity first; the average over them is the average over C4h.

    Examples
    --------
    >>> [element.name for element in distinct_elements({"symmetry": "r"})]
    ['1', 'M']
    >>> [element.name for element in distinct_elements({"symmetry": "c4h"})]
    ['1']
    """
    kept, found = kept_group(config), list[Element]()
    for element in C4H:
        if not any(element * other.inverse in kept for other in found):
            found.append(element)
    return tuple(found)


def describe_augmented(config: Mapping[str, Any] | None, models: int) -> str:
    """Describe symmetry and cost of the mean of models that were trained with augmentation.

    Parameters
    ----------
    config
        Settings of their networks; None leaves out what symmetrise costs.
    models
        Their number.

    Returns
    -------
    str
        A sentence.

    Examples
    --------
    >>> describe_augmented({"symmetry": "r"}, 4)[:65]
    'the mean of 4 models trained with the symmetries of the grid has '
    >>> describe_augmented({"symmetry": "r"}, 4)[65:]
    'about 0.50 of the equivariance error of one, for 4 network steps a step; symmetrise has none,
    for 2 with one model'
    """
    text = (
        f"the mean of {models} models trained with the symmetries of the grid has about "
        f"{models**-0.5:.2f} of the equivariance error of one, for {models} network steps a step"
    )
    if config is None:
        return text
    count = len(distinct_elements(config))
    return f"{text}; symmetrise has none, for {count} with one model"


def unlearnt_mirror(
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    equivariance: Mapping[str, float] | None = None,
) -> str | None:
    """Describe why the mirrored forecasts of a model are worse than its plain ones.

    Parameters
    ----------
    config, provenance
        Of its checkpoint.
    equivariance
        Measured errors by name of the element, if there are any.

    Returns
    -------
    str or None
        None for a model that keeps the mirror, was trained with mirrored states, or does not say
        how it was trained.

    Examples
    --------
    >>> unlearnt_mirror({"symmetry": "r"}, {"training": {"augmentation": "c4h"}}) is None
    True
    >>> unlearnt_mirror({"symmetry": "r"}, {"training": {"seed": 1}}, {"M": 0.25})[:54]
    'does not keep the mirror at the equator (measured erro'
    """
    training = provenance.get("training")
    if config.get("symmetry") == "c4h" or not isinstance(training, Mapping) or not training:
        return None
    if training.get("augmentation", "none") != "none":
        return None
    error = (equivariance or {}).get("M")
    measured = "" if error is None else f" (measured error {error:.2g} of a step's change)"
    return (
        f"does not keep the mirror at the equator{measured} and was not trained with mirrored "
        "states, so that the mirrored half of its forecasts is worse"
    )
