"""A bundle like that of a vision-language model, with three small graphs that need no torch."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

from conftest import TINY

NAME = "tiny-vlm"
SIZE, PICTURE_LENGTH, MAX_LENGTH, WIDTH, WORDS = 32, 4, 40, 16, 997
HEAD = '<ir_version: 8, opset_import: ["": 17]>'
GRAPHS = {
    "vision": f"""vision (uint8[B,{SIZE},{SIZE},3] pixels) => (float[B,P,{WIDTH}] picture_states) {{
        floats = Cast<to=1>(pixels)
        shape = Constant<value_ints=[0, {PICTURE_LENGTH}, -1]>()
        patches = Reshape(floats, shape)
        picture_states = MatMul(patches, weights)
    }}""",
    "text": f"""text (int64[B,T] input_ids) => (float[B,T,{WIDTH}] word_states) {{
        words = Constant<value_int={WORDS}>()
        rows = Mod(input_ids, words)
        word_states = Gather(weights, rows)
    }}""",
    "decoder": f"""decoder (float[B,T,{WIDTH}] states, int64[B,T] mask) => (float[B,{WIDTH}] mean,
        float[B,{WIDTH}] cls, float[B,{WIDTH}] multi_layer, float[B,T,{WIDTH}] last_layer) {{
        one = Constant<value_int=1>()
        ones = Constant<value_ints=[1]>()
        twos = Constant<value_ints=[2]>()
        seen = CumSum(states, one)
        mixed = MatMul(seen, weights)
        last_layer = Tanh(mixed)
        flags = Cast<to=1>(mask)
        kept = Unsqueeze(flags, twos)
        length = ReduceSum<keepdims=0>(kept, ones)
        sum = Mul(last_layer, kept)
        total = ReduceSum<keepdims=0>(sum, ones)
        mean = Div(total, length)
        positions = CumSum(mask, one)
        ends = ReduceSum<keepdims=1>(mask, ones)
        at_end = Equal(positions, ends)
        is_end = Cast<to=1>(at_end)
        last = Mul(is_end, flags)
        picked = Unsqueeze(last, twos)
        final = Mul(last_layer, picked)
        cls = ReduceSum<keepdims=0>(final, ones)
        layers = Add(last_layer, states)
        both = Mul(layers, picked)
        multi_layer = ReduceSum<keepdims=0>(both, ones)
    }}""",
}
ROWS = {"vision": SIZE * SIZE * 3 // PICTURE_LENGTH, "text": WORDS, "decoder": WIDTH}


def make_merged(folder: Path) -> Path:
    """The bundle, in a folder that does not exist yet."""
    folder.mkdir(parents=True)
    shutil.copy(TINY / "tokenizer.json", folder)
    random = np.random.default_rng(5)
    for name, text in GRAPHS.items():
        model = parser.parse_model(HEAD + text)
        weights = random.standard_normal((ROWS[name], WIDTH)).astype(np.float32) / ROWS[name]
        model.graph.initializer.append(numpy_helper.from_array(weights, "weights"))
        onnx.save(model, folder / f"{name}.onnx")
    manifest = json.loads((TINY / "model.json").read_text())
    manifest["image"] |= {"size": SIZE}
    manifest["text"] |= {"context_length": MAX_LENGTH}
    manifest |= {"model": NAME, "dimension": WIDTH, "files": dict(map(_listed, folder.iterdir()))}
    manifest["merged"] = {
        "pooling": "mean",
        "max_length": MAX_LENGTH,
        "picture_length": PICTURE_LENGTH,
    }
    (folder / "model.json").write_text(json.dumps(manifest))
    return folder


def _listed(path: Path) -> tuple[str, dict[str, object]]:
    data = path.read_bytes()
    return path.name, {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
