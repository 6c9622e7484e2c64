"""Forecasts: options, request resolution, ensembles, runs and their output stores."""
