"""Stores of analyses, forecasts and climatologies: schema and reading, without tensors."""
