"""A bundle, loaded: pixels and texts to embeddings. The door to onnxruntime."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnxruntime

from clipindex.bundle import Bundle
from clipindex.errors import ClipIndexWarning, ModelError

if TYPE_CHECKING:
    from clipindex.images import Pixels
    from clipindex.text import TextTokenizer

# numpy.typing would spell it shorter, and costs 15 ms at each start.
Embeddings = np.ndarray[
    tuple[int, ...], np.dtype[np.float32]
]  # [batch, dimension], each row of length 1

PROVIDER = "CPUExecutionProvider"


class Encoder(Protocol):
    """What the pipeline and the search need of a model."""

    bundle: Bundle

    def encode_images(self, pixels: Pixels) -> Embeddings:
        """Pixels [batch, size, size, 3] uint8 to unit embeddings [batch, dimension]."""
        ...

    def encode_texts(self, texts: list[str]) -> Embeddings:
        """Texts to unit embeddings [batch, dimension]."""
        ...


class Model:
    """Both towers of a bundle; each is loaded when it is first used, by whichever thread."""

    provider = PROVIDER

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._loading = threading.Lock()
        self._vision: onnxruntime.InferenceSession | None = None
        self._text: tuple[onnxruntime.InferenceSession, TextTokenizer] | None = None

    def encode_images(self, pixels: Pixels) -> Embeddings:
        """Pixels [batch, size, size, 3] uint8 to unit embeddings; safe to call from threads."""
        with self._loading:
            if self._vision is None:
                self._vision = _load(self.bundle.vision, _worth_preparing())
        (embeddings,) = self._vision.run(["image_embeds"], {"pixels": pixels})
        return unit_length(embeddings)

    def encode_texts(self, texts: list[str]) -> Embeddings:
        """Texts to unit embeddings; warns of each text that is longer than the context."""
        with self._loading:
            if self._text is None:
                from clipindex.text import TextTokenizer  # an ingest has no texts

                session = _load(self.bundle.text, _quick_to_load())
                spec = self.bundle.manifest.text
                self._text = session, TextTokenizer(self.bundle.tokenizer, spec)
        session, tokenizer = self._text
        batch = [tokenizer.encode(text) for text in texts]
        for text, tokens in zip(texts, batch, strict=True):
            if tokens.uncut > len(tokens.ids):
                warnings.warn(
                    f"the text has {tokens.uncut} tokens, the model reads {len(tokens.ids)}; "
                    f"the rest is cut: {text[:40]!r}...",
                    ClipIndexWarning,
                    stacklevel=2,
                )
        (embeddings,) = session.run(["text_embeds"], {"input_ids": tokenizer.pad(batch)})
        return unit_length(embeddings)


def unit_length(embeddings: np.ndarray[tuple[int, ...], np.dtype[np.floating[Any]]]) -> Embeddings:
    """Rows scaled to length 1, in float64, so that a cosine store keeps them bit for bit.

    A row that is zero or not finite stays so: whoever uses it must look (see `stores.is_unit`).
    """
    wide = embeddings.astype(np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    scaled = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    unit: Embeddings = scaled.astype(np.float32)
    return unit


def _worth_preparing() -> onnxruntime.SessionOptions:
    """A session with one thread of its own: the pipeline's workers are the parallelism, and a
    vector does not depend on how many there are."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _quick_to_load() -> onnxruntime.SessionOptions:
    """For one text in a process: preparing graph and weights would cost more than it saves
    (mini's tower: 95 instead of 140 ms of CPU, load and run), and so would planning which
    buffers to use twice (ViT-B/32's: 14 instead of 52 ms of CPU, load)."""
    options = _worth_preparing()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_mem_reuse = False
    options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def _load(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise ModelError(
            f"onnxruntime cannot load {path.name}: {str(error).splitlines()[0][:200]}",
            path=str(path),
            hint="fetch or convert the bundle again",
        ) from error
