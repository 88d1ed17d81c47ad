"""CLIP's two towers, rewritten in the form that onnxruntime runs fastest.

Each tower is built from the weights of a `transformers` `CLIPModel` and computes what that model
computes. What differs is the form, chosen by measuring on onnxruntime (one thread, ViT-B/32):

- pictures come in as uint8 (batch, height, width, colour): scaling to 0..1, mean and standard
  deviation are folded into the patch embedding and the position table;
- queries, keys and values come from one MatMul, attention is plain MatMul and Softmax
  (onnxruntime's fused Attention operators were slower);
- the last vision layer is computed for the class token only, since nothing else is read: -6.5 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bundle_export import BundleRefused
from clipindex.model.imports import guarded_import

with guarded_import():
    from transformers import CLIPModel
    from transformers.models.clip.modeling_clip import CLIPMLP, CLIPAttention, CLIPEncoderLayer

# Before a fix in transformers every CLIP configuration said 2 here and meant the highest token id.
MISSTATED_END_OF_TEXT = 2


def end_of_text_id(model: CLIPModel) -> int:
    """The token at which the text tower pools."""
    stated = model.config.text_config.eos_token_id
    if stated == MISSTATED_END_OF_TEXT:
        return int(model.config.text_config.vocab_size) - 1
    return int(stated)


class VisionTower(nn.Module):
    """uint8 pixels (batch, 224, 224, 3) to image embeddings (batch, 512), not normalised."""

    def __init__(self, model: CLIPModel, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        source = model.vision_model
        config = model.config.vision_config
        self.patch = config.patch_size
        self.grid = config.image_size // config.patch_size
        self.length = 1 + self.grid**2  # the class token and the patches
        weight, positions = fold_pixel_scaling(model, mean, std)
        self.embed_patches = PatchEmbedding(weight)
        self.positions = nn.Parameter(positions)
        self.norm_before = source.pre_layrnorm
        *full, last = source.encoder.layers
        self.layers = nn.ModuleList(Layer(layer, SelfAttention(layer.self_attn)) for layer in full)
        self.last_layer = ClassTokenLayer(last, ClassTokenAttention(last.self_attn))
        self.norm_after = source.post_layernorm
        self.projection = model.visual_projection

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.embed_patches(self.cut_patches(pixels))  # (B, patches, width)
        # An empty row in front: the class token is a constant, and stands in the position table.
        states = nn.functional.pad(patches, (0, 0, 1, 0)) + self.positions
        states = self.norm_before(states)
        for layer in self.layers:
            states = layer(states, self.length)
        class_token = self.last_layer(states, self.length).flatten(1)  # (B, width)
        return self.projection(self.norm_after(class_token))

    def cut_patches(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) to (B, patches, patch * patch * 3), as uint8: a quarter of the bytes."""
        grid, patch = self.grid, self.patch
        rows = pixels.reshape(-1, grid, patch, grid, patch, 3)
        return rows.permute(0, 1, 3, 2, 4, 5).reshape(-1, grid * grid, patch * patch * 3)


class PatchEmbedding(nn.Linear):
    """uint8 patches (B, patches, patch * patch * 3) to states (B, patches, width)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(*weight.shape, bias=False)
        self.weight = nn.Parameter(weight.T)

    def forward(self, patches: Tensor) -> Tensor:
        return super().forward(patches.float())


class TextTower(nn.Module):
    """Token ids (batch, sequence) to text embeddings (batch, 512), not normalised."""

    causal_mask: Tensor

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        source = model.text_model
        self.width = model.config.text_config.hidden_size
        self.tokens = source.embeddings.token_embedding
        self.positions = nn.Parameter(source.embeddings.position_embedding.weight.detach().clone())
        self.layers = nn.ModuleList(
            Layer(layer, SelfAttention(layer.self_attn)) for layer in source.encoder.layers
        )
        self.norm_after = source.final_layer_norm
        self.projection = model.text_projection
        self.end_of_text = end_of_text_id(model)
        context = len(self.positions)
        # Added to the scores; finite as in transformers, softmax makes 0 of it all the same.
        floor = torch.full((context, context), torch.finfo(torch.float32).min)
        self.register_buffer("causal_mask", floor.triu(1))

    def forward(self, input_ids: Tensor) -> Tensor:
        length = input_ids.shape[1]
        states = self.tokens(input_ids) + self.positions[:length]  # (B, S, width)
        mask = self.causal_mask[:length, :length]
        for layer in self.layers:
            states = layer(states, length, mask)
        return self.projection(self.norm_after(self.pool(states, input_ids)))

    def pool(self, states: Tensor, input_ids: Tensor) -> Tensor:
        """The state at the first end-of-text token (argmax finds the first of equals): (B, width).

        The tower is causal, so whatever stands behind that token (padding) cannot matter.
        """
        first_end = (input_ids == self.end_of_text).int().argmax(dim=1)  # (B,)
        rows = first_end[:, None, None].expand(-1, 1, self.width)
        return states.gather(1, rows).flatten(1)


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, source: CLIPEncoderLayer, attention: nn.Module) -> None:
        super().__init__()
        self.norm_attention = source.layer_norm1
        self.attention = attention
        self.norm_perceptron = source.layer_norm2
        self.perceptron = Perceptron(source.mlp)

    def forward(self, states: Tensor, length: int, mask: Tensor | None = None) -> Tensor:
        states = states + self.attention(self.norm_attention(states), length, mask)
        return states + self.perceptron(self.norm_perceptron(states))


class ClassTokenLayer(Layer):
    """The last vision layer: all tokens are looked at, the class token (B, 1, width) leaves."""

    def forward(self, states: Tensor, length: int, mask: Tensor | None = None) -> Tensor:
        token = states[:, :1] + self.attention(self.norm_attention(states), length, mask)
        return token + self.perceptron(self.norm_perceptron(token))


class Attention(nn.Module):
    """What full and class-token attention share: heads, softmax, the map behind them."""

    def __init__(self, source: CLIPAttention) -> None:
        super().__init__()
        self.width = source.embed_dim
        self.heads = source.num_heads
        self.head_width = source.head_dim
        self.output = source.out_proj

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
        return self.output(attended.transpose(1, 2).reshape(-1, length, self.width))


class SelfAttention(Attention):
    """Every token looks at every token that the mask leaves it."""

    def __init__(self, source: CLIPAttention) -> None:
        super().__init__(source)
        self.query_key_value = join_linear(scaled_query(source), source.k_proj, source.v_proj)

    def readers(self) -> Sequence[nn.Linear]:
        """The maps that read the layer's states; the last outputs of the last are the values."""
        return [self.query_key_value]

    def forward(self, states: Tensor, length: int, mask: Tensor | None = None) -> Tensor:
        parts = self.query_key_value(states).split(self.width, dim=2)  # three of (B, S, width)
        query, key, value = (self.split_heads(part, length) for part in parts)
        return self.join_heads(self.attend(query, key, value, mask), length)


