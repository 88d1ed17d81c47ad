"""The parts of a transformer tower, whichever library they come from.

Every class of models is read into these; `towers` puts them together in one form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from exporter.bundle import BundleRefused

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class AttentionParts:
    """The four linear maps of self-attention, scaled by 1 / sqrt(width of a head)."""

    heads: int
    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear

    @property
    def width(self) -> int:
        return int(self.output.out_features)

    @property
    def head_width(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True, kw_only=True)
class PerceptronParts:
    """Two linear maps with an activation between them, by its name in `ACTIVATIONS`."""

    widen: nn.Linear
    activation: str
    narrow: nn.Linear


@dataclass(frozen=True, kw_only=True)
class LayerParts:
    """One transformer layer; where its norms stand is for the tower to know."""

    norm_attention: nn.LayerNorm
    attention: AttentionParts
    norm_perceptron: nn.LayerNorm
    perceptron: PerceptronParts


@dataclass(frozen=True, kw_only=True)
class AttentionPoolParts:
    """SigLIP's head: one learnt token reads all states; a perceptron follows."""

    probe: Tensor  # (1, 1, width), before `attention.query`
    attention: AttentionParts
    norm: nn.Module
    perceptron: PerceptronParts


@dataclass(frozen=True, kw_only=True)
class VisionParts:
    """A vision transformer. Without `pool`, the first token of the sequence is the picture's."""

    size: int  # pixels a side
    filters: Tensor  # (width, 3, patch, patch)
    filters_bias: Tensor | None  # (width,)
    prefix: Tensor  # (tokens, width): class token and registers, their positions added
    positions: Tensor  # (patches, width)
    norm_before: nn.Module
    layers: Sequence[LayerParts]
    norm_after: nn.Module
    pool: AttentionPoolParts | None
    projection: nn.Module


@dataclass(frozen=True, kw_only=True)
class TextParts:
    """A text transformer whose layers normalise what they read."""

    tokens: nn.Embedding
    positions: Tensor  # (context, width)
    layers: Sequence[LayerParts]
    causal: bool
    norm_after: nn.LayerNorm
    pool: Literal["first end", "last"]
    end_of_text: int
    projection: nn.Module


def quick_gelu(states: Tensor) -> Tensor:
    """OpenAI's approximation of GELU."""
    return states * torch.sigmoid(1.702 * states)


def tanh_gelu(states: Tensor) -> Tensor:
    """GELU by its approximation with tanh."""
    return nn.functional.gelu(states, approximate="tanh")


ACTIVATIONS: dict[str, Activation] = {
    "quick_gelu": quick_gelu,
    "gelu": nn.functional.gelu,
    "gelu_pytorch_tanh": tanh_gelu,
}


def activation(name: str) -> Activation:
    """By the name that transformers' configurations use. Raises BundleRefused for any other."""
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise BundleRefused(f"activation {name!r} is not supported, only {known}")
    return ACTIVATIONS[name]


def activation_of(module: nn.Module) -> str:
    """The name of an activation that open_clip or timm has built from its configuration."""
    kind = type(module).__name__
    if kind == "QuickGELU":
        return "quick_gelu"
    if kind == "GELUTanh" or (kind == "GELU" and getattr(module, "approximate", "") == "tanh"):
        return "gelu_pytorch_tanh"
    if kind == "GELU":
        return "gelu"
    raise BundleRefused(f"activation {kind} is not supported, only {', '.join(ACTIVATIONS)}")


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear map with this weight (outputs, inputs); without a bias its bias is 0."""
    outputs, inputs = weight.shape
    made = nn.Linear(inputs, outputs)
    made.weight = nn.Parameter(weight.detach().clone())
    zero = torch.zeros(outputs) if bias is None else bias.detach().clone()
    made.bias = nn.Parameter(zero)
    return made


def projection(weight: Tensor | None) -> nn.Module:
    """A map without bias of weight (inputs, outputs), as OpenAI's layout has it."""
    if weight is None:
        return nn.Identity()
    made = nn.Linear(*weight.shape, bias=False)
    made.weight = nn.Parameter(weight.detach().T.contiguous())
    return made


def multihead_parts(attention: nn.MultiheadAttention) -> AttentionParts:
    """torch's own module keeps its three input maps in one matrix."""
    queries, keys, values = attention.in_proj_weight.chunk(3)
    biases: Any = (None,) * 3
    if attention.in_proj_bias is not None:
        biases = attention.in_proj_bias.chunk(3)
    return AttentionParts(
        heads=attention.num_heads,
        query=linear(queries, biases[0]),
        key=linear(keys, biases[1]),
        value=linear(values, biases[2]),
        output=linear(attention.out_proj.weight, attention.out_proj.bias),
    )


def scaled(source: nn.Linear, factors: Tensor) -> nn.Linear:
    """The map with its outputs multiplied by `factors` (outputs,)."""
    bias = None if source.bias is None else source.bias * factors
    return linear(source.weight * factors[:, None], bias)
