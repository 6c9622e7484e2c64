"""Stores on disk: writing, checking and repairing them; the layout of a data folder."""
