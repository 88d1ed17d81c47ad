"""Texts to token ids, cleaned and cut as the bundle's text tower was trained.

A text is cleaned as OpenAI does it (`clean`), canonically as big_vision does it for SigLIP
(`canonical`), brought to lower case only, or left as it is (`none`).

The only module that imports `tokenizers` and `ftfy`.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from clipindex.errors import ModelError
from clipindex.model.manifest import Cleaning, TextSpec

WORD_END = "</w>"  # of a token that ends a word, in CLIP's vocabulary

TokenIds = np.ndarray[tuple[int, ...], np.dtype[np.int64]]  # [batch, sequence]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The ids of one text, with start and end of text; `uncut` is their number before the cut."""

    ids: list[int]
    uncut: int


class TextTokenizer:
    """Cleans, tokenizes and cuts to the context length; the end-of-text token always stays."""

    def __init__(self, path: Path, spec: TextSpec) -> None:
        self._path = path
        self._spec = spec
        self._whole: Tokenizer | None = None
        self._first = True

    def encode(self, text: str) -> Tokens:
        """Token ids of one text, at most the context length.

        Raises ModelError when `tokenizer.json` cannot be read.
        """
        text = CLEANINGS[self._spec.cleaning](text)
        ids = self._load_for(text).encode(text).ids
        length = self._spec.context_length
        kept = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
        return Tokens(kept, len(ids))

    def _load_for(self, text: str) -> Tokenizer:
        """The whole tokenizer, except for the first text: a query has no other, and building only
        the part that it needs saves 60 of 400 ms of CPU (CLIP's 49,408 tokens)."""
        first = self._first
        self._first = False
        if self._whole is None:
            try:
                content = self._path.read_text("utf-8")
                clip = self._spec.cleaning == "openai"
                if first and clip and (part := part_for(json.loads(content), text)):
                    return Tokenizer.from_str(json.dumps(part))
                self._whole = Tokenizer.from_str(content)
            except Exception as error:  # the library raises bare Exceptions
                message = f"the tokenizer cannot be read: {error}"
                raise ModelError(message, path=str(self._path)) from error
            self._whole.no_truncation()
            self._whole.no_padding()
        return self._whole

    def pad(self, batch: list[Tokens]) -> TokenIds:
        """Ids as int64 [batch, sequence], shorter texts filled up with the pad id: to the longest
        one, or to the context length where the tower was trained so."""
        longest = max(len(tokens.ids) for tokens in batch)
        if self._spec.pad == "max":
            longest = self._spec.context_length
        padded = np.full((len(batch), longest), self._spec.pad_id, dtype=np.int64)
        for row, tokens in zip(padded, batch, strict=True):
            row[: len(tokens.ids)] = tokens.ids
        return padded


def part_for(tokenizer: dict[str, Any], text: str) -> dict[str, Any] | None:
    """The part of CLIP's `tokenizer.json` that one text needs: tokens that occur in it.

    None where the part may give other ids than the whole. It gives the same in byte-pair encoding
    of printable lower-case ASCII: there each byte is a symbol and each token a substring of a word.
    """
    model = tokenizer["model"]
    if not is_plain(text) or text != text.lower():
        return None
    if model.get("type") != "BPE" or model.get("end_of_word_suffix") != WORD_END:
        return None
    if model.get("continuing_subword_prefix") or not _keeps_letters(tokenizer.get("normalizer")):
        return None
    special = {added["content"] for added in tokenizer.get("added_tokens", ())}
    vocabulary = {
        token: number
        for token, number in model["vocab"].items()
        if token.removesuffix(WORD_END) in text or token in special
    }
    merges = [
        pair
        for pair in model["merges"]
        if (pair.replace(" ", "") if isinstance(pair, str) else "".join(pair)) in vocabulary
    ]
    tokenizer = {**tokenizer, "truncation": None, "padding": None}
    return {**tokenizer, "model": {**model, "vocab": vocabulary, "merges": merges}}


def _keeps_letters(normalizer: dict[str, Any] | None) -> bool:
    """Whether it changes nothing but spaces in printable lower-case ASCII."""
    if normalizer is None or normalizer["type"] in ("NFC", "Lowercase"):
        return True
    if normalizer["type"] == "Sequence":
        return all(map(_keeps_letters, normalizer["normalizers"]))
    return bool(normalizer["type"] == "Replace" and normalizer["pattern"] == {"Regex": r"\s+"})


def is_plain(text: str) -> bool:
    """Printable ASCII."""
    return text.isascii() and text.isprintable()


def clean(text: str) -> str:
    """OpenAI's cleaning: Unicode repaired, HTML unescaped twice, white space folded, lower case.

    From openai/CLIP clip/simple_tokenizer.py (basic_clean, whitespace_clean), MIT licence.
    """
    if not is_plain(text) or "&" in text:  # otherwise these steps change nothing
        import html

        import ftfy  # 35 ms of CPU

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip().lower()


def canonical(text: str) -> str:
    """Without ASCII punctuation, white space folded, lower case.

    From google-research/big_vision, pp/ops_text.py (canonicalize_text), Apache-2.0.
    """
    return " ".join(text.translate(_NO_PUNCTUATION).lower().split())


_NO_PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))
CLEANINGS: dict[Cleaning, Callable[[str], str]] = {
    "openai": clean,
    "canonical": canonical,
    "lower": str.lower,
    "none": str,
}
