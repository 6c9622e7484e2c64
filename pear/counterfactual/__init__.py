"""Counterfactuals: the smallest plausible change of an initial state that brings an event.

An :class:`~pear.counterfactual.event.Event` is read from text, a
:class:`~pear.counterfactual.chart.Chart` says which changes are plausible, and
:func:`~pear.counterfactual.find.find_counterfactual` searches along the chart with the gradients of
a rollout (arXiv 2206.05075). The result is a model's sensitivity, not a cause.
"""
