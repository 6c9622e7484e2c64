"""Readers of finished runs, and serialisers of what they read."""
