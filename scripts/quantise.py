"""Static int8 for the vision tower: smoothed, measured on pictures, rounded.

Nearly all the work of a tower is in its linear maps. Here each computes on 8-bit integers: its
input as unsigned numbers with one scale and one zero point, its weight as signed numbers with a
scale for each output. All of these are constants, so that a picture's vector depends on no other
picture. The rest (norms, softmax, attention's own products, the projection) stays fp32.

Transformers have a few channels far louder than the rest, and one scale for all would leave little
of the quiet ones. So first each channel is made quieter, and the weights that read it louder by the
same factor: in fp32 the tower computes what it did before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from clipindex.model.saturation import INPUTS, LARGEST
from exporter.bundle import OPSET
from exporter.towers import PatchEmbedding, VisionTower

MICROSOFT = "com.microsoft"  # the domain of MatMulIntegerToFloat: onnxruntime's, OpenVINO reads it
LARGEST_INPUT = 255  # of an unsigned 8-bit number
SILENT = 1e-5  # a channel or weight no louder than this counts as this loud
BATCH = 8  # pictures that go through the tower at a time


@dataclass(frozen=True)
class Range:
    """The least and the greatest value seen in each channel of an input: two of (channels,)."""

    least: Tensor
    greatest: Tensor

    def joined(self, other: Range) -> Range:
        least = torch.minimum(self.least, other.least)
        return Range(least, torch.maximum(self.greatest, other.greatest))

    def loudness(self) -> Tensor:
        return torch.maximum(self.least.abs(), self.greatest.abs())


Ranges = Mapping[nn.Linear, Range]


def ranges_of_inputs(tower: VisionTower, pictures: Tensor) -> Ranges:
    """What each linear map of the tower is given when it sees these pictures."""
    seen: dict[nn.Linear, Range] = {}

    def look(linear: nn.Linear, inputs: tuple[Tensor]) -> None:
        values = inputs[0].flatten(0, -2)  # (rows, channels)
        here = Range(values.amin(0), values.amax(0))
        seen[linear] = seen[linear].joined(here) if linear in seen else here

    hooks = [linear.register_forward_pre_hook(look) for linear in linear_maps(tower)]
    for batch in pictures.split(BATCH):
        tower(batch)
    for hook in hooks:
        hook.remove()
    return seen


def linear_maps(tower: VisionTower) -> Sequence[nn.Linear]:
    """Those that are computed on integers: all but the last, which weighs next to nothing."""
    maps = (module for module in tower.modules() if isinstance(module, nn.Linear))
    return [linear for linear in maps if linear is not tower.projection]


def smooth(tower: VisionTower, ranges: Ranges) -> None:
    """Move loudness from the inputs of linear maps into their weights.

    A norm is made quieter by its own weight and bias; attention's output by the rows that make the
    values, whose weighted means it reads. No factor passes through the activation: it is followed
    by a multiplication, 2 % of the time. (With six of 3072 channels twenty times as loud, mean
    cosine of ViT-B/32 to fp32 was 0.9856 without and 0.9984 with it.)
    """
    for layer in (*tower.layers, tower.last_layer):
        attention, perceptron = layer.attention, layer.perceptron
        quieten_norm(layer.norm_attention, attention.readers(), ranges)
        quieten_norm(layer.norm_perceptron, [perceptron.widen], ranges)

        factors = smoothing_factors([attention.output], ranges)
        *_, makes_values = attention.readers()
        makes_values.weight[-attention.width :] /= factors[:, None]
        makes_values.bias[-attention.width :] /= factors
        attention.output.weight *= factors

        factors = smoothing_factors([perceptron.narrow], ranges)
        perceptron.activation = Quieter(perceptron.activation, factors)
        perceptron.narrow.weight *= factors


def quieten_norm(norm: nn.LayerNorm, readers: Sequence[nn.Linear], ranges: Ranges) -> None:
    factors = smoothing_factors(readers, ranges)
    norm.weight /= factors
    norm.bias /= factors
    for reader in readers:
        reader.weight *= factors


def smoothing_factors(readers: Sequence[nn.Linear], ranges: Ranges) -> Tensor:
    """By how much to divide each channel that these maps read: (channels,).

    sqrt(loudest input / largest weight) leaves both equally large (SmoothQuant, Xiao and others,
    2022, with alpha 0.5; 0.4 to 0.7 differed here by less than from one calibration to the next).
    """
    loudness = torch.stack([ranges[reader].loudness() for reader in readers]).amax(0)
    largest = torch.stack([reader.weight.abs().amax(0) for reader in readers]).amax(0)
    return (loudness.clamp(SILENT) / largest.clamp(SILENT)).sqrt()


class Quieter(nn.Module):
    """An activation whose channels are then divided by `factors` (channels,)."""

    def __init__(self, activation: Callable[[Tensor], Tensor], factors: Tensor) -> None:
        super().__init__()
        self.activation = activation
        self.register_buffer("shares", 1 / factors)

    def forward(self, states: Tensor) -> Tensor:
        return self.activation(states) * self.shares


def round_to_integers(tower: VisionTower, ranges: Ranges, weight_bits: int) -> None:
    """Put an integer map into the place of every linear map."""
    for parent in list(tower.modules()):
        for name, child in list(parent.named_children()):
            if child in ranges:
                setattr(parent, name, integer_map(child, ranges[child], weight_bits))


def integer_map(linear: nn.Linear, seen: Range, weight_bits: int) -> IntegerLinear:
    """Raw pixels are integers already: theirs are taken as they are."""
    if isinstance(linear, PatchEmbedding):
        return IntegerLinear(linear, weight_bits, scale=1.0, zero=0)
    least, greatest = min(0.0, float(seen.least.min())), max(0.0, float(seen.greatest.max()))
    scale = max(greatest - least, SILENT) / LARGEST_INPUT
    return IntegerLinear(linear, weight_bits, scale=scale, zero=round(-least / scale))


class IntegerLinear(nn.Module):
    """A linear map on integers: (..., inputs) float32, or uint8 as it is, to (..., outputs).

    A number x stands for scale * (x - zero); what lies outside 0..255 is cut off.
    """

    def __init__(self, linear: nn.Linear, weight_bits: int, *, scale: float, zero: int) -> None:
        super().__init__()
        weight = linear.weight.detach().T  # (inputs, outputs)
        weight_scale = weight.abs().amax(0).clamp(SILENT**2) / (2 ** (weight_bits - 1) - 1)
        bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach()
        self.register_buffer("weight", (weight / weight_scale).round().to(torch.int8).contiguous())
        self.register_buffer("weight_scale", weight_scale)  # (outputs,)
        self.register_buffer("bias", bias.clone())
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("zero", torch.tensor(zero, dtype=torch.uint8))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = MatMulIntegerToFloat.apply(
            inputs, self.weight, self.scale, self.weight_scale, self.zero, self.bias
        )
        return outputs


class MatMulIntegerToFloat(torch.autograd.Function):
    """Rounding of the input and onnxruntime's operator of this name, in torch and in ONNX.

    Integers are multiplied and summed exactly; only the sum is scaled, and the bias added. The
    standard's form, DequantizeLinear around a MatMul, is for each runtime to recognise, or not.
    """

    @staticmethod
    def forward(
        _: Any,
        inputs: Tensor,
        weight: Tensor,
        scale: Tensor,
        weight_scale: Tensor,
        zero: Tensor,
        bias: Tensor,
    ) -> Tensor:
        if inputs.is_floating_point():
            inputs = ((inputs / scale).round() + zero).clamp(0, LARGEST_INPUT)
        sums = (inputs.double() - zero) @ weight.double()
        return (sums.float() * (scale * weight_scale)) + bias

    @staticmethod
    def symbolic(
        graph: Any,
        inputs: Any,
        weight: Any,
        scale: Any,
        weight_scale: Any,
        zero: Any,
        bias: Any,
    ) -> Any:
        type_of_outputs = graph_type(inputs, weight)
        if inputs.type().scalarType() == "Float":
            inputs = graph.op("QuantizeLinear", inputs, scale, zero)
        left_out = graph.op("prim::Constant")  # the weight's zero point, which is 0
        left_out.setType(torch.OptionalType.ofTensor())
        operands = (inputs, weight, scale, weight_scale, zero, left_out, bias)
        outputs = graph.op(f"{MICROSOFT}::MatMulIntegerToFloat", *operands)
        outputs.setType(type_of_outputs)
        return outputs


def graph_type(inputs: Any, weight: Any) -> Any:
    """Of the outputs, since the exporter knows only standard operators: float32 (..., outputs)."""
    *rows, _ = inputs.type().sizes() if inputs.type().sizes() else (None, None, None)
    return weight.type().with_dtype(torch.float32).with_sizes([*rows, weight.type().sizes()[1]])


def write_probe(path: Path) -> None:
    """Write the graph that tests whether a processor sums 8-bit products exactly.

    The largest inputs meet the largest weights, all of one sign in an output: no pair fits into 16
    bits. The sums themselves are small enough for float32 to hold exactly.
    """
    signs = np.array([1, -1] * 8)
    weight = np.tile(signs * 127, (INPUTS, 1))  # (inputs, outputs)
    expected = LARGEST * weight.sum(axis=0)
    constants = {
        "weight": weight.astype(np.int8),
        "scale": np.float32(1),
        "weight_scale": np.ones(len(signs), dtype=np.float32),
        "zero": np.uint8(0),
    }
    sums = helper.make_node(
        "MatMulIntegerToFloat",
        ["inputs", "weight", "scale", "weight_scale", "zero"],
        ["sums"],
        domain=MICROSOFT,
    )
    right = helper.make_node(
        "Constant", [], ["expected"], value=numpy_helper.from_array(expected.astype(np.float32))
    )
    graph = helper.make_graph(
        [sums, right],
        "saturation",
        [helper.make_tensor_value_info("inputs", TensorProto.UINT8, ["rows", INPUTS])],
        [
            helper.make_tensor_value_info("sums", TensorProto.FLOAT, ["rows", len(signs)]),
            helper.make_tensor_value_info("expected", TensorProto.FLOAT, [len(signs)]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    operators = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    onnx.save_model(helper.make_model(graph, opset_imports=operators, ir_version=8), path)
