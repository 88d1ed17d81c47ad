"""Both towers of `mini` with their heads, as they are trained."""

import math

import torch
from torch import nn

from .grid_head import GridHead
from .towers import (
    FEATURES,
    WIDTH,
    EfficientNetLite2,
    Head,
    MiniLM,
    load_efficientnet,
    load_minilm,
)

TRAINED_LAYERS = 4  # of MiniLM's six: the first two stay as they were


class DualEncoder(nn.Module):
    """Both towers, their heads and the learned temperatures."""

    def __init__(self, hidden: int, dropout: float, *, grid: bool = False):
        super().__init__()
        self.backbone: EfficientNetLite2 = load_efficientnet()[0]
        self.encoder: MiniLM = load_minilm()
        self.vision_head = Head(FEATURES, hidden, dropout)
        self.grid_head = GridHead(dropout=dropout) if grid else None
        self.text_head = Head(WIDTH, hidden, dropout)
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.log_class_scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def tower_parameters(self, train_blocks: int) -> list[nn.Parameter]:
        """What the joint phase trains beside the heads."""
        parts: list[nn.Module] = list(self.encoder.layers[-TRAINED_LAYERS:])
        if train_blocks:
            parts += [self.backbone.top, *self.backbone.blocks[-train_blocks:]]
        return [parameter for part in parts for parameter in part.parameters()]

    def head_parameters(self) -> list[nn.Parameter]:
        heads = [*self.vision_head.parameters(), *self.text_head.parameters()]
        return [*heads, self.log_scale, self.log_class_scale]
