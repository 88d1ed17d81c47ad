"""What a vector was computed with, as far as that may change its last digits."""

from __future__ import annotations

from importlib import metadata

from clipindex.model.processor import processor
from clipindex.pictures.decode import library_versions

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


def computed_with() -> dict[str, str]:
    """Versions of Pillow, libjpeg and onnxruntime, and the processor. They decide nothing; a
    collection notes them when it is created."""
    return {**library_versions(), "onnxruntime": _runtime(), "processor": processor()}


def _runtime() -> str:
    for name in RUNTIMES:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"
