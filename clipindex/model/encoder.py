"""A loaded bundle: pixels and texts to embeddings."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from clipindex.errors import ClipIndexError, ClipIndexWarning
from clipindex.model.bundle import Bundle
from clipindex.model.providers import CPU_BATCH, Provider, VisionTower
from clipindex.model.towers import candidates, open_vision_tower

if TYPE_CHECKING:
    import onnxruntime

    from clipindex.model.text import TextTokenizer, Tokens
    from clipindex.pictures.decode import Pixels

# Not numpy.typing's NDArray: importing that takes 15 ms at each start.
Embeddings = np.ndarray[
    tuple[int, ...], np.dtype[np.float32]
]  # [batch, dimension], each row of length 1


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What a model made of one input. `vector` is float32 [dimension] of length 1, or the hidden
    states of a vision-language model, [tokens, dimension]; `tokens`: how many of a text, and of a
    picture where it stands in one sequence with texts, were read; `cut`: what to warn of."""

    vector: Embeddings
    tokens: int = 0
    cut: str = ""


class Encoder(Protocol):
    """What the pipeline and the search need of a model."""

    bundle: Bundle

    @property
    def provider_in_use(self) -> str:
        """What runs the vision tower, as the runtime names it; empty before it is loaded."""
        ...

    @property
    def batch(self) -> int:
        """The batch size, in pictures, that suits the vision tower."""
        ...

    def load(self, callers: int) -> None:
        """Load the vision tower, unless it is loaded, for `callers` threads at once."""
        ...

    def encode_images(self, pixels: Pixels) -> Embeddings:
        """Pixels [batch, size, size, 3] uint8 to embeddings [batch, dimension] float32 of length
        1."""
        ...

    def encode_texts(self, texts: list[str]) -> Embeddings:
        """Texts to embeddings [batch, dimension] float32 of length 1."""
        ...

    def embed_texts(self, texts: list[str]) -> tuple[Embeddings, list[str]]:
        """The same, and for each text that is longer than the context what to warn of."""
        ...

    def read_texts(self, texts: list[str]) -> list[Embedding]:
        """The same, one by one."""
        ...


class Model:
    """Both towers of a bundle; each is loaded on first use, by whichever thread comes first.

    `provider` is for the vision tower. The text tower always runs on the CPU; so does everything
    in `clipindex query`, where starting a GPU costs more than it saves.
    """

    def __init__(self, bundle: Bundle, provider: Provider = Provider.CPU) -> None:
        """Raises ProviderUnavailable when the provider is not installed or cannot run the bundle;
        whether it starts is known after `load`. To be called from the main thread."""
        self.bundle = bundle
        self._providers = candidates(bundle, provider)
        self._loading = threading.Lock()
        self._vision: VisionTower | None = None
        self._failure: ClipIndexError | None = None  # loading is tried once, for all threads
        self._text: tuple[onnxruntime.InferenceSession, TextTokenizer] | None = None

    @property
    def provider_in_use(self) -> str:
        """What runs the vision tower, as the runtime names it; empty before it is loaded."""
        return "" if self._vision is None else self._vision.provider_in_use

    @property
    def batch(self) -> int:
        """The batch size, in pictures, that suits the vision tower."""
        return CPU_BATCH if self._vision is None else self._vision.batch

    def load(self, callers: int = 1) -> None:
        """Load the vision tower, unless it is loaded, for `callers` threads at once.

        Raises ModelError, or ProviderUnavailable when the provider does not start.
        """
        self._loaded_vision(callers)

    def encode_images(self, pixels: Pixels) -> Embeddings:
        """Pixels [batch, size, size, 3] uint8 to embeddings [batch, dimension] float32 of length
        1. Safe to call from several threads; raises as `load`."""
        return unit_length(self._loaded_vision(callers=1).run(pixels))

    def _loaded_vision(self, callers: int) -> VisionTower:
        with self._loading:
            if self._failure is not None:
                raise self._failure
            if self._vision is None:
                try:
                    self._vision = open_vision_tower(self.bundle, self._providers, callers)
                except ClipIndexError as error:
                    self._failure = error
                    raise
            return self._vision

    def encode_texts(self, texts: list[str]) -> Embeddings:
        """Texts to embeddings [batch, dimension] float32 of length 1.

        Warns (ClipIndexWarning) of each text that is longer than the context. Raises ModelError.
        """
        embeddings, cuts = self.embed_texts(texts)
        for cut in cuts:
            warnings.warn(cut, ClipIndexWarning, stacklevel=2)
        return embeddings

    def embed_texts(self, texts: list[str]) -> tuple[Embeddings, list[str]]:
        """The same, and for each text that is longer than the context what to warn of. Raises
        ModelError."""
        return together(self.read_texts(texts))

    def read_texts(self, texts: list[str]) -> list[Embedding]:
        """The same, one by one. Raises ModelError."""
        session, tokenizer = self._loaded_text()
        batch = [tokenizer.encode(text) for text in texts]
        (embeddings,) = session.run(["text_embeds"], {"input_ids": tokenizer.pad(batch)})
        rows = zip(unit_length(embeddings), texts, batch, strict=True)
        return [
            Embedding(vector, len(tokens.ids), _cut(text, tokens)) for vector, text, tokens in rows
        ]

    def _loaded_text(self) -> tuple[onnxruntime.InferenceSession, TextTokenizer]:
        with self._loading:
            if self._text is None:
                from clipindex.model import onnxruntime_tower  # not for --help
                from clipindex.model.text import TextTokenizer  # an ingest has no texts

                words = self.bundle.text_spec
                options = onnxruntime_tower.fast_start_options()
                session = onnxruntime_tower.load(self.bundle.text, options)
                self._text = session, TextTokenizer(self.bundle.tokenizer, words)
            return self._text


def together(made: Sequence[Embedding]) -> tuple[Embeddings, list[str]]:
    """Embeddings [batch, dimension], and what to warn of."""
    return np.stack([one.vector for one in made]), [one.cut for one in made if one.cut]


def _cut(text: str, tokens: Tokens) -> str:
    """What to warn of where a text was cut."""
    if tokens.uncut == len(tokens.ids):
        return ""
    read = f"the text has {tokens.uncut} tokens, the model reads {len(tokens.ids)}"
    return f"{read}; the rest is cut: {text[:40]!r}..."


def unit_length(embeddings: np.ndarray[tuple[int, ...], np.dtype[Any]]) -> Embeddings:
    """Rows [batch, dimension] scaled to length 1 and rounded to float32.

    Computed in float64, so that a store for cosine distance, which normalises again, keeps every
    bit. A row that is zero or not finite stays so: the caller must check it.
    """
    wide = embeddings.astype(np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    scaled = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    unit: Embeddings = scaled.astype(np.float32)
    return unit
