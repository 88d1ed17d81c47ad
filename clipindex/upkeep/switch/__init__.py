"""Changing a collection to another model: a second one beside it, filled, verified, switched."""
