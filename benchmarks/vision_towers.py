"""CPU time a picture of the vision towers that clipindex knows by name.

    python -m benchmarks.vision_towers [ROUNDS]

Random weights of the true architecture: what a tower costs does not depend on what it has learnt.
Each is exported as the converter does, and runs as ingest runs it: float32, onnxruntime, one
thread, batch 4. The towers take turns, and each one's best round counts, so that what else the
machine does at the time touches all of them alike. `mini` is the bundled one. Needs the `convert`
extra.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from clipindex.model.bundle import find_bundle  # noqa: E402
from clipindex.model.onnxruntime_tower import SessionTower  # noqa: E402
from clipindex.model.processor import processor  # noqa: E402
from clipindex.model.providers import CPU_BATCH, Provider  # noqa: E402
from clipindex.model.registry import descriptions  # noqa: E402
from exporter import clip, siglip  # noqa: E402
from exporter.bundle import export_vision  # noqa: E402
from exporter.towers import vision_tower  # noqa: E402

BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}  # texts: not measured
ROUNDS = 8


def clip_parts(size: int, activation: str) -> Any:
    """A CLIP B/32 of this picture size."""
    vision = {**BASE, "image_size": size, "patch_size": 32, "hidden_act": activation}
    config = CLIPConfig(vision_config=vision, text_config=SMALL, projection_dim=512)
    return clip.vision_parts(CLIPModel(config).eval())


def siglip_parts(size: int, patch: int) -> Any:
    """A SigLIP 2 base."""
    vision = {**BASE, "image_size": size, "patch_size": patch, "intermediate_size": 3072}
    text = {**SMALL, "vocab_size": 32, "projection_size": 768, "intermediate_size": 16}
    config = SiglipConfig(vision_config=vision, text_config=text)
    return siglip.vision_parts(SiglipModel(config).eval())


TOWERS: dict[str, Callable[[], Any]] = {
    "vit-b-32": lambda: clip_parts(224, "quick_gelu"),
    "vit-b-32-laion2b": lambda: clip_parts(224, "gelu"),
    "vit-b-32-256-datacomp": lambda: clip_parts(256, "gelu"),
    "siglip2-b-32-256": lambda: siglip_parts(256, 32),
    "siglip2-b-16-224": lambda: siglip_parts(224, 16),
}


def towers(folder: Path) -> Iterator[tuple[str, int, SessionTower]]:
    """Name, picture size and session of each."""
    mini = find_bundle("mini")
    yield "mini", 224, SessionTower(mini.vision, mini.probe, Provider.CPU)
    for name, parts_of in TOWERS.items():
        image = descriptions()[name].image
        assert image is not None
        path = folder / f"{name}.onnx"
        torch.manual_seed(0)
        with torch.no_grad():
            tower = vision_tower(parts_of(), image.mean, image.std)
            export_vision(tower, path, size=image.size)
        yield name, image.size, SessionTower(path, None, Provider.CPU)


def milliseconds(tower: SessionTower, pixels: np.ndarray[Any, Any]) -> float:
    """CPU time of one batch, a picture."""
    before = time.process_time()
    tower.run(pixels)
    return (time.process_time() - before) * 1000 / len(pixels)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        measured = [
            (name, tower, random.integers(0, 256, (CPU_BATCH, size, size, 3), dtype=np.uint8))
            for name, size, tower in towers(Path(folder))
        ]
        for _, tower, pixels in measured:
            tower.run(pixels)  # warms up
        best: dict[str, float] = {}
        for _ in range(rounds):
            for name, tower, pixels in measured:
                best[name] = min(best.get(name, float("inf")), milliseconds(tower, pixels))
    print(processor())
    for name, cost in best.items():
        print(f"{name:<24}{cost:8.1f} ms  {cost / best['vit-b-32']:.2f} x vit-b-32")


if __name__ == "__main__":
    main()
