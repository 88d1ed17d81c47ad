"""Verifying a collection: its points against themselves, the catalogue, the files, the model."""
