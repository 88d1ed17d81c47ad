"""One peer, files to unit vectors, in the peer's own environment.

    python peer.py NAME --weights FOLDER --files LIST --out VECTORS.npy --threads N

LIST holds one path a line; VECTORS.npy is float32 [files, 512] in that order. Nothing of
clipindex is imported here. No peer reads HEIC on Linux by itself: they are given Pillow's plugin.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 25
HEIC = (".heic", ".heif", ".hif")
RCLIP_BATCH = 8  # its own default


def fastembed(weights: Path, files: list[str], threads: int) -> Any:
    from fastembed import ImageEmbedding

    model = ImageEmbedding(
        "Qdrant/clip-ViT-B-32-vision",
        threads=threads,
        specific_model_path=str(weights / "onnx"),
    )
    return np.stack(list(model.embed(files, batch_size=BATCH)))


def rclip(weights: Path, files: list[str], threads: int) -> Any:  # noqa: ARG001 - it takes all cores
    """Its whole indexing, to the rows of its database. It ships a model of 256 pixels, so size and
    session are replaced. It walks folders, so the files come as links in one."""
    from rclip import db, main, model, model_download
    from rclip.utils import preprocess

    preprocess.IMAGE_SIZE = 224
    session = model_download._load_onnx_session(str(weights / "onnx" / "model.onnx"))
    model_download.load_visual_query_session = lambda: session
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "pictures")
        folder.mkdir()
        links = [folder / f"{number:06d}{Path(path).suffix}" for number, path in enumerate(files)]
        for link, path in zip(links, files, strict=True):
            link.symlink_to(path)
        database = db.DB(Path(name, "db.sqlite3"))
        indexer = main.RClip(model.Model(), database, RCLIP_BATCH, None)
        indexer.ensure_index(str(folder))
        rows = {
            row["filepath"]: np.frombuffer(row["vector"], np.float32)
            for row in database.get_image_vectors_by_dir_path(str(folder))
        }
        indexer.close()
        database.close()
    return np.stack([rows[str(link)] for link in links])


def sentence_transformers(weights: Path, files: list[str], threads: int) -> Any:
    import torch
    from PIL import Image

    torch.set_num_threads(threads)
    import_torchvision(torch)
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(weights / "sentence-transformers"), device="cpu")
    vectors = []
    for part in batches(files):
        images = [Image.open(path) for path in part]
        vectors.append(model.encode(images, batch_size=BATCH, normalize_embeddings=True))
    return np.concatenate(vectors)


def open_clip(weights: Path, files: list[str], threads: int) -> Any:
    import torch
    from PIL import Image

    torch.set_num_threads(threads)
    import_torchvision(torch)
    import open_clip as library

    model, _, preprocess = library.create_model_and_transforms(
        "ViT-B-32-quickgelu", pretrained=str(weights / "open_clip.pt")
    )
    model.eval()
    vectors = []
    with torch.inference_mode():
        for part in batches(files):
            images = torch.stack([preprocess(Image.open(path)) for path in part])
            vectors.append(model.encode_image(images, normalize=True).numpy())
    return np.concatenate(vectors)


def import_torchvision(torch: Any) -> None:
    """torchvision asks for its compiled operators when it is imported, although no transform
    uses them; those of its wheel do not load beside a torch without CUDA. So name them."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(library)
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]


def register_heic(files: list[str]) -> None:
    """As their users have to, where there is such a file."""
    if any(path.lower().endswith(HEIC) for path in files):
        import pillow_heif

        pillow_heif.register_heif_opener()


KEPT: list[Any] = []  # operators last as long as the object that named them


def batches(files: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(files), BATCH):
        yield files[start : start + BATCH]


PEERS = {
    "fastembed": fastembed,
    "rclip": rclip,
    "sentence-transformers": sentence_transformers,
    "open_clip": open_clip,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    files = options.files.read_text("utf-8").splitlines()
    register_heic(files)
    vectors = np.asarray(PEERS[options.name](options.weights, files, options.threads))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(options.out, (vectors / lengths).astype(np.float32))


if __name__ == "__main__":
    main()
