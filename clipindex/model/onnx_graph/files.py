"""ONNX files: read with their weights, written so that the same graph gives the same bytes.

What does not change a number is dropped (comments, who made the file, remarks on shapes), and so is
every field that a later onnx may add: bytes must not depend on the installed version.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper

from clipindex.errors import ModelError

# Fields of each message that are written, by their names in onnx.proto3.
KEPT = {
    "ModelProto": {"ir_version", "opset_import", "graph", "functions"},
    "OperatorSetIdProto": {"domain", "version"},
    "GraphProto": {"name", "node", "initializer", "sparse_initializer", "input", "output"},
    "NodeProto": {"input", "output", "name", "op_type", "domain", "attribute", "overload"},
    "AttributeProto": {
        *("name", "ref_attr_name", "type", "f", "i", "s", "t", "g", "floats", "ints", "strings"),
        *("tensors", "graphs", "sparse_tensor", "sparse_tensors", "tp", "type_protos"),
    },
    "TensorProto": {
        *("dims", "data_type", "name", "raw_data", "float_data", "int32_data", "string_data"),
        *("int64_data", "double_data", "uint64_data", "external_data", "data_location"),
    },
    "SparseTensorProto": {"values", "indices", "dims"},
    "StringStringEntryProto": {"key", "value"},
    "ValueInfoProto": {"name", "type"},
    "TypeProto": {"tensor_type", "sequence_type", "optional_type"},
    "Tensor": {"elem_type", "shape"},
    "Sequence": {"elem_type"},
    "Optional": {"elem_type"},
    "TensorShapeProto": {"dim"},
    "Dimension": {"dim_value", "dim_param"},
    "FunctionProto": {
        *("name", "input", "output", "attribute", "node", "opset_import", "domain"),
        *("attribute_proto", "overload"),
    },
}
# Protobuf ends at 2 GB and is read whole; weights in a file of their own are mapped into memory.
EXTERNAL_FROM = 64 << 20  # bytes of all weights together
LARGE = 1024  # bytes; smaller tensors stay in the graph
ALIGNMENT = 4096  # of weights in their file: a page

Locate = Callable[[str], Path]  # the file that a graph calls so, relative to its own folder


def read_model(path: Path, locate: Locate) -> onnx.ModelProto:
    """A graph with all its weights. Raises ModelError when it cannot be read."""
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
        if not model.graph.node:
            raise ValueError("it has no graph")
        for tensor in _tensors(model):
            if tensor.data_location == TensorProto.EXTERNAL:
                _bring_in(tensor, locate)
    except (OSError, ValueError, DecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"the ONNX graph cannot be read: {reason}",
            path=str(path),
            hint="download it again: clipindex models pull NAME",
        ) from error
    return model


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a message, those of graphs in attributes as well."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if _is_repeated(field) else [value]:
                yield from _tensors(part)


def _is_repeated(field: Any) -> bool:
    repeated = getattr(field, "is_repeated", None)  # since protobuf 6; then `label` is deprecated
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)


def _bring_in(tensor: Any, locate: Locate) -> None:
    entry = {pair.key: pair.value for pair in tensor.external_data}
    offset, length = int(entry.get("offset", 0)), int(entry.get("length", 0))
    path = locate(entry["location"]) if "location" in entry else None
    if path is None:
        raise ValueError(f"the weight {tensor.name!r} is nowhere")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = offset + length if length else len(data)
        if not 0 <= offset <= end <= len(data):
            raise ValueError(f"the weight {tensor.name!r} lies beyond the end of {path.name}")
        tensor.raw_data = data[offset:end]
    del tensor.external_data[:]
    tensor.ClearField("data_location")


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph, its weights beside it where they are large (in `PATH.data`)."""
    graph = model.graph
    total = sum(len(tensor.raw_data) for tensor in graph.initializer)
    weights = path.with_name(f"{path.name}.data") if total >= EXTERNAL_FROM else None
    small = onnx.ModelProto()
    _copy(model, small, without={"initializer"})
    if weights is None:
        for tensor in graph.initializer:
            _copy(_raw(tensor), small.graph.initializer.add())
    else:
        with open(weights, "wb") as file:
            for tensor in graph.initializer:
                _write_weight(_raw(tensor), small.graph.initializer.add(), file, weights.name)
    path.write_bytes(small.SerializeToString(deterministic=True))


def _write_weight(tensor: Any, target: Any, file: Any, location: str) -> None:
    size = len(tensor.raw_data)
    if size < LARGE:
        _copy(tensor, target)
        return
    offset = -(-file.tell() // ALIGNMENT) * ALIGNMENT
    file.write(bytes(offset - file.tell()))
    file.write(tensor.raw_data)
    _copy(tensor, target, without={"raw_data", "external_data", "data_location"})
    target.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", size)):
        target.external_data.add(key=key, value=str(value))


def _raw(tensor: Any) -> Any:
    """The tensor with its numbers as bytes; some exporters write them one by one."""
    if tensor.HasField("raw_data") or tensor.data_type == TensorProto.STRING:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)


def _copy(source: Any, target: Any, without: frozenset[str] | set[str] = frozenset()) -> None:
    """Copy the fields that are kept. `without` is about the message itself and graphs in it."""
    kept = KEPT.get(source.DESCRIPTOR.name, set())
    for field, value in source.ListFields():
        if field.name not in kept or field.name in without:
            continue
        if field.message_type is None:
            if _is_repeated(field):
                getattr(target, field.name).extend(value)
            else:
                setattr(target, field.name, value)
        elif _is_repeated(field):
            for part in value:
                _copy(part, getattr(target, field.name).add())
        else:
            below = without if field.name == "graph" else frozenset()
            child = getattr(target, field.name)
            child.SetInParent()
            _copy(value, child, below)
