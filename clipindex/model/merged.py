"""A vision-language model: texts and pictures in one sequence, whose hidden states make a vector.

Experimental. Three graphs of the bundle work together: `vision.onnx` makes the states of a picture,
its marks included, `text.onnx` those of the tokens, and `decoder.onnx` reads them one behind the
other, the picture first. The decoder is causal: its first token sees only itself. So `cls` and
`multi_layer` take the last token that is not padding, which has seen all others.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from clipindex.errors import ClipIndexWarning, ModelError, UsageError
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Embedding, Embeddings, together, unit_length
from clipindex.model.manifest import MergedSpec
from clipindex.model.providers import CPU_BATCH, Provider, unavailable

if TYPE_CHECKING:
    import onnxruntime

    from clipindex.model.text import TextTokenizer
    from clipindex.pictures.decode import Pixels

States = np.ndarray[tuple[int, ...], np.dtype[np.float32]]  # [batch, tokens, width]
Mask = np.ndarray[tuple[int, ...], np.dtype[np.int64]]  # [batch, tokens], 1: no padding
UNCUT = 65_536  # tokens; the tokenizer cuts nothing below, as the room depends on the picture


class EmbeddingType(StrEnum):
    """What is made of the hidden states: one vector, or (`last_layer`) all of the last layer's."""

    MEAN = "mean"
    CLS = "cls"
    MULTI_LAYER = "multi_layer"
    LAST_LAYER = "last_layer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """How sequences are cut and filled. `max_length` is in tokens, the picture's among them;
    None: the model's own."""

    max_length: int | None = None
    truncation: bool = True  # False: a longer text is an error
    padding: Literal["longest", "max_length"] = "longest"


