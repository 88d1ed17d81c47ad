"""One collection: where it is, its contract, its catalogue, its lock."""
