"""The whole path against torch: a picture's vector in the store is what CLIPModel says of it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import clipindex
from conftest import TINY, ingest

torch = pytest.importorskip("torch", reason="needs the convert extra")
pytest.importorskip("transformers", reason="needs the convert extra")
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))


def test_stored_vectors_equal_torchs_clip_on_the_golden_tensors(
    test_data: Path, tmp_path: Path
) -> None:
    from random_clip import random_clip, tiny

    golden = np.load(test_data / "reference" / "golden.npz")
    upright = {
        name: golden[f"tensor/{name}"]
        for name in (
            "astronaut_square.jpg",
            "camera_grey_289x251.png",
            "chelsea_451x300.jpg",
            "china.jpg",
            "coffee_small_171x114.png",
            "flower_portrait_283x427.jpg",
        )
    }
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    photos = test_data / "reference" / "photos"
    ingest(index, photos)
    with index.place.open_for_reading(index.place.locate().require(), "test") as store:
        points = store.retrieve([id for id, _ in store.scroll()]).values()
    stored = {str(point.payload["name"]): point.vector.astype(np.float64) for point in points}

    model = random_clip(tiny(), 0)
    with torch.no_grad():
        batch = torch.from_numpy(np.stack(list(upright.values())))
        expected = model.get_image_features(batch).pooler_output.double().numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    for name, vector in zip(upright, expected, strict=True):
        assert stored[name] @ vector >= 0.99999, name
