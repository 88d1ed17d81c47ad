"""The cached features and texts of a training run, and how a batch is drawn from them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .data import ONE_PER_CLASS
from .features import CAPTIONED_VIEWS, LABELLED_VIEWS, read_manifest

CLASS_KEYS = 1_000_000  # keys of class names; picture texts count from 0
SYNONYM_SHARE, BROADER_SHARE = 0.4, 0.12


@dataclass
class Batch:
    """Rows of the manifest, the view to take of each, a text for each, and what it is about."""

    rows: np.ndarray  # (B,)
    views: np.ndarray  # (B,)
    texts: np.ndarray  # (B,) text numbers
    partners: np.ndarray  # (B,) another caption of the same picture, or the text itself
    keys: np.ndarray  # (B,) texts with one key say the same
    classes: np.ndarray  # (B,) the class a text names, -1 for captions and labels


class Dataset:
    """Everything a training step reads, in memory or mapped."""

    def __init__(self, cache: Path, views: int):
        self.manifest = read_manifest(cache)
        bank = json.loads((cache / "texts.json").read_text())
        self.texts: list[str] = bank["texts"]
        self.class_texts: list[list[list[list[int]]]] = bank["class_texts"]
        self.picture_texts: list[list[list[int]]] = bank["picture_texts"]
        self.first_free: int = bank["first_free"]
        self.tokens = np.load(cache / "tokens.npy")
        self.minilm = torch.from_numpy(np.load(cache / "minilm.npy"))
        self.pooled = torch.from_numpy(np.load(cache / "pooled.npy"))
        paths = [cache / f"pooled-{view}.npy" for view in range(1, CAPTIONED_VIEWS)]
        more = [torch.from_numpy(np.load(path)) for path in paths if path.exists()]
        self.pooled_views = torch.stack([self.pooled, *more])  # (V, N, 1280)
        self.top5 = np.load(cache / "top5.npy").astype(np.int64)
        self.top5p = np.load(cache / "top5p.npy").astype(np.float64)
        self.stage = [np.load(cache / f"view-{view}.npy", mmap_mode="r") for view in range(views)]
        self.views = views or len(self.pooled_views)
        wnids = json.loads((cache / "class_names.json").read_text())
        self.class_ids = {wnid: index for index, wnid in enumerate(wnids)}
        dropped = set(json.loads((cache / "dropped.json").read_text()))
        usable = [row for row in range(len(self.manifest)) if row not in dropped]
        train = [row for row in usable if self.manifest[row]["split"] == "train"]
        self.validation = [row for row in usable if self.manifest[row]["split"] == "validation"]
        self.captioned = np.array([row for row in train if self.manifest[row]["captions"]])
        self.labelled = np.array([row for row in train if not self.manifest[row]["captions"]])
        self.named = np.array([bool(names) for names, _ in self.class_texts])  # (1000,)

    def class_text(self, index: int, rng: np.random.Generator) -> tuple[int, int]:
        """A text that names a class, and its key: the broader words have keys of their own."""
        names, broader = self.class_texts[index]
        if broader and rng.random() < BROADER_SHARE:
            group = broader[rng.integers(len(broader))]
            return group[rng.integers(len(group))], group[0]
        place = 0
        if len(names) > 1 and rng.random() < SYNONYM_SHARE:
            place = int(rng.integers(1, len(names)))
        return names[place][rng.integers(len(names[place]))], CLASS_KEYS + index

    def draw(self, size: int, captioned: float, named: float, rng: np.random.Generator) -> Batch:
        """A batch: the share `captioned` of its pictures has captions; of the texts of the
        others about the share `named` is one of the classifier's names for the picture."""
        count = round(size * captioned)
        rows = np.concatenate(
            [
                rng.choice(self.captioned, count, replace=False),
                rng.choice(self.labelled, size - count, replace=False),
            ]
        )
        texts, partners, keys, classes, views = [], [], [], [], []
        for place, row in enumerate(rows):
            groups = self.picture_texts[row]
            share = named * (0.3 if place < count else 1.0)
            chances = self.top5p[row] * self.named[self.top5[row]]
            if not groups or (rng.random() < share and chances.sum() > 0.05):
                if chances.sum() <= 0:
                    chances = np.ones(5)
                index = int(rng.choice(self.top5[row], p=chances / chances.sum()))
                if not self.named[index]:
                    index = int(self.top5[row][self.named[self.top5[row]].argmax()])
                text, key = self.class_text(index, rng)
                partner = text
                classes.append(index if key >= CLASS_KEYS else -1)
            else:
                group = groups[rng.integers(len(groups))]
                text, key = group[rng.integers(len(group))], group[0]
                partner = groups[rng.integers(len(groups))][0] if place < count else text
                classes.append(-1)
            texts.append(text)
            partners.append(partner)
            keys.append(key)
            limit = min(self.views, CAPTIONED_VIEWS if place < count else LABELLED_VIEWS)
            views.append(rng.integers(limit))
        columns = (views, texts, partners, keys, classes)
        return Batch(rows, *(np.array(column) for column in columns))

    def stage_features(self, batch_rows: np.ndarray, views: np.ndarray) -> Tensor:
        """float32 (B, 208, 7, 7)."""
        shape = self.stage[0].shape[1:]
        features = np.zeros((len(batch_rows), *shape), np.float32)
        for view in np.unique(views):
            places = np.flatnonzero(views == view)
            order = places[np.argsort(batch_rows[places])]
            features[order] = self.stage[int(view)][batch_rows[order]]
        return torch.from_numpy(features)

    def token_ids(self, texts: np.ndarray) -> Tensor:
        """int64 (B, S), as short as the longest of them."""
        tokens = self.tokens[texts]
        return torch.from_numpy(tokens[:, : int((tokens != 0).sum(1).max())].astype(np.int64))

    def class_prompts(self, rng: np.random.Generator) -> np.ndarray:
        """One text for each class that has a name: text numbers (C,)."""
        prompts = []
        for names, _ in self.class_texts:
            if names:
                place = 0
                if len(names) > 1 and rng.random() < SYNONYM_SHARE:
                    place = int(rng.integers(1, len(names)))
                prompts.append(names[place][rng.integers(len(names[place]))])
        return np.array(prompts)

    def caption_pairs(self) -> tuple[np.ndarray, list[list[int]]]:
        """Validation: captioned rows and the numbers of each one's captions."""
        rows = [row for row in self.validation if self.manifest[row]["captions"]]
        texts = [[group[0] for group in self.picture_texts[row]] for row in rows]
        return np.array(rows), texts

    def sure_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Validation: rows and classes of pictures, one a class, where the classifier gives the
        right class more than 0.3 (so the pictures of `photos` were chosen)."""
        rows, classes = [], []
        for row in self.validation:
            picture = self.manifest[row]
            index = self.class_ids.get(picture["wnid"], -1)
            if picture["source"] != ONE_PER_CLASS or index < 0 or not self.named[index]:
                continue
            if ((self.top5[row] == index) & (self.top5p[row] > 0.3)).any():
                rows.append(row)
                classes.append(index)
        return np.array(rows), np.array(classes)
