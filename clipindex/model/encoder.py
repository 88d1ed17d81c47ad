"""A bundle, loaded: pixels and texts to embeddings."""

from __future__ import annotations

import threading
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from clipindex.errors import ClipIndexError, ClipIndexWarning, ProviderUnavailable
from clipindex.model.bundle import Bundle
from clipindex.model.providers import CPU_BATCH, Provider, VisionTower, unavailable

if TYPE_CHECKING:
    import onnxruntime

    from clipindex.model.text import TextTokenizer
    from clipindex.pictures.decode import Pixels

# numpy.typing would spell it shorter, and costs 15 ms at each start.
Embeddings = np.ndarray[
    tuple[int, ...], np.dtype[np.float32]
]  # [batch, dimension], each row of length 1


class Encoder(Protocol):
    """What the pipeline and the search need of a model."""

    bundle: Bundle

    @property
    def provider(self) -> str:
        """What really runs the vision tower, read back; empty before it is loaded."""
        ...

    @property
    def batch(self) -> int:
        """Pictures at a time that suit the vision tower."""
        ...

    def load(self, callers: int) -> None:
        """Load the vision tower, if it is not, for so many threads that will call at once."""
        ...

    def encode_images(self, pixels: Pixels) -> Embeddings:
        """Pixels [batch, size, size, 3] uint8 to unit embeddings [batch, dimension]."""
        ...

    def encode_texts(self, texts: list[str]) -> Embeddings:
        """Texts to unit embeddings [batch, dimension]."""
        ...


class Model:
    """Both towers of a bundle; each is loaded when it is first used, by whichever thread.

    `provider` is for the vision tower. The text tower runs on the CPU, and `clipindex query` all
    of it: for one text or picture, to start anything else would take longer than it saves.
    """

    def __init__(self, bundle: Bundle, provider: Provider = Provider.CPU) -> None:
        """Raises ProviderUnavailable when the provider is known to be missing."""
        self.bundle = bundle
        self._asked = provider
        self._loading = threading.Lock()
        self._vision: VisionTower | None = None
        self._failure: ClipIndexError | None = None  # one thread finds out for all
        self._text: tuple[onnxruntime.InferenceSession, TextTokenizer] | None = None
        if provider is Provider.OPENVINO:
            if find_spec("openvino") is None:
                raise unavailable(provider, "the package openvino is not installed")
            return
        from clipindex.model import onnxruntime_tower  # 40 MB that OpenVINO can do without

        self._chosen = onnxruntime_tower.best() if provider is Provider.AUTO else provider
        if bundle.manifest.precision == "int8" and self._chosen is not Provider.CPU:
            if provider is not Provider.AUTO:
                raise ProviderUnavailable(
                    f"the provider '{provider}' cannot run an int8 model: that is made for CPUs",
                    hint="leave --provider out, or take an fp32 model",
                )
            self._chosen = Provider.CPU
        onnxruntime_tower.check(self._chosen)

    @property
    def provider(self) -> str:
        """What really runs the vision tower, read back; empty before it is loaded."""
        return "" if self._vision is None else self._vision.provider

    @property
    def batch(self) -> int:
        """Pictures at a time that suit the vision tower."""
        return CPU_BATCH if self._vision is None else self._vision.batch

    def load(self, callers: int = 1) -> None:
        """Load the vision tower, if it is not, for so many threads that will call at once.

        Raises ModelError, or ProviderUnavailable when the provider does not start.
        """
        self._loaded(callers)

    def encode_images(self, pixels: Pixels) -> Embeddings:
        """Pixels [batch, size, size, 3] uint8 to unit embeddings; safe to call from threads."""
        return unit_length(self._loaded(callers=1).run(pixels))

    def _loaded(self, callers: int) -> VisionTower:
        with self._loading:
            if self._failure is not None:
                raise self._failure
            if self._vision is None:
                try:
                    self._vision = self._open_vision(callers)
                except ClipIndexError as error:
                    self._failure = error
                    raise
            return self._vision

    def _open_vision(self, callers: int) -> VisionTower:
        path, probe = self.bundle.vision, self.bundle.probe
        if self._asked is Provider.OPENVINO:
            from clipindex.model.openvino_tower import OpenVinoTower  # heavy, and for those who ask

            return OpenVinoTower(path, probe, callers)
        from clipindex.model import onnxruntime_tower

        try:
            return onnxruntime_tower.SessionTower(path, probe, self._chosen)
        except ProviderUnavailable:
            if self._asked is not Provider.AUTO:
                raise
        return onnxruntime_tower.SessionTower(path, probe, Provider.CPU)

    def encode_texts(self, texts: list[str]) -> Embeddings:
        """Texts to unit embeddings; warns of each text that is longer than the context."""
        from clipindex.model import onnxruntime_tower

        with self._loading:
            if self._text is None:
                from clipindex.model.text import TextTokenizer  # an ingest has no texts

                session = onnxruntime_tower.load(
                    self.bundle.text, onnxruntime_tower.fast_start_options()
                )
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


def unit_length(embeddings: np.ndarray[tuple[int, ...], np.dtype[Any]]) -> Embeddings:
    """Rows scaled to length 1, in float64, so that a cosine store keeps them bit for bit.

    A row that is zero or not finite stays so: whoever uses it must look (see `stores.is_unit`).
    """
    wide = embeddings.astype(np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    scaled = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    unit: Embeddings = scaled.astype(np.float32)
    return unit
