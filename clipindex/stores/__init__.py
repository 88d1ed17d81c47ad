"""The points of a collection, on the embedded engine or on a Qdrant server."""
