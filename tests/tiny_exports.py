"""Tiny ONNX exports of image-text models, as exporters leave them: random weights, true borders."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from clipindex.model.registry import Graph, ImageInput, ModelDescription, RemoteFile, TextInput
from conftest import TINY

FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32
WIDTH = 16
VOCABULARY, END_OF_TEXT = 49_408, 49_407
Shape = list[int | str]


class Builder:
    """Collects nodes and weights; the weights depend on the seed and their order alone."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._random = np.random.default_rng(seed)

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant((self._random.normal(0, scale, shape)).astype(np.float32))

    def constant(self, array: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def input(self, name: str, kind: int, shape: Shape) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, tensor: str, name: str, shape: Shape, kind: int = FLOAT) -> None:
        if name in [output.name for output in self.outputs]:
            name = f"{name}_of_texts"
        self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def model(self, opset: int = 17) -> ModelProto:
        graph = helper.make_graph(self.nodes, "exported", self.inputs, self.outputs, self.weights)
        operators = [helper.make_opsetid("", opset)]
        return helper.make_model(
            graph, opset_imports=operators, ir_version=8, producer_name="an exporter"
        )


@dataclass(frozen=True, kw_only=True)
class Vision:
    """How a vision tower is exported."""

    size: int = 32
    patch: int = 8
    stride: int = 8
    pads: int = 0
    dimension: int = 24
    batch: int | str = "batch"
    name: str = "pixel_values"
    output: str = "image_embeds"
    normalised: bool = False
    layers: int = 1
    norm: str = ""  # in front of each layer: `operator`, or `nodes` as older exporters write it
    is_valid: bool = False  # says so instead of a padding of 0
    through: str = ""  # an operator between the pixels and the convolution

    def build(self, b: Builder) -> None:
        pixels = b.input(self.name, FLOAT, [self.batch, 3, self.size, self.size])
        read = b.add(self.through, pixels) if self.through else pixels
        filters = b.weight(WIDTH, 3, self.patch, self.patch, scale=1 / self.patch)
        convolved = b.add(
            "Conv",
            read,
            filters,
            b.weight(WIDTH),
            strides=[self.stride, self.stride],
            **({"auto_pad": "VALID"} if self.is_valid else {"pads": [self.pads] * 4}),
        )
        # As flatten(2).transpose(1, 2) is exported.
        start = b.add("Slice", b.add("Shape", convolved), *_numbers(b, 0, 2, 0))
        flat = b.add("Concat", start, b.constant(np.array([-1])), axis=0)
        states = b.add("Transpose", b.add("Reshape", convolved, flat), perm=[0, 2, 1])
        # As the class token is repeated for each picture.
        count = b.add("Gather", b.add("Shape", pixels), b.constant(np.array([0])), axis=0)
        shape = b.add("Concat", count, b.constant(np.array([1, WIDTH])), axis=0)
        token = b.add("Expand", b.weight(1, 1, WIDTH), shape)
        states = b.add("Concat", token, states, axis=1)
        grid = (self.size + 2 * self.pads - self.patch) // self.stride + 1
        states = b.add("Add", states, b.weight(1 + grid**2, WIDTH, scale=0.3))
        for _ in range(self.layers):
            states = _layer(b, states, self.norm)
        embeds = b.add(
            "MatMul",
            b.add("ReduceMean", states, axes=[1], keepdims=0),
            b.weight(WIDTH, self.dimension),
        )
        if self.normalised:
            embeds = b.add("LpNormalization", embeds, axis=-1, p=2)
        b.output(states, "last_hidden_state", [self.batch, 1 + grid**2, WIDTH])
        b.output(embeds, self.output, [self.batch, self.dimension])


@dataclass(frozen=True, kw_only=True)
class Text:
    """How a text tower is exported."""

    dimension: int = 24
    batch: int | str = "batch"
    length: int | str = "sequence"
    context: int = 77
    name: str = "input_ids"
    kind: int = INT64
    output: str = "text_embeds"
    mask: str = ""
    positions: bool = False
    token_types: bool = False
    reads_padding: bool = False  # as SigLIP, whose texts are padded to the end
    pools: bool = True  # False: it ends with the tokens' states

    def build(self, b: Builder) -> None:
        shape: Shape = [self.batch, self.length]
        ids = b.input(self.name, self.kind, shape)
        table = b.weight(VOCABULARY, WIDTH)
        states = b.add("Gather", table, ids, axis=0)
        positions = b.weight(self.context, WIDTH, scale=0.3)
        if self.positions:
            places = b.add("Gather", positions, b.input("position_ids", INT64, shape), axis=0)
        else:
            length = b.add("Slice", b.add("Shape", ids), *_numbers(b, 1, 2, 0))
            places = b.add("Slice", positions, b.constant(np.array([0])), length)
        states = b.add("Add", states, places)
        if self.token_types:
            kinds = b.input("token_type_ids", INT64, shape)
            states = b.add("Add", states, b.add("Gather", b.weight(2, WIDTH), kinds, axis=0))
        states = _layer(b, states)
        if self.mask:
            mask = b.add("Cast", b.input(self.mask, INT64, shape), to=FLOAT)
            last = b.add("Reshape", mask, b.constant(np.array([0, -1, 1])))
            states = b.add("Mul", states, last)
        if not self.pools:
            b.output(states, self.output, [*shape, WIDTH])
            return
        if self.reads_padding:
            pooled = b.add("ReduceMean", states, axes=[1], keepdims=0)
        else:
            end = b.constant(np.array(END_OF_TEXT, helper.tensor_dtype_to_np_dtype(self.kind)))
            at_end = b.add("Cast", b.add("Equal", ids, end), to=FLOAT)
            row = b.add("Reshape", at_end, b.constant(np.array([0, 1, -1])))
            pooled = b.add("Reshape", b.add("MatMul", row, states), b.constant(np.array([0, -1])))
        b.output(states, "last_hidden_state", [*shape, WIDTH])
        embeds = b.add("MatMul", pooled, b.weight(WIDTH, self.dimension))
        b.output(embeds, self.output, [self.batch, self.dimension])


