"""Any batch for a graph that was exported for a fixed one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipindex.model.onnx_graph.graph import Graph


def in_chunks(
    graph: Graph,
    count: int,
    source: tuple[str, str, int, Sequence[int | str]],
    result: tuple[str, int, int],
) -> str:
    """Let the whole graph run on `count` rows at a time, as often as a batch needs.

    `source`: the batch; the name by which the graph reads its rows; their element type and the
    shape of one. `result`: the output, its element type and width. Returns the name of the output
    for the whole batch. The last chunk is filled up with rows from the beginning.
    """
    batch, rows, kind, shape = source
    output, output_kind, width = result
    body = graph.as_body({rows: (kind, [count, *shape])}, {output: (output_kind, [count, width])})
    lengths = graph.add("Shape", batch)
    size = graph.add("Gather", lengths, graph.integers(0), axis=0)
    of_row = graph.add(
        "Slice", lengths, graph.integers(1), graph.integers(1 + len(shape)), graph.integers(0)
    )
    whole = size
    if count > 1:
        whole = graph.add(
            "Div", graph.add("Add", size, graph.integers(count - 1)), graph.integers(count)
        )
        total = graph.add("Mul", whole, graph.integers(count))
        scalar = graph.constant(np.array([], dtype=np.int64))
        numbers = graph.add(
            "Range",
            graph.constant(np.array(0)),
            graph.add("Reshape", total, scalar),
            graph.constant(np.array(1)),
        )
        batch = graph.add("Gather", batch, graph.add("Mod", numbers, size), axis=0)
    shape_of_chunks = graph.add("Concat", whole, graph.integers(count), of_row, axis=0)
    chunks = graph.add("Reshape", batch, shape_of_chunks)
    scanned = graph.add("Scan", chunks, body=body, num_scan_inputs=1)
    flat = graph.add("Reshape", scanned, graph.integers(-1, width))
    return graph.add("Slice", flat, graph.integers(0), size, graph.integers(0))
