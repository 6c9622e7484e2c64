"""Training on stores: samples from a store, checkpoints with their provenance."""
