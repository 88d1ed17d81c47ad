"""An exported vision tower in our form: raw pixels as they are decoded, nothing to prepare.

Exports take float32 [batch, 3, size, size], scaled and normalised. Ours takes uint8 [batch, size,
size, 3]: mean and standard deviation go into the weights of the first convolution,

    w * (x / 255 - mean) / std  =  (w / (255 * std)) * x  -  w * mean / std,

in double precision, and a convolution whose patches do not overlap becomes one matrix product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipindex.model.adapt.chunks import in_chunks
from clipindex.model.adapt.export import DTYPES, Port, refused
from clipindex.model.onnx_graph.graph import (
    FLOAT,
    FLOAT16,
    UINT8,
    Array,
    Graph,
    attributes,
)
from clipindex.model.registry import ImageInput

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

PIXELS, EMBEDS, ROWS = "pixels", "image_embeds", "clipindex_rows"
LARGEST = 255  # of a pixel's colours


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionBorder:
    """Where an export begins and ends, and what is known of it."""

    path: Path
    pixels: Port
    output: Port
    image: ImageInput
    dimension: int

    @property
    def is_channels_last(self) -> bool:
        """Whether it takes [batch, size, size, 3]."""
        return self.pixels.shape[3] == 3 and self.pixels.shape[1] != 3

    @property
    def row(self) -> tuple[int, int, int]:
        """The shape of a picture, as the export takes it."""
        size = self.image.size
        return (size, size, 3) if self.is_channels_last else (3, size, size)


def prepared(pixels: Array, border: VisionBorder) -> Array:
    """Pixels uint8 [batch, size, size, 3] as the export takes them."""
    if border.pixels.kind != UINT8:
        mean, std = np.array(border.image.mean), np.array(border.image.std)
        pixels = ((pixels / LARGEST - mean) / std).astype(DTYPES[border.pixels.kind])
    return pixels if border.is_channels_last else pixels.transpose(0, 3, 1, 2)


def adapted_vision(graph: Graph, border: VisionBorder) -> ModelProto:
    """`pixels` uint8 [batch, size, size, 3] to `image_embeds` float32 [batch, dimension].

    Raises ModelError when the graph's output does not depend on pixels.
    """
    graph.prune([border.output.name])
    size, fixed = border.image.size, border.pixels.shape[0]
    _prepare(graph, border, ROWS)
    embeds = border.output.name
    if border.output.kind == FLOAT16:
        embeds = graph.add("Cast", embeds, to=FLOAT)
    if fixed is None:
        graph.redirect(ROWS, PIXELS)
    else:
        rows = (PIXELS, ROWS, UINT8, (size, size, 3))
        embeds = in_chunks(graph, fixed, rows, (embeds, FLOAT, border.dimension))
    graph.rename(embeds, EMBEDS)
    return graph.finished(
        {PIXELS: (UINT8, ["batch", size, size, 3])},
        {EMBEDS: (FLOAT, ["batch", border.dimension])},
    )


def _prepare(graph: Graph, border: VisionBorder, own: str) -> None:
    """Let what reads the export's pixels read ours, called `own`."""
    name = border.pixels.name
    _skip_copies(graph, border)
    _answer_shapes(graph, border, own)
    readers = graph.readers(name)
    if not readers:
        raise refused(border.path, f"its output does not depend on '{name}'")
    if len(readers) == 1 and _takes_folding(graph, readers[0], border):
        _fold(graph, readers[0], border, own)
        return
    with graph.in_front():
        made = own if border.pixels.kind == UINT8 else _normalised(graph, border, own)
        if border.pixels.kind == UINT8 and not border.is_channels_last:
            made = graph.add("Transpose", own, perm=[0, 3, 1, 2])
    graph.redirect(name, made)


def _skip_copies(graph: Graph, border: VisionBorder) -> None:
    """Delete what hands the pixels on as they are, such as a cast to the type that they have."""
    waiting = graph.readers(border.pixels.name)
    while waiting:
        node = waiting.pop()
        is_cast = node.op_type == "Cast" and attributes(node)["to"] == border.pixels.kind
        if is_cast or node.op_type == "Identity":
            waiting += graph.readers(node.output[0])
            graph.remove(node)
            graph.redirect(node.output[0], border.pixels.name)


def _answer_shapes(graph: Graph, border: VisionBorder, own: str) -> None:
    """Many graphs ask for the shape of their input, mostly for the size of the batch."""
    for node in graph.readers(border.pixels.name):
        if node.op_type != "Shape":
            continue
        asked = attributes(node)
        with graph.in_front():
            batch = graph.add("Gather", graph.add("Shape", own), graph.integers(0), axis=0)
            shape = graph.add("Concat", batch, graph.integers(*border.row), axis=0)
            if "start" in asked or "end" in asked:
                ends = (asked.get("start", 0), asked.get("end", 4))
                shape = graph.add("Slice", shape, *(graph.integers(end) for end in ends))
        graph.remove(node)
        graph.redirect(node.output[0], shape)


