"""A causal language decoder of Llama's kind, and one vector made of its hidden states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from exporter.bundle import BundleRefused

MOST_LAYERS = 4  # that `multi_layer` averages: the last ones


class Decoder(nn.Module):
    """States (B, S, width) and mask (B, S), 1 for what is no padding, to four outputs.

    `cls` (B, width): the last token that is not padding. In a causal decoder the first token sees
    only itself, so that it could not stand for the rest. `mean` (B, width): over the tokens that
    are no padding. `multi_layer` (B, width): the mean of the last four layers at the token of
    `cls`. `last_layer` (B, S, width): the hidden states themselves.
    """

    cosines: Tensor
    sines: Tensor
    causal_mask: Tensor

    def __init__(self, model: Any, max_length: int) -> None:
        super().__init__()
        config = model.config
        if config.hidden_act != "silu":
            raise BundleRefused(f"activation {config.hidden_act!r} of the decoder; only silu")
        if config.rope_parameters["rope_type"] != "default":
            raise BundleRefused(f"positions by {config.rope_parameters['rope_type']!r}")
        self.width = config.hidden_size
        self.layers = nn.ModuleList(DecoderLayer(layer) for layer in model.layers)
        self.norm = RootMeanSquareNorm(model.norm)
        positions = torch.arange(max_length)[:, None] * model.rotary_emb.inv_freq[None]
        angles = torch.cat([positions, positions], dim=1)  # (S, head width)
        self.register_buffer("cosines", angles.cos())
        self.register_buffer("sines", angles.sin())
        floor = torch.full((max_length, max_length), torch.finfo(torch.float32).min)
        self.register_buffer("causal_mask", floor.triu(1))

    def forward(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        length = states.shape[1]
        turns = self.cosines[:length], self.sines[:length]
        causal = self.causal_mask[:length, :length]
        last = mask.sum(1) - 1  # (B,): padding stands behind
        kept = []  # of the last layers, at the token that stands for the sequence
        for number, layer in enumerate(self.layers, start=1):
            states = layer(states, length, turns, causal)
            if len(self.layers) - MOST_LAYERS < number < len(self.layers):
                kept.append(self.at(states, last))
        states = self.norm(states)
        token = self.at(states, last)
        weights = mask.float()[:, :, None]
        mean = (states * weights).sum(1) / weights.sum(1)
        return token, mean, torch.stack([*kept, token]).mean(0), states

    def at(self, states: Tensor, places: Tensor) -> Tensor:
        """The states (B, S, width) at one place of each sequence: (B, width)."""
        rows = places[:, None, None].expand(-1, 1, self.width)
        return states.gather(1, rows).flatten(1)


class DecoderLayer(nn.Module):
    """Attention with rotated positions, several queries for each key; a gated perceptron."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.self_attn
        self.heads = attention.config.num_attention_heads
        self.shared = attention.num_key_value_groups
        self.head_width = attention.head_dim
        self.scaling = attention.scaling
        self.query, self.key = attention.q_proj, attention.k_proj
        self.value, self.output = attention.v_proj, attention.o_proj
        self.norm_attention = RootMeanSquareNorm(layer.input_layernorm)
        self.norm_perceptron = RootMeanSquareNorm(layer.post_attention_layernorm)
        self.gate, self.widen, self.narrow = (
            layer.mlp.gate_proj,
            layer.mlp.up_proj,
            layer.mlp.down_proj,
        )

    def forward(
        self, states: Tensor, length: int, turns: tuple[Tensor, Tensor], causal: Tensor
    ) -> Tensor:
        states = states + self.attend(self.norm_attention(states), length, turns, causal)
        read = self.norm_perceptron(states)
        gated = nn.functional.silu(self.gate(read)) * self.widen(read)
        written: Tensor = states + self.narrow(gated)
        return written

    def attend(
        self, states: Tensor, length: int, turns: tuple[Tensor, Tensor], causal: Tensor
    ) -> Tensor:
        query = rotate(self.split(self.query(states), length, self.heads), turns)
        few = self.heads // self.shared
        key = self.share(rotate(self.split(self.key(states), length, few), turns))
        value = self.share(self.split(self.value(states), length, few))
        scores = query @ key.transpose(2, 3) * self.scaling + causal
        read = scores.softmax(dim=3) @ value
        width = self.heads * self.head_width
        attended: Tensor = self.output(read.transpose(1, 2).reshape(-1, length, width))
        return attended

    def split(self, states: Tensor, length: int, heads: int) -> Tensor:
        """(B, S, heads * head width) to (B, heads, S, head width)."""
        return states.reshape(-1, length, heads, self.head_width).transpose(1, 2)

    def share(self, states: Tensor) -> Tensor:
        """Each head of (B, few, S, head width) for all the queries that read it."""
        return states.repeat_interleave(self.shared, dim=1) if self.shared > 1 else states


def rotate(states: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions (Su and others, 2021), with the halves of a head as pairs."""
    cosines, sines = turns
    half = states.shape[3] // 2
    crossed = torch.cat([-states[..., half:], states[..., :half]], dim=3)
    return states * cosines + crossed * sines


class RootMeanSquareNorm(nn.Module):
    """Each state divided by its root mean square, times a weight (width,)."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight = norm.weight
        self.epsilon = norm.variance_epsilon

    def forward(self, states: Tensor) -> Tensor:
        square = states.pow(2).mean(-1, keepdim=True)
        normal: Tensor = self.weight * (states * torch.rsqrt(square + self.epsilon))
        return normal
