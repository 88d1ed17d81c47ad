"""An exported text tower in our form: token ids alone, whatever else the export asks for.

What an attention mask says, and positions and kinds of tokens, can be told from the ids; they are
made inside the graph. Where the export ends with a vector for each token, their mean is taken, and
the linear map that some models keep in a file of its own comes behind it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipindex.errors import ModelError
from clipindex.model.adapt.chunks import in_chunks
from clipindex.model.adapt.export import DTYPES, Export, Port, refused
from clipindex.model.onnx_graph.graph import FLOAT, FLOAT16, INT64, Array, Graph

if TYPE_CHECKING:
    from onnx import ModelProto

IDS, EMBEDS, ROWS = "input_ids", "text_embeds", "clipindex_rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBorder:
    """Where an export begins and ends, and what is known of it."""

    path: Path
    ids: Port
    others: Sequence[Port]  # what else it may ask for
    output: Port
    dimension: int
    pad_id: int | None  # of the tokens that the mask leaves out; None: it leaves out none
    takes_mean: bool  # of the tokens' vectors
    dense: tuple[Array, Array | None] | None  # [dimension, width] and [dimension] of a linear map


def adapted_text(graph: Graph, border: TextBorder) -> ModelProto:
    """`input_ids` int64 [batch, sequence] to `text_embeds` float32 [batch, dimension].

    Raises ModelError when the graph asks for something that ids do not say.
    """
    graph.prune([border.output.name])
    batch, length = border.ids.shape
    with graph.in_front():
        mask = _Inputs(graph, border).connect()
    embeds = border.output.name
    if border.output.kind == FLOAT16:
        embeds = graph.add("Cast", embeds, to=FLOAT)
    if border.takes_mean:
        embeds = _mean(graph, embeds, mask)
    if border.dense is not None:
        embeds = _mapped(graph, embeds, *border.dense)
    if batch is None:
        graph.redirect(ROWS, IDS)
    else:
        rows = (IDS, ROWS, INT64, [length or "sequence"])
        embeds = in_chunks(graph, batch, rows, (embeds, FLOAT, border.dimension))
    graph.rename(embeds, EMBEDS)
    return graph.finished(
        {IDS: (INT64, ["batch", length or "sequence"])},
        {EMBEDS: (FLOAT, ["batch", border.dimension])},
    )


def expected(export: Export, border: TextBorder, ids: Array) -> Array:
    """What the export makes of token ids [batch, sequence]: vectors [batch, dimension]."""
    mask = np.ones_like(ids) if border.pad_id is None else (ids != border.pad_id).astype(ids.dtype)
    others = {
        "mask": mask,
        "position": np.broadcast_to(np.arange(ids.shape[1]), ids.shape),
        "type_ids": np.zeros_like(ids),
    }
    feeds: dict[str, Array] = {border.ids.name: ids.astype(DTYPES[border.ids.kind])}
    for port in border.others:
        for part, array in others.items():
            if part in port.name:
                feeds[port.name] = array.astype(DTYPES[port.kind])
    states = export.run(border.output, feeds)
    if border.takes_mean:
        weights = mask[..., None].astype(np.float32)
        states = (states * weights).sum(axis=1) / weights.sum(axis=1)
    if border.dense is not None:
        weight, bias = border.dense
        states = states @ weight.T + (0 if bias is None else bias)
    return states


class _Inputs:
    """The export's inputs, made from the ids."""

    def __init__(self, graph: Graph, border: TextBorder) -> None:
        self._graph, self._border = graph, border

    def connect(self) -> str:
        """Let what reads the export's inputs read what is made; returns the mask as int64
        [batch, sequence]."""
        graph, border = self._graph, self._border
        if not graph.readers(border.ids.name):
            raise refused(border.path, f"its output does not depend on '{border.ids.name}'")
        mask = self._mask()
        graph.redirect(border.ids.name, self._as_kind(ROWS, border.ids.kind))
        makers: dict[str, Callable[[], str]] = {
            "mask": lambda: mask,
            "position": self._positions,
            "type_ids": self._zeros,
        }
        for port in border.others:
            if not graph.readers(port.name):
                continue
            made = next((make() for part, make in makers.items() if part in port.name), None)
            if made is None or len(port.shape) != 2:
                why = f"it asks for '{port.name}', which cannot be told from a text"
                raise refused(border.path, why)
            graph.redirect(port.name, self._as_kind(made, port.kind))
        return mask

    def _mask(self) -> str:
        if self._border.pad_id is None:
            return self._filled(1)
        pad = self._graph.constant(np.array(self._border.pad_id, dtype=np.int64))
        is_token = self._graph.add("Not", self._graph.add("Equal", ROWS, pad))
        return self._graph.add("Cast", is_token, to=INT64)

    def _zeros(self) -> str:
        return self._filled(0)

    def _filled(self, number: int) -> str:
        value = np.array([number], dtype=np.int64)
        return self._graph.add("ConstantOfShape", self._graph.add("Shape", ROWS), value=value)

    def _positions(self) -> str:
        graph = self._graph
        shape = graph.add("Shape", ROWS)
        length = graph.add("Gather", shape, graph.constant(np.array(1)), axis=0)
        zero, one = (graph.constant(np.array(number)) for number in (0, 1))
        return graph.add("Expand", graph.add("Range", zero, length, one), shape)

    def _as_kind(self, name: str, kind: int) -> str:
        return name if kind == INT64 else self._graph.add("Cast", name, to=kind)


def _mean(graph: Graph, states: str, mask: str) -> str:
    """The mean [batch, width] of the states [batch, sequence, width] that the mask keeps."""
    row = graph.add("Reshape", mask, graph.integers(0, 1, -1))
    row = graph.add("Cast", row, to=FLOAT)
    count = graph.add("MatMul", row, graph.add("Transpose", row, perm=[0, 2, 1]))
    mean = graph.add("Div", graph.add("MatMul", row, states), count)
    return graph.add("Reshape", mean, graph.integers(0, -1))


def _mapped(graph: Graph, states: str, weight: Array, bias: Array | None) -> str:
    mapped = graph.add("MatMul", states, graph.constant(weight.T))
    return mapped if bias is None else graph.add("Add", mapped, graph.constant(bias))


def read_dense(path: Path) -> tuple[Array, Array | None]:
    """Weight [outputs, inputs] and bias of the linear map in a file of safetensors.

    The format: https://github.com/huggingface/safetensors#format. Raises ModelError.
    """
    try:
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])

        def tensor(name: str) -> Array | None:
            if name not in header:
                return None
            if header[name]["dtype"] != "F32":
                raise ValueError(f"{name} is {header[name]['dtype']}, not F32")
            first, last = header[name]["data_offsets"]
            part = data[start + first : start + last]
            return np.frombuffer(part, dtype="<f4").reshape(header[name]["shape"])

        weight, bias = tensor("linear.weight"), tensor("linear.bias")
        if weight is None or weight.ndim != 2:
            raise ValueError("it has no linear.weight of two axes")
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelError(
            f"the linear map behind the text tower cannot be read: {error}",
            path=str(path),
            hint="download it again: clipindex models pull NAME",
        ) from error
    return weight, bias
