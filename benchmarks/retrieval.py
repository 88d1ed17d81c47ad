"""Two bundles on a folder of captioned pictures: what is found, what it costs, how large they are.

    python -m benchmarks.retrieval A B FOLDER [--cpus 0] [--limit N]

A and B name models or folders of bundles, of any kind: CLIP's, SigLIP's, vision-language models.
FOLDER holds pictures and `captions.jsonl`, a line for each picture: its `file` and a list of
`captions`. FOLDER may also be a tar of pictures with the lines beside it, under the same name and
the ending jsonl.

Every caption is a query. R@1 and R@10 are the shares of captions for which the right picture is the
first, or among the first ten. Picture and text times are CPU time of one thread: decoding is not in
them. The last lines compare the two caption by caption (a two-sided sign test).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import described
from clipindex.model.bundle import Bundle, find_bundle
from clipindex.model.loading import open_model
from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Preprocessing

CAPTIONS = "captions.jsonl"
BATCH = 4  # pictures, as ingest embeds them on a CPU
Ranks = np.ndarray[tuple[int, ...], np.dtype[np.int64]]  # [captions], the right picture's, from 0


@dataclass(frozen=True, slots=True)
class Captioned:
    """A picture's file and what people say of it."""

    data: bytes
    captions: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one bundle did on a set."""

    bundle: Bundle
    ranks: Ranks
    picture_ms: float  # of CPU, for each picture
    text_ms: float

    def recall(self, places: int) -> float:
        """Percent of captions whose picture is among so many."""
        return 100 * float((self.ranks < places).mean())

    @property
    def megabytes(self) -> float:
        return sum(spec.bytes for spec in self.bundle.manifest.files.values()) / 1e6


def read_set(where: Path) -> Iterator[Captioned]:
    """The captioned pictures of a folder, or of a tar, in the order of the lines."""
    if where.is_dir():
        for line in (where / CAPTIONS).read_text("utf-8").splitlines():
            row = json.loads(line)
            yield Captioned((where / row["file"]).read_bytes(), row["captions"])
        return
    lines = where.with_suffix(".jsonl").read_text("utf-8").splitlines()
    with tarfile.open(where) as tar:
        for line in lines:
            row = json.loads(line)
            member = tar.extractfile(row["file"])
            if member is None:
                raise SystemExit(f"{where}: {row['file']} is no file")
            yield Captioned(member.read(), row["captions"])


def measure(bundle: Bundle, pictures: Sequence[Captioned]) -> Measured:
    """Embed all pictures and all captions, and rank the pictures for each caption."""
    encoder = open_model(bundle)
    geometry = bundle.image.geometry
    pixels = [decode(each.data, geometry, Preprocessing.EXACT)[0] for each in pictures]
    captions = [caption for each in pictures for caption in each.captions]
    right = np.repeat(np.arange(len(pictures)), [len(each.captions) for each in pictures])
    encoder.encode_images(pixels[0][None])  # loads the graphs
    encoder.encode_texts(captions[:1])
    started = time.process_time()
    batches = [pixels[at : at + BATCH] for at in range(0, len(pixels), BATCH)]
    vectors = np.concatenate([encoder.encode_images(np.stack(batch)) for batch in batches])
    between = time.process_time()
    texts = np.concatenate([encoder.encode_texts([caption]) for caption in captions])
    ended = time.process_time()
    return Measured(
        bundle=bundle,
        ranks=ranks_of(texts @ vectors.T, right),
        picture_ms=1000 * (between - started) / len(pixels),
        text_ms=1000 * (ended - between) / len(captions),
    )


def ranks_of(
    scores: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    right: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> Ranks:
    """The place of the right picture in each row of (captions, pictures). Equals count against
    it: a model that gives all pictures one vector finds nothing."""
    own = np.take_along_axis(scores, right[:, None], axis=1)
    ranks: Ranks = (scores >= own).sum(axis=1) - 1
    return ranks


def sign_test(wins: int, losses: int) -> float:
    """The chance of a difference at least as large if both were equally good (two-sided)."""
    total, least = wins + losses, min(wins, losses)
    if not total:
        return 1.0
    below = sum(math.comb(total, k) for k in range(least + 1))
    return min(1.0, float(2 * below / 2**total))


def report(first: Measured, second: Measured, pictures: int) -> str:
    """The table, and who wins caption by caption."""
    machine = described()
    lines = [
        f"{machine['cpu']}, {machine['system']}, Python {machine['python']};"
        f" {pictures} pictures, {len(first.ranks)} captions",
        "",
    ]
    lines.append("| model | numbers | R@1 | R@10 | picture, CPU ms | text, CPU ms | MB |")
    lines.append("|---|---|---|---|---|---|---|")
    lines += [
        f"| {each.bundle.manifest.model} | {each.bundle.manifest.dimension}"
        f" | {each.recall(1):.1f} | {each.recall(10):.1f} | {each.picture_ms:.1f}"
        f" | {each.text_ms:.1f} | {each.megabytes:.0f} |"
        for each in (first, second)
    ]
    lines.append("")
    for places in (1, 10):
        one, other = first.ranks < places, second.ranks < places
        wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
        lines.append(
            f"R@{places}: the first alone is right for {wins} captions, the second alone for"
            f" {losses} (sign test p = {sign_test(wins, losses):.2g})"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", metavar="A", help="name of a model, or folder of a bundle")
    parser.add_argument("second", metavar="B")
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--cpus", help="processors to keep to, such as 0 or 0,1")
    parser.add_argument("--limit", type=int, help="only the first pictures")
    options = parser.parse_args(arguments)
    if options.cpus:
        os.sched_setaffinity(0, {int(number) for number in options.cpus.split(",")})
    pictures = list(read_set(options.folder))[: options.limit]
    bundles = [find_bundle(name) for name in (options.first, options.second)]
    first, second = (measure(bundle, pictures) for bundle in bundles)
    print(report(first, second, len(pictures)))


if __name__ == "__main__":
    main()
