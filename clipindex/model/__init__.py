"""Model bundles, and the towers that turn pixels and texts into embeddings."""
