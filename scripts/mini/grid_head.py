"""The head that looks at places: colours, small things and what is beside what, which the mean over
places has lost."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .towers import DIMENSION, EfficientNetLite2, scale_pixels

PLACES = 49  # 7 x 7
# Block -> how many of its cells a side make one of the 7: 48, 88, 120, 208 and 352 channels.
LEVELS = {6: 4, 10: 2, 14: 2, 15: 1, 20: 1}
GRID_CHANNELS = 816
PART = 32  # numbers a head takes from a place


def grid_and_pooled(backbone: EfficientNetLite2, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled pixels (N, 3, 224, 224) -> what five blocks see at each place (N, 816, 7, 7), and
    the classifier's features (N, 1280)."""
    hidden = functional.relu6(backbone.stem(pixels))
    levels = []
    for index, block in enumerate(backbone.blocks):
        hidden = block(hidden)
        if index in LEVELS:
            cells = LEVELS[index]
            levels.append(functional.avg_pool2d(hidden, cells) if cells > 1 else hidden)
    pooled = functional.relu6(backbone.top(hidden)).mean((2, 3))
    return torch.cat(levels, 1), pooled


class GridHead(nn.Module):
    """(N, 49, 816) -> (N, 512), to be added to what the head makes of the pooled features.

    Each of `heads` parts of the features is gathered by `queries` learned questions, each of them
    a softmax over the places. The last layers begin at zero: at first nothing is added.
    """

    center: Tensor
    spread: Tensor

    def __init__(
        self,
        width: int = 384,
        heads: int = 16,
        queries: int = 4,
        hidden: int = 1024,
        dropout: float = 0.2,
    ):
        super().__init__()
        self.register_buffer("center", torch.zeros(GRID_CHANNELS))
        self.register_buffer("spread", torch.ones(GRID_CHANNELS))
        self.heads, self.queries = heads, queries
        self.project = nn.Linear(GRID_CHANNELS, width)
        self.place = nn.Parameter(torch.randn(PLACES, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, heads * queries)
        self.value = nn.Linear(width, heads * PART)
        gathered = heads * queries * PART
        self.linear = nn.Linear(gathered, DIMENSION)
        self.widen = nn.Linear(gathered, hidden)
        self.narrow = nn.Linear(hidden, DIMENSION)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.linear, self.narrow):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def set_statistics(self, grids: Tensor) -> None:
        """Centre and spread of each channel, from (N, 49, 816)."""
        self.center.copy_(grids.mean((0, 1)))
        self.spread.copy_(grids.flatten(0, 1).std(0))

    def forward(self, grid: Tensor, kept: Tensor | None = None) -> Tensor:
        """`kept` (N, 49): places that may be looked at, in training."""
        scaled = (grid - self.center) / self.spread
        places = self.norm(functional.gelu(self.project(scaled)) + self.place)
        scores = self.key(places)  # (N, 49, heads * queries)
        if kept is not None:
            scores = scores.masked_fill(~kept[:, :, None], -1e4)
        shares = scores.softmax(1).view(-1, PLACES, self.heads, self.queries)
        values = self.value(places).view(-1, PLACES, self.heads, PART)
        gathered = shares.permute(0, 2, 3, 1) @ values.permute(
            0, 2, 1, 3
        )  # (N, heads, queries, 32)
        gathered = self.dropout(gathered.flatten(1))
        hidden = self.dropout(functional.gelu(self.widen(gathered)))
        return self.linear(gathered) + self.narrow(hidden)


class VisionTower(nn.Module):
    """uint8 pixels (N, 224, 224, 3) -> (N, 512)."""

    def __init__(self, backbone: EfficientNetLite2, head: nn.Module, grid_head: GridHead | None):
        super().__init__()
        self.backbone, self.head, self.grid_head = backbone, head, grid_head

    def forward(self, pixels: Tensor) -> Tensor:
        scaled = scale_pixels(pixels)
        if self.grid_head is None:
            return self.head(self.backbone(scaled))
        grid, pooled = grid_and_pooled(self.backbone, scaled)
        return self.head(pooled) + self.grid_head(grid.flatten(2).transpose(1, 2))
