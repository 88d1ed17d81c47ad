"""Texts must become the token ids that the checkpoint's own library makes of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from clipindex.model.imports import guarded_import
from clipindex.model.text import TextTokenizer
from exporter.bundle import BundleRefused, write_tokenizer
from exporter.parity import Array
from exporter.source import Checkpoint, TextSide

with guarded_import():
    from transformers import AutoTokenizer

NOTICE = "LICENSE-tokenizer.txt"

# Case, punctuation, hyphens, digits, accents, spaces, other scripts, and more than any context.
SAMPLES = [
    "a dog",
    "A Photo of the Eiffel Tower, at night!",
    "black-and-white  photograph (1954); don't crop",
    "snake_case and 1234 things",
    "Über den Wolken: fünf Jäger",
    "two cats  ",
    " ".join(["a long walk on a windy beach"] * 100),
]


def add_tokenizer(side: TextSide, folder: Path) -> None:
    """Write the bundle's tokenizer.json, checked, and the vocabulary's notice, whose licence asks
    that it goes with every copy."""
    target = folder / "tokenizer.json"
    write_tokenizer(side.tokenizer, target)
    check_tokenizer(target, side)
    notice = side.tokenizer.with_name(NOTICE)
    if notice.exists():
        shutil.copyfile(notice, folder / NOTICE)


def check_tokenizer(path: Path, side: TextSide) -> None:
    """Refuse a tokenizer whose ids the text tower would misread."""
    tokenizer = load(path)
    end, known = side.vocabulary.end, side.vocabulary.size
    ids = tokenizer.encode("").ids
    if ids[-1:] != [end]:
        raise BundleRefused(f"the tokenizer ends an empty text with {ids[-1:]}, the tower at {end}")
    if tokenizer.get_vocab_size() > known:
        raise BundleRefused(f"{tokenizer.get_vocab_size()} tokens, the tower knows {known}")
    if side.tokenize is not None:
        check_ids(TextTokenizer(path, side.spec), side.tokenize, side)


def check_ids(ours: TextTokenizer, tokenize: Callable[[list[str]], Array], side: TextSide) -> None:
    """Refuse unless every sample gets the library's ids, up to its end where that is all that the
    tower reads."""
    for text, row in zip(SAMPLES, tokenize(SAMPLES), strict=True):
        expected = list(map(int, row))
        ids = list(map(int, ours.pad([ours.encode(text)])[0]))
        if side.spec.pad == "longest":
            expected = expected[: expected.index(side.vocabulary.end, 1) + 1]
        if ids != expected:
            raise BundleRefused(
                f"the text {text[:40]!r} becomes the tokens {ids[:12]}, the checkpoint's library"
                f" makes {expected[:12]} of it"
            )


def load(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exceptions
        raise BundleRefused(f"tokenizer.json of the checkpoint is damaged: {error}") from error


def token_id(tokenizer: Path, token: object) -> int:
    """The id of a token in a tokenizer.json. Raises BundleRefused where it has no such token."""
    number = load(tokenizer).token_to_id(token) if isinstance(token, str) else None
    if number is None:
        raise BundleRefused(f"tokenizer.json has no token {token!r}")
    return int(number)


def library_tokenizer(
    checkpoint: Checkpoint, context_length: int, *, lower: bool = False
) -> Callable[[list[str]], Array]:
    """What transformers makes of texts: ids (batch, context length), padded and cut.

    `lower`: of texts in lower case, where the class of the tokenizer leaves that to its user.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder)
    except Exception as error:  # of many kinds: the library, a missing package, a damaged file
        raise BundleRefused(f"transformers cannot load the tokenizer: {error}") from error

    def tokenize(texts: list[str]) -> Array:
        padded = tokenizer(
            [text.lower() for text in texts] if lower else texts,
            padding="max_length",
            max_length=context_length,
            truncation=True,
            padding_side="right",
            return_tensors="np",
        )
        ids: Array = padded["input_ids"]
        return ids

    return tokenize
