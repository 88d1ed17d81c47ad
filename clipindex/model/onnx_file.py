"""Finds the files to which an ONNX graph refers, without the package onnx.

An ONNX file is a protobuf message. A tensor's numbers may lie in a file of their own, which the
graph names; whoever loads the graph loads that file too. The numbers of the format below are those
of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3), the encoding is that of
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

DEEPEST = 64  # messages in messages; graphs in graphs (loops, branches) need a few

# Message -> field number -> the message in it. Those that lead to no tensor are skipped.
_CHILDREN = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external data"},
}
_KEY, _VALUE = 1, 2  # fields of an entry of external data, both texts

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_LONGEST_VARINT = 10  # bytes

Span = tuple[int, int]  # start and end of a message in the file


def external_files(path: Path) -> frozenset[str]:
    """Paths, relative to the graph's folder, of the files that hold tensors of the graph at `path`.

    Raises ValueError when it is not an ONNX graph, OSError when it cannot be read.
    """
    with open(path, "rb") as file:
        if not path.stat().st_size:
            raise ValueError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return frozenset(_locations(data, (0, len(data)), "model", 0))


def _locations(data: mmap.mmap, span: Span, kind: str, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise ValueError(f"it nests messages deeper than {DEEPEST}")
    if kind == "external data":
        texts = {
            number: data[start:end]
            for number, (start, end) in _fields(data, span)
            if number in (_KEY, _VALUE)
        }
        if texts.get(_KEY) == b"location":
            yield texts.get(_VALUE, b"").decode("utf-8", "surrogateescape")
        return
    children = _CHILDREN[kind]
    for number, child in _fields(data, span):
        if number in children:
            yield from _locations(data, child, children[number], depth + 1)


def _fields(data: mmap.mmap, span: Span) -> Iterator[tuple[int, Span]]:
    """Numbers and contents of a message's fields of variable length; all others are skipped."""
    at, end = span
    while at < end:
        tag, at = _varint(data, at, end)
        if tag >= 2**32:  # parsers differ on such: what one skips another may take for a tensor
            raise ValueError("it is not an ONNX graph")
        wire_type = tag & 7
        if wire_type == _VARINT:
            _, at = _varint(data, at, end)
            continue
        if wire_type == _BYTES:
            length, at = _varint(data, at, end)
        elif wire_type == _FIXED32:
            length = 4
        elif wire_type == _FIXED64:
            length = 8
        else:
            raise ValueError("it is not an ONNX graph")
        if length > end - at:
            raise ValueError("it is not an ONNX graph, or is cut short")
        if wire_type == _BYTES:
            yield tag >> 3, (at, at + length)
        at += length


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """The number that begins at `at`, 7 bits a byte, lowest first; and where it ends."""
    value = 0
    for shift in range(0, 7 * _LONGEST_VARINT, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("it is not an ONNX graph, or is cut short")