class ClassTokenAttention(Attention):
    """The class token alone looks, at all tokens."""

    def __init__(self, source: CLIPAttention) -> None:
        super().__init__(source)
        self.query = scaled_query(source)
        self.key_value = join_linear(source.k_proj, source.v_proj)

    def readers(self) -> Sequence[nn.Linear]:
        """The maps that read the layer's states; the last outputs of the last are the values."""
        return [self.query, self.key_value]

    def forward(self, states: Tensor, length: int, mask: Tensor | None = None) -> Tensor:
        query = self.split_heads(self.query(states[:, :1]), 1)
        parts = self.key_value(states).split(self.width, dim=2)  # two of (B, S, width)
        key, value = (self.split_heads(part, length) for part in parts)
        return self.join_heads(self.attend(query, key, value, mask), 1)


class Perceptron(nn.Module):
    """The two linear maps of a layer, four times as wide in between."""

    def __init__(self, source: CLIPMLP) -> None:
        super().__init__()
        self.widen = source.fc1
        self.activation = activation(source.config.hidden_act)
        self.narrow = source.fc2

    def forward(self, states: Tensor) -> Tensor:
        return self.narrow(self.activation(self.widen(states)))


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """OpenAI's towers use quick_gelu, most others the exact gelu."""
    known: dict[str, Callable[[Tensor], Tensor]] = {
        "quick_gelu": lambda states: states * torch.sigmoid(1.702 * states),
        "gelu": nn.functional.gelu,
    }
    if name not in known:
        raise BundleRefused(f"activation {name!r} is not supported, only {' and '.join(known)}")
    return known[name]


def fold_pixel_scaling(
    model: CLIPModel, mean: Sequence[float], std: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """The patch embedding for raw uint8 pixels, and the position table that goes with it.

    w * (x / 255 - mean) / std  =  (w / (255 * std)) * x  -  w * mean / std: the first factor is the
    new weight (patch * patch * 3, width), the rest a constant of every patch. In double precision,
    since the sums run over three thousand products.
    """
    source = model.vision_model.embeddings
    filters = source.patch_embedding.weight.detach().double()  # (width, 3, patch, patch)
    means, stds = (torch.tensor(v, dtype=torch.double)[:, None, None] for v in (mean, std))
    weight = (filters / (255 * stds)).permute(2, 3, 1, 0).flatten(0, 2)
    offset = (filters * means / stds).sum(dim=(1, 2, 3))  # (width,)
    positions = source.position_embedding.weight.detach().double().clone()  # (1 + patches, width)
    positions[0] += source.class_embedding.detach().double()
    positions[1:] -= offset
    return weight.float(), positions.float()


def scaled_query(source: CLIPAttention) -> nn.Linear:
    """The query projection with attention's 1 / sqrt(width of a head) folded in."""
    scaled = nn.Linear(source.embed_dim, source.embed_dim)
    scaled.weight = nn.Parameter(source.q_proj.weight.detach() * source.scale)
    scaled.bias = nn.Parameter(source.q_proj.bias.detach() * source.scale)
    return scaled


def join_linear(*parts: nn.Linear) -> nn.Linear:
    """Several linear maps of one input as a single one, outputs side by side."""
    joined = nn.Linear(parts[0].in_features, sum(part.out_features for part in parts))
    joined.weight = nn.Parameter(torch.cat([part.weight.detach() for part in parts]))
    joined.bias = nn.Parameter(torch.cat([part.bias.detach() for part in parts]))
    return joined
