"""Pool the random views once, for runs that leave the vision tower frozen.

    PYTHONPATH=scripts python -m mini.pooled_views --cache CACHE [--captioned-only]

Reads `view-K.npy` and `pooled.npy` (view 0), writes `pooled-K.npy` (float16 (N, 1280); rows without
such a view repeat view 0).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from clipindex.model.imports import guarded_import

from .features import CAPTIONED_VIEWS, LABELLED_VIEWS, read_manifest
from .towers import STAGE_SHAPE, EfficientNetLite2, load_efficientnet

with guarded_import():
    import onnxruntime


class Pooling(nn.Module):
    """(N, 208, 7, 7) -> (N, 1280)."""

    def __init__(self, backbone: EfficientNetLite2):
        super().__init__()
        self.backbone = backbone

    def forward(self, stage: Tensor) -> Tensor:
        return self.backbone.pool(stage)


def open_pooling(folder: str) -> onnxruntime.InferenceSession:
    """The frozen last blocks in onnxruntime."""
    path = f"{folder}/pooling.onnx"
    torch.onnx.export(
        Pooling(load_efficientnet()[0]).eval(),
        (torch.zeros(2, *STAGE_SHAPE),),
        path,
        input_names=["stage"],
        output_names=["pooled"],
        dynamic_axes={"stage": {0: "batch"}, "pooled": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(path, settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--captioned-only", action="store_true")
    options = parser.parse_args()
    manifest = read_manifest(options.cache)
    with tempfile.TemporaryDirectory() as folder:
        session = open_pooling(folder)
    for view in range(1, CAPTIONED_VIEWS):
        pooled = np.load(options.cache / "pooled.npy")
        stage = np.load(options.cache / f"view-{view}.npy", mmap_mode="r")
        rows = [
            row
            for row, picture in enumerate(manifest)
            if picture["captions"] or (view < LABELLED_VIEWS and not options.captioned_only)
        ]
        for start in range(0, len(rows), 64):
            chunk = rows[start : start + 64]
            feeds = {"stage": stage[chunk].astype(np.float32)}
            pooled[chunk] = session.run(["pooled"], feeds)[0].astype(np.float16)
        np.save(options.cache / f"pooled-{view}.npy", pooled)
        print(f"view {view}: {len(rows)} pictures", flush=True)


if __name__ == "__main__":
    main()
