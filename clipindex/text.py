"""From a text to token ids, as the bundle's text tower was trained. The door to `tokenizers`."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from clipindex.bundle import TextSpec
from clipindex.errors import ModelError

TokenIds = np.ndarray[tuple[int, ...], np.dtype[np.int64]]  # [batch, sequence]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The ids of one text, with the special ones, and how many ids it had before the cut."""

    ids: list[int]
    uncut: int


class TextTokenizer:
    """Cleans, tokenizes and cuts to the context length; the last special token always stays."""

    def __init__(self, path: Path, spec: TextSpec) -> None:
        """Load `tokenizer.json`. Raises ModelError when it cannot be read."""
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exceptions
            raise ModelError(f"the tokenizer cannot be read: {error}", path=str(path)) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._spec = spec

    def encode(self, text: str) -> Tokens:
        """Token ids of one text, at most the context length."""
        if self._spec.cleaning == "openai":
            text = clean(text)
        ids = self._tokenizer.encode(text).ids
        length = self._spec.context_length
        kept = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
        return Tokens(kept, len(ids))

    def pad(self, batch: list[Tokens]) -> TokenIds:
        """[batch, longest] int64, filled up with the pad id."""
        longest = max(len(tokens.ids) for tokens in batch)
        padded = np.full((len(batch), longest), self._spec.pad_id, dtype=np.int64)
        for row, tokens in zip(padded, batch, strict=True):
            row[: len(tokens.ids)] = tokens.ids
        return padded


def clean(text: str) -> str:
    """OpenAI's cleaning: mended Unicode, HTML unescaped twice, white space folded, lower case.

    From openai/CLIP clip/simple_tokenizer.py (basic_clean, whitespace_clean), MIT licence.
    """
    if not (text.isascii() and text.isprintable()) or "&" in text:  # else all is well with it
        import ftfy  # 35 ms of CPU

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip().lower()
