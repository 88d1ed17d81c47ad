r"""Figures of a bundle: retrieval, zero-shot names, words never seen, picture to picture.

    PYTHONPATH=scripts python -m mini.evaluate --bundle models/mini --data DATA \
        --heldout heldout_words.json
        [--cache CACHE]

Prints one JSON. Pictures go the way clipindex takes them: Pillow, RGB, squashed to 224 x 224
(bicubic) or cropped, as the bundle's `fit` says, uint8 into the graph. With CACHE also the
nearest-neighbour figure on the labelled validation pictures, beside the plain EfficientNet's.
"""

import argparse
import io
import json
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

from clipindex.model.imports import guarded_import

with guarded_import():
    import onnxruntime


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ranks_of_right(similarity: np.ndarray, right: list[set[int]]) -> np.ndarray:
    """For each row of (queries, pool) the place of the first right column, from 0."""
    order = np.argsort(-similarity, axis=1, kind="stable")
    return np.array(
        [
            next(place for place, column in enumerate(row) if column in columns)
            for row, columns in zip(order.tolist(), right, strict=True)
        ]
    )


def recall(ranks: np.ndarray, places: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """Percent of queries answered within each number of places."""
    return {f"@{place}": round(100 * float((ranks < place).mean()), 1) for place in places}


def neighbour_agreement(embeddings: np.ndarray, labels: list[str]) -> float:
    """Percent of pictures whose nearest other picture has the same label."""
    similarity = unit(embeddings.astype(np.float32)) @ unit(embeddings.astype(np.float32)).T
    np.fill_diagonal(similarity, -2)
    nearest = similarity.argmax(1)
    names = np.array(labels)
    return round(100 * float((names[nearest] == names).mean()), 1)


def fit_picture(image: Image.Image, size: int, fit: str) -> np.ndarray:
    """RGB picture -> uint8 (size, size, 3): the whole squashed, or its centre square."""
    if fit == "squash":
        return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
    scale = size / min(image.size)
    width, height = max(size, int(image.width * scale)), max(size, int(image.height * scale))
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


class Bundle:
    """The two towers in onnxruntime."""

    def __init__(self, folder: Path, threads: int = 2):
        self.manifest = json.loads((folder / "model.json").read_text())
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        self.vision = onnxruntime.InferenceSession(folder / "vision.onnx", settings)
        self.text = onnxruntime.InferenceSession(folder / "text.onnx", settings)

    def pixels(self, content: bytes) -> np.ndarray:
        """An encoded picture -> uint8 (224, 224, 3)."""
        image = Image.open(io.BytesIO(content)).convert("RGB")
        return fit_picture(image, self.manifest["image"]["size"], self.manifest["image"]["fit"])

    def embed_pixels(self, pixels: list[np.ndarray]) -> np.ndarray:
        """Pixels -> unit embeddings (N, 512)."""
        outputs = [
            self.vision.run(["image_embeds"], {"pixels": np.stack(pixels[start : start + 25])})[0]
            for start in range(0, len(pixels), 25)
        ]
        return unit(np.concatenate(outputs))

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """Texts -> unit embeddings (N, 512), one at a time: nothing is padded."""
        length = self.manifest["text"]["context_length"]
        rows = []
        for text in texts:
            ids = self.tokenizer.encode(text).ids
            ids = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
            feeds = {"input_ids": np.array([ids], np.int64)}
            rows.append(self.text.run(["text_embeds"], feeds)[0])
        return unit(np.concatenate(rows))


def read_set(data: Path, name: str) -> tuple[list[dict], list[bytes]]:
    """An evaluation set: its rows and its pictures' bytes, in the order of the rows."""
    rows = [json.loads(line) for line in (data / f"{name}.jsonl").read_text().splitlines()]
    with tarfile.open(data / f"{name}.tar") as archive:
        contents = {
            Path(member.name).name: file.read()
            for member in archive
            if (file := archive.extractfile(member))
        }
    return rows, [contents[row["file"]] for row in rows]


def captioned_figures(bundle: Bundle, data: Path) -> dict[str, float]:
    """captioned-500: the first caption asks, the pool is all 500 pictures."""
    rows, contents = read_set(data, "captioned-500")
    pictures = bundle.embed_pixels([bundle.pixels(content) for content in contents])
    texts = bundle.embed_texts([row["captions"][0] for row in rows])
    return recall(ranks_of_right(texts @ pictures.T, [{index} for index in range(len(rows))]))


def photo_figures(bundle: Bundle, data: Path, held_out: dict[str, list[str]]) -> dict:
    """photos: each picture's name among 200; then words that stand in no training text."""
    rows, contents = read_set(data, "photos")
    pictures = bundle.embed_pixels([bundle.pixels(content) for content in contents])
    texts = bundle.embed_texts([f"a photo of a {row['text']}" for row in rows])
    names = recall(ranks_of_right(pictures @ texts.T, [{index} for index in range(len(rows))]))
    back = recall(ranks_of_right(texts @ pictures.T, [{index} for index in range(len(rows))]))
    places = {row["label"]: index for index, row in enumerate(rows)}
    right = [{places[label] for label in labels} for labels in held_out.values()]
    words = bundle.embed_texts([f"a photo of a {word}" for word in held_out])
    ranks = ranks_of_right(words @ pictures.T, right)
    bare = ranks_of_right(bundle.embed_texts(list(held_out)) @ pictures.T, right)
    return {
        "picture_to_name": names,
        "name_to_picture": back,
        "held_out_words": recall(ranks),
        "held_out_words_bare": recall(bare),
        "held_out_missed_top5": [
            word for word, rank in zip(held_out, ranks, strict=True) if rank >= 5
        ],
    }


def validation_neighbours(bundle: Bundle, cache: Path) -> dict[str, float]:
    """Labelled validation pictures: does the nearest one share the label?"""
    with open(cache / "manifest.jsonl") as lines:
        manifest = [json.loads(line) for line in lines]
    dropped = set(json.loads((cache / "dropped.json").read_text()))
    plain = np.load(cache / "pooled.npy", mmap_mode="r")
    groups: dict[str, list[int]] = defaultdict(list)
    for row, picture in enumerate(manifest):
        if picture["split"] == "validation" and picture["labels"] and row not in dropped:
            groups[picture["labels"][0]].append(row)
    chosen = [row for rows in groups.values() if len(rows) > 1 for row in rows]
    labels = [manifest[row]["labels"][0] for row in chosen]
    pixels = []
    with open(cache / "pictures.bin", "rb") as blob:
        for row in chosen:
            blob.seek(manifest[row]["offset"])
            pixels.append(bundle.pixels(blob.read(manifest[row]["length"])))
    return {
        "pictures": len(chosen),
        "labels": len(set(labels)),
        "bundle": neighbour_agreement(bundle.embed_pixels(pixels), labels),
        "plain_efficientnet": neighbour_agreement(np.asarray(plain[chosen]), labels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("bundle", "data", "heldout"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    bundle = Bundle(options.bundle)
    figures = {
        "captioned_500": captioned_figures(bundle, options.data),
        "photos": photo_figures(bundle, options.data, json.loads(options.heldout.read_text())),
    }
    if options.cache:
        figures["nearest_neighbour"] = validation_neighbours(bundle, options.cache)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