def _layer(b: Builder, states: str, norm: str = "") -> str:
    if norm:
        normed = _normed(b, states, norm)
        wide = b.add("Add", b.add("MatMul", normed, b.weight(WIDTH, 32, scale=0.4)), b.weight(32))
        narrow = b.add("MatMul", b.add("Tanh", wide), b.weight(32, WIDTH, scale=0.4))
        return b.add("Add", states, narrow)
    mixed = b.add("Tanh", b.add("MatMul", states, b.weight(WIDTH, WIDTH)))
    return b.add("Add", states, mixed)


def _normed(b: Builder, states: str, norm: str) -> str:
    scale = b.constant(np.linspace(0.2, 3, WIDTH).astype(np.float32))
    if norm == "operator":
        return b.add("LayerNormalization", states, scale, b.weight(WIDTH))
    centred = b.add("Sub", states, b.add("ReduceMean", states, axes=[-1]))
    square = b.add("ReduceMean", b.add("Mul", centred, centred), axes=[-1])
    deviation = b.add("Sqrt", b.add("Add", square, b.constant(np.float32(1e-5))))
    unit = b.add("Div", centred, deviation)
    return b.add("Add", b.add("Mul", unit, scale), b.weight(WIDTH))


def _numbers(b: Builder, *numbers: int) -> list[str]:
    return [b.constant(np.array([number])) for number in numbers]


def export(*towers: Vision | Text, seed: int = 0, opset: int = 17) -> ModelProto:
    """One graph of one or two towers."""
    builder = Builder(seed)
    for tower in towers:
        tower.build(builder)
    return builder.model(opset)


def safetensors(path: Path, **tensors: Any) -> None:
    """A file of float32 tensors."""
    header: dict[str, Any] = {}
    data = b""
    for name, array in tensors.items():
        raw = np.asarray(array, dtype="<f4").tobytes()
        ends = [len(data), len(data) + len(raw)]
        header[name.replace("_", ".")] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": ends,
        }
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


IMAGE = ImageInput(
    size=32, fit="crop", interpolation="bicubic", mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28)
)
WORDS = TextInput(
    context_length=77, pad="longest", pad_id=0, cleaning="openai", tokenizer="byte-pair encoding"
)
PIXELS = Graph(input="pixel_values", input_type="float32", output="image_embeds")
IDS = Graph(input="input_ids", input_type="int64", output="text_embeds")
DESCRIPTION = ModelDescription(
    id="tiny-export",
    title="a tiny export",
    origin="export",
    dimension=24,
    towers=("vision", "text"),
    licence="Apache-2.0",
    commercial_use=True,
    files=tuple(
        RemoteFile(role=role, path=path, repository="a/b", revision="0" * 40)  # type: ignore[arg-type]
        for role, path in (
            ("vision", "onnx/vision_model.onnx"),
            ("text", "onnx/text_model.onnx"),
            ("tokenizer", "tokenizer.json"),
        )
    ),
    image=IMAGE,
    text=WORDS,
    vision_graph=PIXELS,
    text_graph=IDS,
)


def with_files(description: ModelDescription, **files: str) -> ModelDescription:
    """The description with these files: role -> path in the repository."""
    remote = [
        RemoteFile(role=role, path=path, repository="a/b", revision="0" * 40)  # type: ignore[arg-type]
        for role, path in files.items()
    ]
    return replace(description, files=tuple(remote))


def arrived(folder: Path, **graphs: ModelProto | Path) -> dict[str, Path]:
    """What a download leaves behind, by path in the repository, under names of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"vision": "onnx/vision_model.onnx", "text": "onnx/text_model.onnx"}
    downloaded = {"tokenizer.json": TINY / "tokenizer.json"}
    for name, graph in graphs.items():
        path = folder / f"{name.replace('/', '--')}.arrived"
        if isinstance(graph, Path):
            path = graph
        else:
            path.write_bytes(graph.SerializeToString())
        downloaded[paths.get(name, name)] = path
    return downloaded