class MergedModel:
    """The three graphs of a vision-language bundle on the CPU, loaded on first use."""

    def __init__(self, bundle: Bundle, provider: Provider = Provider.CPU) -> None:
        """Raises ProviderUnavailable for a provider other than the CPU."""
        if provider not in (Provider.CPU, Provider.AUTO):
            raise unavailable(provider, "a vision-language model runs on the CPU alone")
        self.bundle = bundle
        self.provider_in_use = ""
        self.batch = CPU_BATCH
        self._loading = threading.Lock()
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._tokenizer: TextTokenizer | None = None

    @property
    def spec(self) -> MergedSpec:
        """What the manifest says of the sequence."""
        spec = self.bundle.manifest.merged
        if spec is None:
            raise ModelError("this is no vision-language model", path=str(self.bundle.folder))
        return spec

    def load(self, callers: int = 1) -> None:  # noqa: ARG002  # a session serves any number
        """Load what a picture needs, unless it is loaded, for `callers` threads at once.

        Raises ModelError.
        """
        self._session("vision")
        self._session("decoder")

    def encode_images(self, pixels: Pixels) -> Embeddings:
        """Pixels [batch, size, size, 3] uint8 to embeddings [batch, dimension] float32 of length
        1, pooled as the manifest says. Safe to call from several threads; raises as `load`."""
        return self._pooled(pixels=pixels)

    def encode_texts(self, texts: list[str]) -> Embeddings:
        """Texts to embeddings [batch, dimension] float32 of length 1, pooled as the manifest says.

        Warns (ClipIndexWarning) of each text that is cut. Raises ModelError; UsageError for a text
        of which no token remains.
        """
        return self._pooled(texts=texts)

    def embed_texts(self, texts: list[str]) -> tuple[Embeddings, list[str]]:
        """As `encode_texts`, with what is to be warned of instead of a warning."""
        return together(self.read_texts(texts))

    def read_texts(self, texts: list[str]) -> list[Embedding]:
        """The same, one by one."""
        return self.read(texts, None, EmbeddingType(self.spec.pooling), Sequences())

    def _pooled(self, **inputs: Any) -> Embeddings:
        return np.stack(self.embed(**inputs, kind=EmbeddingType(self.spec.pooling)))

    def embed(
        self,
        *,
        texts: Sequence[str] | None = None,
        pixels: Pixels | None = None,
        kind: EmbeddingType,
        sequences: Sequences | None = None,
    ) -> list[Embeddings]:
        """Texts, pictures (uint8 [batch, size, size, 3]), or as many of both, each pair in one
        sequence, to float32 arrays.

        A pooled one is [dimension], of length 1; `last_layer` is [tokens, dimension] as it is,
        without padding, or [max_length, dimension] with zeros behind where that is the padding.
        Warns (ClipIndexWarning) of each text that is cut. Raises ModelError, UsageError for a text
        that is empty, or too long and not to be cut.
        """
        made = self.read(texts, pixels, kind, sequences or Sequences())
        for one in made:
            if one.cut:
                warnings.warn(one.cut, ClipIndexWarning, stacklevel=2)
        return [one.vector for one in made]

    def read(
        self,
        texts: Sequence[str] | None,
        pixels: Pixels | None,
        kind: EmbeddingType,
        sequences: Sequences,
    ) -> list[Embedding]:
        """As `embed`, with what is to be warned of instead of a warning."""
        longest = self._room(sequences)
        cuts = [""] * len(texts if texts is not None else pixels if pixels is not None else ())
        parts: list[States] = []
        masks: list[Mask] = []
        if pixels is not None:
            (states,) = self._session("vision").run(["picture_states"], {"pixels": pixels})
            parts.append(states)
            masks.append(np.ones(states.shape[:2], dtype=np.int64))
        if texts is not None:
            room = longest - sum(part.shape[1] for part in parts)
            ids, mask = self._tokens(texts, room, sequences, cuts)
            (states,) = self._session("text").run(["word_states"], {"input_ids": ids})
            parts.append(states)
            masks.append(mask)
        mask = np.concatenate(masks, axis=1)
        inputs = {"states": np.concatenate(parts, axis=1), "mask": mask}
        (made,) = self._session("decoder").run([kind.value], inputs)
        lengths = [int(kept) for kept in mask.sum(axis=1)]
        if kind is not EmbeddingType.LAST_LAYER:
            rows = list(unit_length(made))
        else:
            filled = longest if sequences.padding == "max_length" else 0
            rows = [
                np.pad(states[:length], ((0, max(0, filled - length)), (0, 0)))
                for states, length in zip(made, lengths, strict=True)
            ]
        return [Embedding(*one) for one in zip(rows, lengths, cuts, strict=True)]

    def _room(self, sequences: Sequences) -> int:
        spec = self.spec
        wanted = sequences.max_length or spec.max_length
        if not spec.picture_length < wanted <= spec.max_length:
            raise UsageError(
                f"--max-length {wanted}: this model takes up to {spec.max_length} tokens, and a"
                f" picture alone is {spec.picture_length}",
                hint=f"name a number from {spec.picture_length + 1} to {spec.max_length}",
            )
        return wanted

    def _tokens(
        self, texts: Sequence[str], room: int, sequences: Sequences, cuts: list[str]
    ) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], Mask]:
        """Ids and mask, both [batch, tokens], padding behind; `cuts` gets what is to be said."""
        tokenizer = self._loaded_tokenizer()
        batch = [tokenizer.encode(text).ids for text in texts]
        for row, (text, ids) in enumerate(zip(texts, batch, strict=True)):
            if not ids:
                raise UsageError("a text is empty", hint="name something to embed")
            if len(ids) > room:
                cuts[row] = _cut(text, len(ids), room, sequences)
        batch = [ids[:room] for ids in batch]
        length = room if sequences.padding == "max_length" else max(map(len, batch))
        filled = np.full((len(batch), length), self.bundle.text_spec.pad_id, dtype=np.int64)
        mask = np.zeros_like(filled)
        for row, ids in enumerate(batch):
            filled[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        return filled, mask

    def _loaded_tokenizer(self) -> TextTokenizer:
        with self._loading:
            if self._tokenizer is None:
                from clipindex.model.text import TextTokenizer  # an ingest has no texts

                uncut = replace(self.bundle.text_spec, context_length=UNCUT)
                self._tokenizer = TextTokenizer(self.bundle.tokenizer, uncut)
            return self._tokenizer

    def _session(self, name: str) -> onnxruntime.InferenceSession:
        with self._loading:
            if name not in self._sessions:
                from clipindex.model import onnxruntime_tower  # not for --help

                path = self.bundle.folder / f"{name}.onnx"
                options = onnxruntime_tower.session_options()
                self._sessions[name] = onnxruntime_tower.load(path, options)
                self.provider_in_use = onnxruntime_tower.CPU
            return self._sessions[name]


def _cut(text: str, length: int, room: int, sequences: Sequences) -> str:
    """What is to be said of a text that is cut. Raises UsageError where it is not to be cut."""
    what = f"the text has {length} tokens, there is room for {room}"
    if not sequences.truncation:
        raise UsageError(
            f"{what}: {text[:40]!r}...",
            hint="shorten it, raise --max-length, or let it be cut",
        )
    return f"{what}; the rest is cut: {text[:40]!r}..."
