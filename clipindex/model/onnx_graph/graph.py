"""A graph that can be changed: nodes by what they make, constants as arrays, new nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

from clipindex.errors import ModelError

OLDEST_OPSET = 11  # of the operators that are added: Scan and Range in today's form
OWN = "clipindex_"  # begins the names of what was added

Ports = Mapping[str, tuple[int, Sequence[int | str]]]  # name -> element type and shape
Array = np.ndarray[tuple[int, ...], np.dtype[Any]]


class Graph:
    """The main graph of a model, changed in place."""

    def __init__(self, model: ModelProto) -> None:
        """Raises ModelError for operators of a set older than OLDEST_OPSET."""
        self.model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.constants: dict[str, TensorProto] = {
            tensor.name: tensor for tensor in model.graph.initializer
        }
        self._taken = {*self.constants, *(name for n in all_nodes(self.nodes) for name in n.output)}
        self._count = 0
        if self.opset < OLDEST_OPSET:
            raise ModelError(
                f"the graph uses ONNX operators of set {self.opset}, {OLDEST_OPSET} is the oldest"
                " that can be adapted",
                hint="take a newer export of the model, or convert the checkpoint with"
                " scripts/convert_to_onnx.py",
            )

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        versions = {entry.domain: entry.version for entry in self.model.opset_import}
        return int(versions.get("", versions.get("ai.onnx", 0)))

    def maker(self, name: str) -> NodeProto | None:
        """The node that makes a tensor; None for an input or a constant."""
        return next((node for node in self.nodes if name in node.output), None)

    def readers(self, name: str) -> list[NodeProto]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if name in inputs_of(node)]

    def array(self, name: str) -> Array | None:
        """A constant's numbers, by whatever way it is written; None where it is none."""
        if name in self.constants:
            array: Array = numpy_helper.to_array(self.constants[name])
            return array
        node = self.maker(name)
        if node is None:
            return None
        if node.op_type == "Identity":
            return self.array(node.input[0])
        value = attributes(node).get("value") if node.op_type == "Constant" else None
        return None if value is None else numpy_helper.to_array(value)

    # --- changes ---------------------------------------------------------------------------------

    def constant(self, array: Array | np.generic) -> str:
        """Add a constant; returns its name."""
        name = self._name("constant")
        self.constants[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def add(self, op: str, *inputs: str, **attrs: object) -> str:
        """Add a node with one output, behind all others; returns the output's name."""
        name = self._name(op.lower())
        attrs = {
            key: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
            for key, value in attrs.items()
        }
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attrs))
        return name

    def integers(self, *numbers: int) -> str:
        """Add a constant of int64 [count], as shapes are; returns its name."""
        return self.constant(np.array(numbers, dtype=np.int64))

    @contextmanager
    def in_front(self) -> Iterator[None]:
        """What is added meanwhile comes before all that was there."""
        count = len(self.nodes)
        yield
        self.nodes = [*self.nodes[count:], *self.nodes[:count]]

    @contextmanager
    def before(self, node: NodeProto) -> Iterator[None]:
        """What is added meanwhile comes right before a node."""
        count = len(self.nodes)
        yield
        old, added = self.nodes[:count], self.nodes[count:]
        index = next(index for index, other in enumerate(old) if other is node)
        self.nodes = [*old[:index], *added, *old[index:]]

    def redirect(self, old: str, new: str) -> None:
        """Let all nodes that read `old` read `new`."""
        for node in self.nodes:
            replace_inputs(node, {old: new})

    def rename(self, old: str, new: str) -> None:
        """Give a tensor that a node makes another name."""
        for node in self.nodes:
            for index, name in enumerate(node.output):
                if name == old:
                    node.output[index] = new
        self.redirect(old, new)

    def remove(self, node: NodeProto) -> None:
        """Delete a node whose outputs nobody reads any more."""
        self.nodes = [other for other in self.nodes if other is not node]

    def _name(self, what: str) -> str:
        while True:
            self._count += 1
            name = f"{OWN}{what}_{self._count}"
            if name not in self._taken:
                self._taken.add(name)
                return name

    def as_body(self, inputs: Ports, outputs: Ports) -> GraphProto:
        """All nodes, moved into a graph of their own, the body of a loop; constants stay."""
        body = helper.make_graph(self.nodes, "body", _described(inputs), _described(outputs))
        self.nodes = []
        return body

    def use(self, domain: str) -> None:
        """Allow operators of another domain than the standard one."""
        if domain not in [entry.domain for entry in self.model.opset_import]:
            self.model.opset_import.add(domain=domain, version=1)

    def part(self, nodes: Iterable[NodeProto]) -> Graph:
        """A graph of some of the nodes, or of a loop's body, with the same constants."""
        part = Graph(self.model)
        part.nodes, part.constants = list(nodes), dict(self.constants)
        part._taken = self._taken
        return part

    # --- the end ---------------------------------------------------------------------------------

    def prune(self, outputs: Iterable[str]) -> None:
        """Delete what no output depends on."""
        needed, kept = set(outputs), []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                kept.append(node)
                needed |= set(inputs_of(node))
        self.nodes = kept[::-1]
        self.constants = {name: t for name, t in self.constants.items() if name in needed}

    def finished(self, inputs: Ports, outputs: Ports) -> ModelProto:
        """The model with these inputs and outputs."""
        self.prune(outputs)
        used = {node.domain or "" for node in all_nodes(self.nodes)}
        functions = [f for f in self.model.functions if f.domain in used]
        used |= {entry.domain for function in functions for entry in function.opset_import}
        model = ModelProto(ir_version=self.model.ir_version, functions=functions)
        model.opset_import.extend(e for e in self.model.opset_import if e.domain in {*used, ""})
        graph = model.graph
        graph.name = "tower"
        graph.node.extend(self.nodes)
        graph.initializer.extend(self.constants.values())
        graph.input.extend(_described(inputs))
        graph.output.extend(_described(outputs))
        return model


def _described(ports: Ports) -> list[ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, kind, list(shape))
        for name, (kind, shape) in ports.items()
    ]


def empty_model(opset: int) -> ModelProto:
    """A model without nodes. ONNX's own number for its format stays that of 2021."""
    return helper.make_model(
        helper.make_graph([], "empty", [], []),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values."""
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def replace_inputs(node: NodeProto, names: Mapping[str, str]) -> None:
    """Let a node, and the graphs in it, read other tensors."""
    for index, name in enumerate(node.input):
        if name in names:
            node.input[index] = names[name]
    for graph in subgraphs(node):
        hidden = {value.name for value in graph.input}
        for child in graph.node:
            replace_inputs(child, {old: new for old, new in names.items() if old not in hidden})
        for value in graph.output:
            value.name = names.get(value.name, value.name)


def inputs_of(node: NodeProto) -> Iterable[str]:
    """What a node reads, in graphs inside it as well."""
    yield from filter(None, node.input)
    for graph in subgraphs(node):
        for child in graph.node:
            yield from inputs_of(child)
        yield from (value.name for value in graph.output)


def subgraphs(node: NodeProto) -> Iterable[GraphProto]:
    """The graphs in a node's attributes: bodies of loops, branches."""
    for entry in node.attribute:
        if entry.HasField("g"):
            yield entry.g
        yield from entry.graphs


def all_nodes(nodes: Iterable[NodeProto]) -> Iterable[NodeProto]:
    """These nodes and all inside them."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from all_nodes(graph.node)


FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32
UINT8, BOOL, FLOAT16 = TensorProto.UINT8, TensorProto.BOOL, TensorProto.FLOAT16
