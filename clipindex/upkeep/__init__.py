"""Changes to an existing collection: tags, new paths, copies."""
