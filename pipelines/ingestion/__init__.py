"""Ingestion of weather data files into analysis stores."""
