"""Evaluation: climatologies, verification against an analysis, scores and plots."""
