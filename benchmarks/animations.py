"""What should stand for an animation: its first frame, or several frames averaged?

    python -m benchmarks.animations captioned-500.tar captioned-500.jsonl [--json FILE]

Of each kind of animation, 100 are made from photographs, among the other photographs as stills:

slides: four different photographs.      fade: one that comes up from black.
title:  a card of text, then one.        pan: a window of half its size that moves over one.
still:  one, moved by a few pixels.

An animation is asked for with a caption of a photograph in it (of slides: of each), and with that
photograph, smaller and cropped. A rule is good if the animation comes first.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from benchmarks import report
from clipindex.model.bundle import find_bundle
from clipindex.model.encoder import Embeddings, Model
from clipindex.pictures.fitting import fit

OF_A_KIND = 100
FRAMES = 16
AT_ONCE = 16
BLANK = 8.0  # standard deviation of grey: a frame below it shows nothing

Frames = list[Image.Image]
Rule = Callable[[Embeddings, Sequence[bool]], Embeddings]


def fade(photo: Image.Image) -> Frames:
    """From black to the whole picture in the first half."""
    return [ImageEnhance.Brightness(photo).enhance(min(1.0, 2 * n / FRAMES)) for n in range(FRAMES)]


def title(photo: Image.Image) -> Frames:
    """A quarter of it is a card."""
    card = Image.new("RGB", photo.size, (245, 245, 240))
    ImageDraw.Draw(card).text(
        (20, photo.height // 2), "Our holiday", fill=(20, 20, 20), font_size=60
    )
    return [card if n < FRAMES // 4 else photo for n in range(FRAMES)]


def pan(photo: Image.Image) -> Frames:
    """From the upper left to the lower right."""
    wide, high = photo.width // 2, photo.height // 2
    places = [(n * wide // (FRAMES - 1), n * high // (FRAMES - 1)) for n in range(FRAMES)]
    return [photo.crop((x, y, x + wide, y + high)) for x, y in places]


def still(photo: Image.Image) -> Frames:
    """As one that a phone makes: a trembling hand."""
    edge = photo.width - 20, photo.height - 20
    return [photo.crop((n % 5, n % 7, n % 5 + edge[0], n % 7 + edge[1])) for n in range(FRAMES)]


def slides(photos: Sequence[Image.Image]) -> Frames:
    """Each for as long."""
    return [photos[n * len(photos) // FRAMES] for n in range(FRAMES)]


KINDS: dict[str, Callable[[Image.Image], Frames]] = {
    "fade": fade,
    "title": title,
    "pan": pan,
    "still": still,
}


def unit(vector: Embeddings) -> Embeddings:
    """Of length 1."""
    return vector / np.linalg.norm(vector)


def mean_of(count: int, *, skip_blank: bool = False) -> Rule:
    """The mean of frames at even distances, the first among them."""

    def rule(vectors: Embeddings, blank: Sequence[bool]) -> Embeddings:
        numbers = [n * len(vectors) // count for n in range(count)]
        told = [n for n in numbers if not (skip_blank and blank[n])] or numbers
        return unit(vectors[told].mean(axis=0))

    return rule


RULES: dict[str, Rule] = {
    "first": lambda vectors, _: vectors[0],
    "first that is not blank": lambda vectors, blank: vectors[list(blank).index(False)],
    "middle": lambda vectors, _: vectors[len(vectors) // 2],
    "mean of 4": mean_of(4),
    "mean of 8": mean_of(8),
    "mean of 4 not blank": mean_of(4, skip_blank=True),
}


class Embedder:
    """Frames to vectors, with the bundled model."""

    def __init__(self) -> None:
        self.model = Model(find_bundle("mini"))
        self._geometry = self.model.bundle.image.geometry

    def frames(self, frames: Frames) -> tuple[Embeddings, list[bool]]:
        """And which of them show nothing."""
        pixels = np.stack([fit(frame, self._geometry) for frame in frames])
        blank = [bool(np.std(each.mean(axis=2)) < BLANK) for each in pixels]
        batches = np.array_split(pixels, -(-len(pixels) // AT_ONCE))
        return np.concatenate([self.model.encode_images(batch) for batch in batches]), blank


def ranks(
    animations: Embeddings, stills: Embeddings, asked: Embeddings, right: Sequence[int]
) -> Any:
    """Of the right animation, from 0, for each query."""
    every = np.concatenate([animations, stills])
    scores = asked @ every.T
    own = scores[np.arange(len(asked)), list(right)]
    return (scores > own[:, None]).sum(axis=1)


def measured(tar: Path, listed: Path) -> list[dict[str, Any]]:
    """A row for each kind of animation and rule."""
    captions = [json.loads(line) for line in listed.read_text("utf-8").splitlines()]
    embedder = Embedder()
    with tarfile.open(tar) as files:
        names = {Path(name).name: name for name in files.getnames()}
        photos = [_photo(files, names[row["file"]]) for row in captions]
    vectors, _ = embedder.frames(photos)
    texts = np.asarray(embedder.model.encode_texts([row["captions"][0] for row in captions]))
    asked, _ = embedder.frames([_seen_again(photo) for photo in photos])
    rows = []
    for kind in (*KINDS, "slides"):
        each = 4 if kind == "slides" else 1
        count = OF_A_KIND * each
        right = [n // each for n in range(count)]
        made = [_made(kind, photos[n * each : (n + 1) * each]) for n in range(OF_A_KIND)]
        known = [embedder.frames(frames) for frames in made]
        for name, rule in RULES.items():
            animations = np.stack([rule(*frames) for frames in known])
            row: dict[str, Any] = {"kind": kind, "rule": name}
            for query, by in (("text", texts), ("picture", asked)):
                found = ranks(animations, vectors[count:], by[:count], right)
                row |= {f"{query} R@1": 100 * float((found < 1).mean())}
                row |= {f"{query} R@10": 100 * float((found < 10).mean())}
            rows.append(row)
    return rows


def _made(kind: str, photos: Sequence[Image.Image]) -> Frames:
    return slides(photos) if kind == "slides" else KINDS[kind](photos[0])


def _photo(files: tarfile.TarFile, name: str) -> Image.Image:
    file = files.extractfile(name)
    assert file is not None
    return Image.open(io.BytesIO(file.read())).convert("RGB")


def _seen_again(photo: Image.Image) -> Image.Image:
    """The middle four fifths of it, at half the size."""
    width, height = photo.size
    middle = photo.crop((width // 10, height // 10, width - width // 10, height - height // 10))
    return middle.resize((width * 2 // 5, height * 2 // 5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("tar", type=Path)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = measured(args.tar, args.captions)
    print(report.rows_table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