def _normalised(graph: Graph, border: VisionBorder, own: str) -> str:
    """The export's pixels from ours by computing them, where nothing can be folded."""
    mean, std = (LARGEST * _of_colours(v).reshape(3) for v in (border.image.mean, border.image.std))
    floats = graph.add("Cast", own, to=FLOAT)
    centred = graph.add("Sub", floats, graph.constant(mean.astype(np.float32)))
    made = graph.add("Mul", centred, graph.constant((1 / std).astype(np.float32)))
    if not border.is_channels_last:
        made = graph.add("Transpose", made, perm=[0, 3, 1, 2])
    return graph.add("Cast", made, to=FLOAT16) if border.pixels.kind == FLOAT16 else made


# --- folding -------------------------------------------------------------------------------------


def _takes_folding(graph: Graph, node: NodeProto, border: VisionBorder) -> bool:
    """Whether it is a convolution of all three colours whose weights can be changed."""
    if node.op_type != "Conv" or node.input[0] != border.pixels.name or border.is_channels_last:
        return False
    weights = graph.array(node.input[1])
    bias = graph.array(node.input[2]) if len(node.input) > 2 else None
    return (
        border.pixels.kind == FLOAT
        and weights is not None
        and weights.dtype == np.float32
        and weights.ndim == 4
        and weights.shape[1] == 3
        and (len(node.input) < 3 or bias is not None)
    )


def _fold(graph: Graph, conv: NodeProto, border: VisionBorder, own: str) -> None:
    """Put scaling and, where nothing is padded, the mean into the convolution."""
    weights = graph.array(conv.input[1])
    bias = graph.array(conv.input[2]) if len(conv.input) > 2 else None
    assert weights is not None  # as _takes_folding said
    facts, size = attributes(conv), border.image.size
    is_filled_up = facts.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    is_padded = is_filled_up or any(facts.get("pads", []))
    mean, std = _of_colours(border.image.mean), _of_colours(border.image.std)
    wide = weights.astype(np.float64)
    offset = np.zeros(len(wide)) if bias is None else bias.astype(np.float64)
    if not is_padded:  # padding is 0 behind the mean, which is not 0 before it
        # fsum rounds once: the same bits whatever order a processor would add in.
        offset -= [math.fsum(row) for row in (wide * mean / std).reshape(len(wide), -1)]
    scaled = (wide / (LARGEST * std)).astype(np.float32)
    with graph.in_front():
        if not is_padded and _is_grid(facts, weights.shape, size):
            patches = _patches(graph, own, scaled, offset.astype(np.float32), size)
            _skip_flattening(graph, conv.output[0], patches)
            grid = size // weights.shape[2]
            lines = graph.add("Transpose", patches, perm=[0, 2, 1])
            made = graph.add("Reshape", lines, graph.integers(-1, len(wide), grid, grid))
        else:
            floats = graph.add("Cast", own, to=FLOAT)
            if is_padded:
                shift = graph.constant((LARGEST * mean).astype(np.float32).reshape(3))
                floats = graph.add("Sub", floats, shift)
            planes = graph.add("Transpose", floats, perm=[0, 3, 1, 2])
            parts = [planes, graph.constant(scaled), graph.constant(offset.astype(np.float32))]
            made = graph.add("Conv", *parts, **facts)
    graph.remove(conv)
    graph.redirect(conv.output[0], made)


def _of_colours(numbers: tuple[float, float, float]) -> Array:
    """One number for each colour, against weights [outputs, 3, height, width]."""
    return np.array(numbers, dtype=np.float64)[:, None, None]


def _is_grid(facts: dict[str, Any], shape: tuple[int, ...], size: int) -> bool:
    """Whether the convolution cuts the picture into square patches, none left over."""
    side = shape[2]
    return (
        shape[3] == side
        and list(facts.get("strides", [1, 1])) == [side, side]
        and list(facts.get("dilations", [1, 1])) == [1, 1]
        and size % side == 0
    )


def _patches(graph: Graph, own: str, weights: Array, offset: Array, size: int) -> str:
    """Patches [batch, patches, outputs] of the pixels; they are moved as bytes, a quarter of what
    their numbers take."""
    outputs, _, side, _ = weights.shape
    grid = size // side
    cut = graph.add("Reshape", own, graph.integers(-1, grid, side, grid, side, 3))
    moved = graph.add("Transpose", cut, perm=[0, 1, 3, 2, 4, 5])
    rows = graph.add("Reshape", moved, graph.integers(-1, grid * grid, side * side * 3))
    product = graph.add(
        "MatMul",
        graph.add("Cast", rows, to=FLOAT),
        graph.constant(weights.transpose(2, 3, 1, 0).reshape(-1, outputs)),
    )
    return graph.add("Add", product, graph.constant(offset))


def _skip_flattening(graph: Graph, convolved: str, patches: str) -> None:
    """Where the graph turns [batch, outputs, rows, columns] into [batch, patches, outputs], these
    are there already."""
    for node in graph.readers(convolved):
        after = graph.readers(node.output[0])
        if (
            node.op_type in ("Reshape", "Flatten")
            and [other.op_type for other in after] == ["Transpose"]
            and list(attributes(after[0]).get("perm", [])) == [0, 2, 1]
        ):
            graph.redirect(after[0].output[0], patches)
