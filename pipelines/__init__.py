"""Bulk work: ingestion, simulation, forecasting, evaluation, training and their engine."""
