"""Pictures per second of the bundle's vision tower beside a full-size ViT-B/32 in float32.

    PYTHONPATH=scripts python -m mini.speed --bundle models/mini

ViT-B/32 has CLIP's shape and random weights: speed does not depend on them. The two run in turns,
so that a busy machine slows both; the median of the rounds is printed as JSON.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from clipindex.model.imports import guarded_import

with guarded_import():
    import onnxruntime
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

BATCH, ROUNDS, THREADS = 16, 9, 2


class VisionTransformer(nn.Module):
    """uint8 pixels (N, 224, 224, 3) -> (N, 512), CLIP ViT-B/32's shape."""

    def __init__(self) -> None:
        super().__init__()
        config = CLIPVisionConfig(
            hidden_size=768,
            intermediate_size=3072,
            projection_dim=512,
            num_hidden_layers=12,
            num_attention_heads=12,
            image_size=224,
            patch_size=32,
        )
        self.model = CLIPVisionModelWithProjection(config)
        self.model.set_attn_implementation("eager")

    def forward(self, pixels: Tensor) -> Tensor:
        scaled = (pixels.to(torch.float32).permute(0, 3, 1, 2) - 127.0) / 128.0
        return self.model(pixel_values=scaled).image_embeds


def open_session(path: Path) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(path, settings)


def seconds_of(session: onnxruntime.InferenceSession, pixels: np.ndarray) -> float:
    started = time.perf_counter()
    session.run(None, {"pixels": pixels})
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vit.onnx"
        torch.onnx.export(
            VisionTransformer().eval(),
            (torch.from_numpy(pixels),),
            str(path),
            input_names=["pixels"],
            output_names=["image_embeds"],
            opset_version=17,
            dynamo=False,
        )
        large, small = open_session(path), open_session(options.bundle / "vision.onnx")
        rounds = [(seconds_of(small, pixels), seconds_of(large, pixels)) for _ in range(ROUNDS)]
    mini, vit = np.median(np.array(rounds[1:]), axis=0)
    figures = {
        "threads": THREADS,
        "mini_pictures_per_second": round(BATCH / mini, 1),
        "vit_b32_pictures_per_second": round(BATCH / vit, 1),
        "times_as_fast": round(float(np.median([v / m for m, v in rounds[1:]])), 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
