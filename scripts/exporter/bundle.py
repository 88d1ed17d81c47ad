"""Writing a bundle: its towers as ONNX, its tokenizer, and the manifest that describes them.

A bundle is a folder with `vision.onnx`, `text.onnx`, `tokenizer.json` and `model.json`; a picture
model has no text tower, a text tower for the vectors of another model no vision tower. The towers'
interface is fixed: `pixels` uint8 (batch, size, size, 3) to `image_embeds`, `input_ids` int64
(batch, sequence) to `text_embeds`, both float32 (batch, dimension) and not normalised.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from clipindex.model.bundle import MANIFEST
from clipindex.model.manifest import SCHEMA, Manifest

OPSET = 17  # the first with LayerNormalization as one operator

# Protobuf ends at 2 GB and is read whole; weights in a file of their own are mapped into memory.
EXTERNAL_DATA_FROM_BYTES = 64 * 1024 * 1024


class BundleRefused(Exception):
    """The bundle cannot be made, or must not be used; the message says why."""


@contextmanager
def finished_or_nothing(output: Path) -> Iterator[Path]:
    """A hidden folder beside `output` that takes its name only if the block succeeds."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BundleRefused(f"{output} exists and is not an empty folder; name another --output")
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        if output.exists():
            output.rmdir()
        unfinished.rename(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def export_tower(
    tower: nn.Module,
    example: Tensor,
    path: Path,
    *,
    input_name: str,
    output_name: str,
    dynamic_axes: Mapping[int, str],
    fold_constants: bool = True,
) -> None:
    """Write the tower as ONNX; `dynamic_axes` names the axes of its input that may vary.

    `fold_constants` must be off for weights stored as int8: folding widens them in the file.

    The older, tracing exporter is used on purpose: it keeps the graph in the form in which the
    tower was written, and needs nothing beside torch and onnx.
    """
    export_graph(
        tower,
        {input_name: example},
        path,
        output_names=[output_name],
        dynamic_axes={input_name: dynamic_axes, output_name: {0: "batch"}},
        fold_constants=fold_constants,
    )


def export_graph(
    module: nn.Module,
    examples: Mapping[str, Tensor],
    path: Path,
    *,
    output_names: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]],
    fold_constants: bool = True,
) -> None:
    """Write a module with any number of named inputs and outputs as ONNX."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Constant folding", category=UserWarning)
        # Of shapes that are taken for constant: the parity check sees every size of a batch.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # an operator that ONNX does not have
        try:
            torch.onnx.export(
                module.eval(),
                tuple(examples.values()),
                buffer,
                dynamo=False,
                opset_version=OPSET,
                do_constant_folding=fold_constants,
                input_names=list(examples),
                output_names=list(output_names),
                dynamic_axes={name: dict(axes) for name, axes in dynamic_axes.items()},
            )
        except (RuntimeError, ValueError) as error:  # torch.onnx's own errors are of these
            why = str(error).splitlines()[0][:300]
            raise BundleRefused(f"torch cannot export {path.name}: {why}") from error
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
    model = onnx.load_model_from_string(buffer.getvalue())
    weights = path.with_name(f"{path.name}.data")
    external = len(buffer.getvalue()) >= EXTERNAL_DATA_FROM_BYTES
    onnx.save_model(model, path, save_as_external_data=external, location=weights.name)
    if external:  # onnx makes this file readable for its owner alone
        weights.chmod(path.stat().st_mode)
    onnx.checker.check_model(path)


def export_vision(tower: nn.Module, path: Path, *, size: int, fold_constants: bool = True) -> None:
    """`pixels` of `size` a side to `image_embeds`."""
    export_tower(
        tower,
        torch.zeros(2, size, size, 3, dtype=torch.uint8),
        path,
        input_name="pixels",
        output_name="image_embeds",
        dynamic_axes={0: "batch"},
        fold_constants=fold_constants,
    )


def export_text(
    tower: nn.Module, path: Path, *, length: int | None = None, fold_constants: bool = True
) -> None:
    """`input_ids` to `text_embeds`; of any length, or all of this one."""
    export_tower(
        tower,
        torch.zeros(2, length or 8, dtype=torch.int64),
        path,
        input_name="input_ids",
        output_name="text_embeds",
        dynamic_axes={0: "batch"} if length else {0: "batch", 1: "sequence"},
        fold_constants=fold_constants,
    )


def write_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer.json with truncation and padding off: clipindex cuts and pads itself."""
    tokenizer = json.loads(source.read_text(encoding="utf-8"))
    tokenizer["truncation"] = None
    tokenizer["padding"] = None
    compact = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    target.write_text(compact, encoding="utf-8")


def write_manifest(folder: Path, fields: Mapping[str, Any], files: Sequence[str]) -> None:
    """Write model.json, last of all: its presence says that the other files are complete.

    `fields` are those of Manifest but `schema` and `files`, as JSON has them.
    """
    described = {name: describe_file(folder / name) for name in files}
    manifest = Manifest.from_fields({"schema": SCHEMA, **fields, "files": described})
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def describe_file(path: Path) -> dict[str, int | str]:
    """Size and SHA-256, by which a damaged or exchanged file is known."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
