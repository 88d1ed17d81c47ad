"""The int8 graph of a vision tower, and the probe that says where it can be computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from clipindex.errors import ModelError
from clipindex.model.int8.linear import groups, linear_maps
from clipindex.model.int8.rounding import MICROSOFT, Range, round_group
from clipindex.model.onnx_graph.files import read_model, write_model
from clipindex.model.onnx_graph.graph import FLOAT, INT64, UINT8, Array, Graph, empty_model
from clipindex.model.onnxruntime_tower import load, session_options
from clipindex.model.saturation import INPUTS, LARGEST

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

PIXELS, EMBEDS = "pixels", "image_embeds"
BATCH = 4  # pictures that are measured at a time, where the graph takes any
FEWEST_MAPS = 4
OPSET = 17  # of the probe


class VisionGraph:
    """A vision tower's graph, and where in it the work is done: in the main graph, or in the body
    of the loop by which an export for a fixed batch takes any."""

    def __init__(self, vision: Path) -> None:
        """Raises ModelError when it cannot be read, or is no tower of linear maps."""
        model = read_model(vision, lambda location: vision.parent / location)
        self._main = Graph(model)
        (pixels,) = model.graph.input
        (embeds,) = model.graph.output
        self._size = pixels.type.tensor_type.shape.dim[1].dim_value
        self._dimension = embeds.type.tensor_type.shape.dim[1].dim_value
        loop = next((node for node in self._main.nodes if node.op_type == "Scan"), None)
        self._body: GraphProto | None = None
        self._batch: int | None = None
        self._inner, self._pixels = self._main, PIXELS
        if loop is not None:
            self._body = next(entry.g for entry in loop.attribute if entry.name == "body")
            self._inner = self._main.part(self._body.node)
            self._pixels = self._body.input[0].name
            self._batch = self._body.input[0].type.tensor_type.shape.dim[0].dim_value
        self.maps = linear_maps(self._inner, self._pixels)
        if len(self.maps) < FEWEST_MAPS:
            raise ModelError(
                "this vision tower has no int8 form: its work is not done in matrix products",
                path=str(vision),
                hint="use it as it is",
            )

    def ranges(self, pictures: Array, watch: Callable[[int, int], None]) -> dict[str, Range]:
        """What each map reads when the tower sees these pictures uint8 [count, size, size, 3].

        Maps of one row a picture, as behind the pooling, are left out: they weigh next to nothing.
        """
        sources = {linear.source: len(linear.weight) for linear in self.maps}
        with TemporaryDirectory(prefix="clipindex-") as folder:
            path = Path(folder) / "measured.onnx"
            write_model(self._measured(sources), path)
            session = load(path, session_options())
            seen: dict[str, Range] = {}
            for batch in self._batches(pictures):
                results = iter(session.run(None, {self._pixels: batch}))
                for source in sources:
                    here = Range(next(results), next(results))
                    if next(results)[0] > len(batch):
                        seen[source] = here.joined(seen.get(source, here))
                watch(min(len(batch), len(pictures)), len(pictures))
            del session  # its file is about to go
        return seen

    def _measured(self, sources: dict[str, int]) -> ModelProto:
        """The graph with the least and the greatest of each channel of these tensors as outputs."""
        graph = self._inner.part(self._inner.nodes)
        outputs: dict[str, tuple[int, list[int | str]]] = {}
        for source, channels in sources.items():
            rows = graph.add("Reshape", source, graph.integers(-1, channels))
            for operator in ("ReduceMin", "ReduceMax"):
                if graph.opset < 18:
                    name = graph.add(operator, rows, axes=[0], keepdims=0)
                else:
                    name = graph.add(operator, rows, graph.integers(0), keepdims=0)
                outputs[name] = (FLOAT, [channels])
            outputs[graph.add("Shape", rows)] = (INT64, [2])
        shape = [self._batch or "batch", self._size, self._size, 3]
        return graph.finished({self._pixels: (UINT8, shape)}, outputs)

    def _batches(self, pictures: Array) -> Iterator[Array]:
        size = self._batch or BATCH
        for start in range(0, len(pictures), size):
            index = np.arange(start, start + size)
            yield pictures[index % len(pictures) if self._batch else index[index < len(pictures)]]

    def rounded(self, ranges: dict[str, Range], weight_bits: int) -> ModelProto:
        """The graph with every linear map on integers. The graph itself is used up."""
        self._main.use(MICROSOFT)
        for group in groups([linear for linear in self.maps if linear.source in ranges]):
            round_group(self._inner, group, ranges[group[0].source], weight_bits)
        if self._body is not None:
            self._inner.prune([self._body.output[0].name])
            del self._body.node[:]
            self._body.node.extend(self._inner.nodes)
            self._main.constants = self._inner.constants | self._main.constants
        return self._main.finished(
            {PIXELS: (UINT8, ["batch", self._size, self._size, 3])},
            {EMBEDS: (FLOAT, ["batch", self._dimension])},
        )


def write_probe(path: Path) -> None:
    """Write the graph that tests whether a processor sums 8-bit products exactly.

    The largest inputs meet the largest weights, all of one sign in an output: no pair fits into 16
    bits. The sums themselves are small enough for float32 to hold exactly.
    """
    signs = np.array([1, -1] * 8)
    weight = np.tile(signs * 127, (INPUTS, 1))  # [inputs, outputs]
    graph = Graph(empty_model(OPSET))
    graph.use(MICROSOFT)
    names = [
        graph.constant(weight.astype(np.int8)),
        graph.constant(np.float32(1)),
        graph.constant(np.ones(len(signs), np.float32)),
        graph.constant(np.uint8(0)),
    ]
    sums = graph.add("MatMulIntegerToFloat", "inputs", *names, domain=MICROSOFT)
    expected = (LARGEST * weight.sum(axis=0)).astype(np.float32)
    graph.rename(sums, "sums")
    graph.rename(graph.add("Constant", value=expected), "expected")
    model = graph.finished(
        {"inputs": (UINT8, ["rows", INPUTS])},
        {"sums": (FLOAT, ["rows", len(signs)]), "expected": (FLOAT, [len(signs)])},
    )
    write_model(model, path)
