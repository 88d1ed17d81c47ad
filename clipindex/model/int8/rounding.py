"""A vision tower's linear maps on integers: smoothed, measured on pictures, rounded.

Each computes on 8-bit integers: its input as unsigned numbers with one scale and one zero point,
its weight as signed numbers with a scale for each output. All of these are constants, so that a
picture's vector depends on no other picture. The rest stays fp32.

Transformers have a few channels far louder than the rest, and one scale for all would leave little
of the quiet ones. So first each channel is made quieter, and the weights that read it louder by the
same factor: in fp32 the tower computes what it did before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipindex.model.int8.linear import LinearMap
from clipindex.model.onnx_graph.graph import Array, Graph

if TYPE_CHECKING:
    from onnx import NodeProto

MICROSOFT = "com.microsoft"  # the domain of MatMulIntegerToFloat: onnxruntime's, OpenVINO reads it
LARGEST_INPUT = 255  # of an unsigned 8-bit number
SILENT = 1e-5  # a channel or weight no louder than this counts as this loud


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the greatest value seen in each channel of an input: two of [channels]."""

    least: Array
    greatest: Array

    def joined(self, other: Range) -> Range:
        """The range of both."""
        return Range(np.minimum(self.least, other.least), np.maximum(self.greatest, other.greatest))


def round_group(graph: Graph, group: Sequence[LinearMap], seen: Range, weight_bits: int) -> None:
    """Let the maps that read one tensor compute on integers."""
    source, weights = group[0].source, [linear.weight for linear in group]
    if group[0].pixels is not None:  # they are integers already, taken as they are
        numbers, scale, zero = group[0].pixels, 1.0, 0
    else:
        factors = _smoothing_factors(seen, weights)
        weights = [weight * factors[:, None] for weight in weights]
        scale, zero = _scale(Range(seen.least / factors, seen.greatest / factors))
        with graph.before(_first(graph, group)):
            if not _quieten(graph, group, source, factors):
                source = graph.add("Mul", source, graph.constant(1 / factors))
            step, offset = graph.constant(np.float32(scale)), graph.constant(np.uint8(zero))
            numbers = graph.add("QuantizeLinear", source, step, offset)
    for linear, weight in zip(group, weights, strict=True):
        _replace(graph, linear, weight, (numbers, scale, zero), weight_bits)


def _smoothing_factors(seen: Range, weights: Iterable[Array]) -> Array:
    """By how much to divide each channel that these maps read: float32 [channels].

    sqrt(loudest input / largest weight) leaves both equally large (SmoothQuant, Xiao and others,
    2022, with alpha 0.5; 0.4 to 0.7 differed here by less than from one calibration to the next).
    """
    loudness = np.maximum(np.abs(seen.least), np.abs(seen.greatest))
    largest = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    factors: Array = np.sqrt(np.maximum(loudness, SILENT) / np.maximum(largest, SILENT))
    return factors.astype(np.float32)


def _scale(seen: Range) -> tuple[float, int]:
    """Scale and zero point by which 0..255 stand for the range: scale * (number - zero)."""
    least, greatest = min(0.0, float(seen.least.min())), max(0.0, float(seen.greatest.max()))
    scale = float(np.float32(max(greatest - least, SILENT) / LARGEST_INPUT))
    return scale, round(-least / scale)


def _first(graph: Graph, group: Sequence[LinearMap]) -> NodeProto:
    products = [linear.product for linear in group]
    return next(node for node in graph.nodes if any(node is product for product in products))


def _quieten(graph: Graph, group: Sequence[LinearMap], source: str, factors: Array) -> bool:
    """Divide a norm's own weight and bias where nothing else reads it; whether that was done."""
    if len(graph.readers(source)) > len(group):
        return False
    node = graph.maker(source)
    if node is None:
        return False
    if node.op_type == "LayerNormalization":
        parts = [(node, index) for index in range(1, len(node.input))]
    elif node.op_type == "Add" and (scaled := _scaled(graph, node)) is not None:
        parts = [(node, _constant_of(graph, node)), (scaled, _constant_of(graph, scaled))]
    else:
        return False
    arrays = [graph.array(part.input[index]) for part, index in parts]
    if any(array is None or array.shape != factors.shape for array in arrays):
        return False
    for (part, index), array in zip(parts, arrays, strict=True):
        assert array is not None
        part.input[index] = graph.constant(array / factors)
    return True


def _scaled(graph: Graph, add: NodeProto) -> NodeProto | None:
    """The multiplication by a norm's weight before its bias is added, where that is a node."""
    if (index := _constant_of(graph, add)) < 0:
        return None
    node = graph.maker(add.input[1 - index])
    is_alone = len(graph.readers(add.input[1 - index])) == 1
    if node is None or node.op_type != "Mul" or _constant_of(graph, node) < 0 or not is_alone:
        return None
    return node


def _constant_of(graph: Graph, node: NodeProto) -> int:
    """Index of the only constant of two inputs; -1 where it is not so."""
    constant = [graph.array(name) is not None for name in node.input]
    return constant.index(True) if constant.count(True) == 1 and len(constant) == 2 else -1


def _replace(
    graph: Graph,
    linear: LinearMap,
    weight: Array,
    source: tuple[str, float, int],
    weight_bits: int,
) -> None:
    """Put onnxruntime's operator into the place of a product and its bias.

    Integers are multiplied and summed exactly; only the sum is scaled, and the bias added.
    """
    numbers, scale, zero = source
    steps = np.maximum(np.abs(weight).max(axis=0), SILENT**2) / (2 ** (weight_bits - 1) - 1)
    integers = np.round(weight / steps).astype(np.int8)
    arrays = (integers, np.float32(scale), steps.astype(np.float32), np.uint8(zero))
    with graph.before(linear.product):
        inputs = [numbers, *map(graph.constant, arrays)]
        if linear.bias is not None:
            inputs += ["", graph.constant(linear.bias)]  # the weight's zero point is 0
        made = graph.add("MatMulIntegerToFloat", *inputs, domain=MICROSOFT)
    if (last := graph.maker(linear.output)) is not None and last is not linear.product:
        graph.remove(last)
    graph.remove(linear.product)
    graph.redirect(linear.output, made)
