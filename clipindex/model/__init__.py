"""Model bundles, and the towers that turn pixels and texts into embeddings."""

from clipindex.model.imports import disable_telemetry

# Here, so that it is done whatever is imported first: qdrant-client, too, imports onnxruntime
# where it finds the package fastembed.
disable_telemetry()
