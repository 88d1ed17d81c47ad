"""The linear maps of a vision tower's graph, in which nearly all of its work is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipindex.model.onnx_graph.graph import FLOAT, Array, Graph, attributes

if TYPE_CHECKING:
    from onnx import NodeProto


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearMap:
    """A matrix product with a constant weight, and the bias behind it."""

    product: NodeProto
    weight: Array  # float32 [inputs, outputs]
    bias: Array | None  # float32 [outputs]
    source: str  # the tensor that it reads: float32 [..., inputs]
    output: str  # with the bias
    pixels: str | None  # the tensor of uint8 that `source` is cast from, of raw pixels


def linear_maps(graph: Graph, pixels: str) -> list[LinearMap]:
    """All but those behind which nothing but the embedding comes: they weigh next to nothing.

    `pixels`: the graph's input.
    """
    maps = []
    for node in graph.nodes:
        weight = graph.array(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None or weight.ndim != 2 or weight.dtype != np.float32:
            continue
        bias, output = _bias_of(graph, node)
        maps.append(
            LinearMap(
                product=node,
                weight=weight,
                bias=bias,
                source=node.input[0],
                output=output,
                pixels=_pixels_of(graph, node.input[0], pixels),
            )
        )
    return [found for found in maps if _is_followed(graph, found.output)]


def _bias_of(graph: Graph, product: NodeProto) -> tuple[Array | None, str]:
    readers = graph.readers(product.output[0])
    if len(readers) == 1 and readers[0].op_type == "Add":
        others = [name for name in readers[0].input if name != product.output[0]]
        bias = graph.array(others[0]) if others else None
        if bias is not None and bias.ndim == 1:
            return bias, readers[0].output[0]
    return None, product.output[0]


def _pixels_of(graph: Graph, source: str, pixels: str) -> str | None:
    """Where the map reads raw pixels, the integers that they are."""
    cast = graph.maker(source)
    if cast is None or cast.op_type != "Cast" or attributes(cast)["to"] != FLOAT:
        return None
    name = cast.input[0]
    while (moved := graph.maker(name)) is not None and moved.op_type in ("Reshape", "Transpose"):
        name = moved.input[0]
    return str(cast.input[0]) if name == pixels else None


def _is_followed(graph: Graph, name: str) -> bool:
    """Whether another product comes behind it: then it is no projection to the embedding."""
    waiting = [name]
    seen: set[str] = set()
    while waiting:
        for reader in graph.readers(waiting.pop()):
            if reader.op_type in ("MatMul", "Gemm", "Conv"):
                return True
            new = set(reader.output) - seen
            seen |= new
            waiting += new
    return False


def groups(maps: Sequence[LinearMap]) -> Iterator[list[LinearMap]]:
    """The maps that read the same tensor: they share a scale."""
    by_source: dict[str, list[LinearMap]] = {}
    for found in maps:
        by_source.setdefault(found.source, []).append(found)
    yield from by_source.values()
