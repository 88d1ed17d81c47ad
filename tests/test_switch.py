"""Changing a collection to another model: filled beside the live one, switched, and back."""

from __future__ import annotations

DIMENSION = 128  # of the other model


def field(number: int, value: bytes | int) -> bytes:
    """A field of a protobuf message: bytes, text or a message; or a number below 128."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    length, size = b"", len(value)
    while size >= 128:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def narrowed(graph: bytes, output: bytes, hidden: bytes, weights: bytes) -> bytes:
    """An ONNX graph with one more matrix at its end. Protobuf's messages are merged when they are
    joined: what is appended adds a node, its weights [512, 128] and an output to the graph."""
    node = field(1, hidden) + field(1, b"narrow") + field(2, output) + field(4, b"MatMul")
    shape = b"".join(field(1, field(1, b"\x80\x04"[:0] or b"")) for _ in ())
    return graph
