"""Collections, and queries of which it is known whether a picture answers them.

captioned-500 and photos are evaluation sets; the training pictures of `mini` only make collections
larger. Vectors are computed once and kept in a folder.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipindex.model.encoder import Embeddings, Model
from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Preprocessing

QUERIES = Path(__file__).parent / "queries"
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts, their vectors, and for each the pictures that are right, none or more."""

    texts: list[str]
    vectors: Embeddings
    right: list[set[int]]

    @property
    def validation(self) -> Flags:
        """Half of them, by hash: the others are the test."""
        return np.array([hashlib.sha256(text.encode()).digest()[0] % 2 == 0 for text in self.texts])


@dataclass(frozen=True, kw_only=True)
class Case:
    """A collection, queries that a picture of it answers, and queries that none does."""

    name: str
    pictures: Embeddings
    present: Texts
    absent: Texts


class Data:
    """The folder of photographs, embedded by one model."""

    def __init__(self, folder: Path, model: Model, cache: Path) -> None:
        self.folder = folder
        self.model = model
        self._cache = cache
        cache.mkdir(parents=True, exist_ok=True)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The lines of a set's description."""
        if name == "train":
            with gzip.open(self.folder / "train" / "train.jsonl.gz", "rt") as lines:
                return [json.loads(line) for line in lines]
        return [json.loads(line) for line in (self.folder / f"{name}.jsonl").open()]

    def pictures(self, name: str) -> Embeddings:
        """The vectors of a set's pictures, in the order of its rows."""

        def embedded() -> Embeddings:
            rows = self.rows(name)
            place = {row["file"]: number for number, row in enumerate(rows)}
            vectors = np.zeros((len(rows), self.model.bundle.manifest.dimension), np.float32)
            for numbers, pixels in _batches(self._files(name), place, self.model):
                vectors[numbers] = self.model.encode_images(pixels)
            return vectors

        return self._kept(f"{name}-pictures", embedded)

    def texts(self, name: str, texts: Sequence[str]) -> Embeddings:
        """The vectors of texts, each embedded alone as a query is."""
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
        encode = self.model.encode_texts
        return self._kept(
            f"{name}-{digest}", lambda: np.concatenate([encode([text]) for text in texts])
        )

    def _files(self, name: str) -> Iterator[tuple[str, bytes]]:
        train = sorted((self.folder / "train").glob("train-*.tar.gz"))
        for path in train if name == "train" else [self.folder / f"{name}.tar"]:
            with tarfile.open(path) as archive:
                for member in archive:
                    if (file := archive.extractfile(member)) is not None:
                        yield Path(member.name).name, file.read()

    def _kept(self, name: str, make: Any) -> Embeddings:
        path = self._cache / f"{name}.npy"
        if not path.exists():
            np.save(path, make())
        vectors: Embeddings = np.load(path)
        return vectors


def cases(data: Data) -> list[Case]:
    """captioned-500 asked by captions, alone, among the captioned and among all training pictures,
    and by single nouns; and photos asked by names."""
    captions = [row["captions"] for row in data.rows("captioned-500")]
    own = data.pictures("captioned-500")
    whole = [caption for five in captions for caption in five]
    right = [{number} for number, five in enumerate(captions) for _ in five]
    asked = Texts(texts=whole, vectors=data.texts("captions", whole), right=right)
    train, rows = data.pictures("train"), data.rows("train")
    captioned = np.array([bool(row["captions"]) for row in rows])
    nowhere = absurd(data, kinds=("nowhere", "german"))
    larger = [np.concatenate([own, more]) for more in (train[captioned], train)]
    names = [row["text"] for row in data.rows("photos")]
    alone = [{number} for number in range(len(names))]
    named = Texts(texts=names, vectors=data.texts("names", names), right=alone)
    return [
        Case(name="captioned-500", pictures=own, present=asked, absent=absurd(data)),
        *(
            Case(name=f"the same of {len(all_):,}", pictures=all_, present=asked, absent=nowhere)
            for all_ in larger
        ),
        Case(name="nouns", pictures=own, present=nouns(data), absent=absent_nouns(data)),
        Case(
            name="photos",
            pictures=data.pictures("photos"),
            present=named,
            absent=absurd(data, without=" ".join(names)),
        ),
    ]


def absurd(
    data: Data, kinds: Iterable[str] = ("nowhere", "absent", "german"), without: str = ""
) -> Texts:
    """The absurd queries of these kinds, without those that name something in `without`."""
    rows = [json.loads(line) for line in (QUERIES / "absurd.jsonl").open(encoding="utf-8")]
    texts = [
        row["query"]
        for row in rows
        if row["kind"] in kinds and not any(word in without.lower() for word in row["absent"])
    ]
    return Texts(texts=texts, vectors=data.texts("absurd", texts), right=[set() for _ in texts])


def nouns(data: Data) -> Texts:
    """Single nouns of captioned-500's captions. A picture is right if one of its captions has the
    noun, in the singular or plural."""
    captions = [
        set(re.findall("[a-z]+", " ".join(row["captions"]).lower()))
        for row in data.rows("captioned-500")
    ]
    words = (QUERIES / "nouns.txt").read_text("utf-8").split()
    right = [
        {number for number, has in enumerate(captions) if has & forms_of(word)} for word in words
    ]
    return Texts(texts=words, vectors=data.texts("nouns", words), right=right)


def absent_nouns(data: Data) -> Texts:
    """Single nouns that no caption has."""
    words = (QUERIES / "absent_nouns.txt").read_text("utf-8").split()
    return Texts(
        texts=words, vectors=data.texts("absent-nouns", words), right=[set() for _ in words]
    )


def forms_of(noun: str) -> set[str]:
    """A noun's singular and plural, and a few words that are none."""
    irregular = {"woman": "women", "child": "children", "mouse": "mice"}
    plural = noun[:-1] + "ies" if noun.endswith("y") else irregular.get(noun, noun + "es")
    return {noun, noun + "s", plural}


def _batches(
    files: Iterable[tuple[str, bytes]], place: dict[str, int], model: Model
) -> Iterator[tuple[list[int], Any]]:
    geometry = model.bundle.image.geometry
    numbers: list[int] = []
    pixels: list[Any] = []
    for name, data in files:
        if name not in place:
            continue
        numbers.append(place[name])
        pixels.append(decode(data, geometry, Preprocessing.EXACT)[0])
        if len(numbers) == 25:
            yield numbers, np.stack(pixels)
            numbers, pixels = [], []
    if numbers:
        yield numbers, np.stack(pixels)
