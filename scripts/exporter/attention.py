"""Attention and perceptron of a transformer layer, in the form that `towers` describes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from exporter.parts import (
    AttentionParts,
    AttentionPoolParts,
    PerceptronParts,
    activation,
    linear,
    scaled,
)


class Attention(nn.Module):
    """What all kinds of attention share: heads, softmax, the map behind them."""

    def __init__(self, parts: AttentionParts) -> None:
        super().__init__()
        self.width = parts.width
        self.heads = parts.heads
        self.head_width = parts.head_width
        self.output = parts.output

    def split_heads(self, states: Tensor, length: int) -> Tensor:
        """(B, length, width) to (B, heads, length, head width).

        `length` is handed down because a plain number keeps the exported graph free of shape
        arithmetic; only the text tower, whose length varies, has to compute it.
        """
        return states.reshape(-1, length, self.heads, self.head_width).transpose(1, 2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """What each query (scaled already) reads: (B, heads, queries, head width)."""
        scores = query @ key.transpose(2, 3)  # (B, heads, queries, keys)
        if mask is not None:
            scores = scores + mask
        return scores.softmax(dim=3) @ value

    def join_heads(self, attended: Tensor, length: int) -> Tensor:
        """(B, heads, length, head width) to (B, length, width)."""
        joined: Tensor = self.output(attended.transpose(1, 2).reshape(-1, length, self.width))
        return joined


class SelfAttention(Attention):
    """Every token looks at every token that the mask leaves it."""

    def __init__(self, parts: AttentionParts) -> None:
        super().__init__(parts)
        self.query_key_value = join_linear(scaled_query(parts), parts.key, parts.value)

    def readers(self) -> Sequence[nn.Linear]:
        """The maps that read the layer's states; the last outputs of the last are the values."""
        return [self.query_key_value]

    def forward(self, states: Tensor, length: int, mask: Tensor | None = None) -> Tensor:
        parts = self.query_key_value(states).split(self.width, dim=2)  # three of (B, S, width)
        query, key, value = (self.split_heads(part, length) for part in parts)
        return self.join_heads(self.attend(query, key, value, mask), length)


class ClassTokenAttention(Attention):
    """The class token alone looks, at all tokens."""

    def __init__(self, parts: AttentionParts) -> None:
        super().__init__(parts)
        self.query = scaled_query(parts)
        self.key_value = join_linear(parts.key, parts.value)

    def readers(self) -> Sequence[nn.Linear]:
        """The maps that read the layer's states; the last outputs of the last are the values."""
        return [self.query, self.key_value]

    def forward(self, states: Tensor, length: int, mask: Tensor | None = None) -> Tensor:
        query = self.split_heads(self.query(states[:, :1]), 1)
        parts = self.key_value(states).split(self.width, dim=2)  # two of (B, S, width)
        key, value = (self.split_heads(part, length) for part in parts)
        return self.join_heads(self.attend(query, key, value, mask), 1)


class AttentionPool(Attention):
    """A learnt token looks at all states (B, length, width): (B, 1, width)."""

    query: Tensor

    def __init__(self, parts: AttentionPoolParts) -> None:
        super().__init__(parts.attention)
        self.key_value = join_linear(parts.attention.key, parts.attention.value)
        question = scaled_query(parts.attention)(parts.probe).detach()  # the same for all pictures
        self.register_buffer("query", self.split_heads(question, 1).clone())
        self.norm = parts.norm
        self.perceptron = Perceptron(parts.perceptron)

    def forward(self, states: Tensor, length: int) -> Tensor:
        parts = self.key_value(states).split(self.width, dim=2)  # two of (B, S, width)
        key, value = (self.split_heads(part, length) for part in parts)
        token = self.join_heads(self.attend(self.query, key, value, None), 1)
        pooled: Tensor = token + self.perceptron(self.norm(token))
        return pooled


class Perceptron(nn.Module):
    """The two linear maps of a layer, with the activation between them."""

    def __init__(self, parts: PerceptronParts) -> None:
        super().__init__()
        self.widen = parts.widen
        self.activation = activation(parts.activation)
        self.narrow = parts.narrow

    def forward(self, states: Tensor) -> Tensor:
        narrowed: Tensor = self.narrow(self.activation(self.widen(states)))
        return narrowed


def scaled_query(parts: AttentionParts) -> nn.Linear:
    """The query projection with attention's 1 / sqrt(width of a head) folded in."""
    return scaled(parts.query, torch.full((parts.width,), parts.head_width**-0.5))


def join_linear(*parts: nn.Linear) -> nn.Linear:
    """Several linear maps of one input as a single one, outputs side by side."""
    biases = [torch.zeros(part.out_features) if part.bias is None else part.bias for part in parts]
    return linear(torch.cat([part.weight for part in parts]), torch.cat(biases))
