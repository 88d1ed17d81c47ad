"""A bundle made of downloaded files: each tower adapted, checked, and described in model.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from clipindex.errors import ModelError
from clipindex.files.replacing import built_beside, replace, settle
from clipindex.model.adapt import text, vision
from clipindex.model.adapt.export import Export, laid_out, refused, weights_of
from clipindex.model.adapt.parity import (
    TEXTS,
    check_padding,
    check_parity,
    tower_at,
    trial_pictures,
)
from clipindex.model.bundle import MANIFEST, TEXT, TOKENIZER, VISION, Bundle, open_bundle
from clipindex.model.manifest import (
    SCHEMA,
    Conversion,
    FileSpec,
    ImageSpec,
    Manifest,
    Mate,
    TextSpec,
)
from clipindex.model.onnx_graph.files import read_model, write_model
from clipindex.model.onnx_graph.graph import Array, Graph
from clipindex.model.registry import Graph as Described
from clipindex.model.registry import ModelDescription, descriptions
from clipindex.model.text import TextTokenizer

CONVERSION = 1  # rises with any change of a number in the vision tower


def adapt(description: ModelDescription, downloaded: Mapping[str, Path], target: Path) -> Bundle:
    """Make the bundle `target` of an export's files: path in the repository -> where it arrived.

    `target` gets its name at the end, in one step. Raises ModelError when a graph is not as the
    description says, asks for what cannot be made, or the adapted tower says something else.
    """
    with built_beside(target) as new:
        new.mkdir(parents=True)
        fields = _Adapting(description, downloaded, new).run()
        (new / MANIFEST).write_text(fields.to_json(), encoding="utf-8")
        replace(target)
    settle(target)
    return open_bundle(target)


class _Adapting:
    """One model's files on their way into a folder."""

    def __init__(
        self, description: ModelDescription, downloaded: Mapping[str, Path], folder: Path
    ) -> None:
        self._description = description
        self._downloaded = downloaded
        self._folder = folder
        self._opset = 0

    def run(self) -> Manifest:
        """Write the towers and the tokenizer; returns what is to be said of them."""
        description = self._description
        words = self._text() if "text" in description.towers else None
        image = self._vision() if "vision" in description.towers else None
        conversion = None
        if image is not None:
            graph = self._path_of("vision")
            names = [graph, *weights_of(self._downloaded, graph)]
            files = {name: _sha256(self._downloaded[name]) for name in names}
            conversion = Conversion(CONVERSION, files)
        return Manifest(
            schema=SCHEMA,
            model=description.id,
            revision=description.revision or "unstated",
            architecture=description.title,
            dimension=description.dimension,
            precision="fp32",
            image=image,
            text=words,
            opset=self._opset,
            licence=description.licence,
            source=f"{description.repository} on the Hugging Face hub",
            files={
                path.name: FileSpec(path.stat().st_size, _sha256(path))
                for path in sorted(self._folder.iterdir())
            },
            conversion=conversion,
            mate=_mate(description) if image is None else None,
        )

    def _path_of(self, tower: str) -> str:
        """Path in the repository of a tower's graph; both may be in one, which has either role."""
        roles = {file.role: file.path for file in self._description.files}
        path = roles.get("vision" if tower == "vision" else "text") or roles.get(
            "text" if tower == "vision" else "vision"
        )
        if path is None or path not in self._downloaded:
            raise ModelError(f"'{self._description.id}': no graph of the {tower} tower is there")
        return path

    # --- towers ----------------------------------------------------------------------------------

    def _vision(self) -> ImageSpec:
        description, image = self._description, self._description.image
        assert image is not None  # the registry says it of each vision tower
        described = description.vision_graph or Described(
            input=None, input_type="float32", output=None
        )
        pictures = trial_pictures(image.size)
        name = self._path_of("vision")
        with laid_out(self._downloaded, name) as path:
            export = Export(path, image.size)
            pixels = export.input(described.input, described.input_type, 4)
            output = export.output(described.output, 2, description.dimension, "image")
            border = vision.VisionBorder(
                path=path,
                pixels=pixels,
                output=output,
                image=image,
                dimension=description.dimension,
            )
            for size, wanted in zip(pixels.shape[1:], border.row, strict=True):
                if size not in (None, wanted):
                    row = list(border.row)
                    raise refused(path, f"it takes {list(pixels.shape)}, not {row} a picture")
            expected = export.run(output, {pixels.name: vision.prepared(pictures, border)})
            self._check_dimension(path, expected)
        del export
        graph = Graph(read_model(self._downloaded[name], self._locate(name)))
        write_model(vision.adapted_vision(graph, border), self._folder / VISION)
        self._opset = graph.opset
        tower = tower_at(self._folder / VISION, vision.PIXELS, vision.EMBEDS)
        check_parity(self._folder / VISION, tower, pictures, expected)
        return ImageSpec(
            size=image.size,
            mean=image.mean,
            std=image.std,
            interpolation=image.interpolation,
            fit=image.fit,
        )

    def _text(self) -> TextSpec:
        description, words = self._description, self._description.text
        assert words is not None  # the registry says it of each text tower
        described = description.text_graph or Described(input=None, input_type="int64", output=None)
        self._write_tokenizer()
        pad_id = words.pad_id if self._pad_is_special() else None
        dense = None
        if any(file.role == "dense" for file in description.files):
            dense = text.read_dense(self._downloaded[description.file("dense").path])
        name = self._path_of("text")
        takes_mean = described.pooling == "mean"
        with laid_out(self._downloaded, name) as path:
            export = Export(path, description.image.size if description.image else 0)
            ids = export.input(described.input, described.input_type, 2)
            width = None if takes_mean else description.dimension
            border = text.TextBorder(
                path=path,
                ids=ids,
                others=[port for port in export.inputs if port != ids],
                output=export.output(described.output, 3 if takes_mean else 2, width, "text"),
                dimension=description.dimension,
                pad_id=pad_id,
                takes_mean=takes_mean,
                dense=dense,
            )
            if ids.shape[1] not in (None, words.context_length):
                why = f"it reads {ids.shape[1]} tokens, not {words.context_length}"
                raise refused(path, why)
            spec = TextSpec(
                context_length=words.context_length,
                pad_id=words.pad_id,
                pad="longest" if ids.shape[1] is None and words.pad == "longest" else "max",
                cleaning=words.cleaning,
            )
            batch, lone = self._trial_texts(spec)
            expected = text.expected(export, border, batch)
            self._check_dimension(path, expected)
        del export
        graph = Graph(read_model(self._downloaded[name], self._locate(name)))
        write_model(text.adapted_text(graph, border), self._folder / TEXT)
        self._opset = graph.opset
        tower = tower_at(self._folder / TEXT, text.IDS, text.EMBEDS)
        check_parity(self._folder / TEXT, tower, batch, expected)
        check_padding(self._folder / TEXT, tower, batch, lone)
        return spec

    def _check_dimension(self, path: Path, vectors: Array) -> None:
        if vectors.shape[1] != self._description.dimension:
            why = f"its vectors have {vectors.shape[1]} numbers, not {self._description.dimension}"
            raise refused(path, why)

    def _trial_texts(self, spec: TextSpec) -> tuple[Array, list[Array]]:
        """Token ids of all trial texts together [count, sequence], and of each alone."""
        tokenizer = TextTokenizer(self._folder / TOKENIZER, spec)
        tokens = [tokenizer.encode(words) for words in TEXTS]
        return tokenizer.pad(tokens), [tokenizer.pad([part]) for part in tokens]

    def _write_tokenizer(self) -> None:
        """With truncation and padding off: clipindex cuts and pads itself."""
        path = self._downloaded[self._description.file("tokenizer").path]
        try:
            tokenizer = json.loads(path.read_text("utf-8"))
            tokenizer |= {"truncation": None, "padding": None}
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(
                f"the tokenizer cannot be read: {error}",
                path=str(path),
                hint="download it again: clipindex models pull NAME",
            ) from error
        compact = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
        (self._folder / TOKENIZER).write_text(compact, encoding="utf-8")

    def _pad_is_special(self) -> bool:
        """Whether the mask leaves padding out. A tower that was trained with all texts padded to
        the end reads it; and CLIP's pad id, 0, is its "!", so nothing can be told from it."""
        words = self._description.text
        assert words is not None
        tokenizer = json.loads((self._folder / TOKENIZER).read_text("utf-8"))
        special = {token["id"] for token in tokenizer.get("added_tokens", ()) if token["special"]}
        return words.pad == "longest" and words.pad_id in special

    def _locate(self, graph: str) -> Callable[[str], Path]:
        """Finds the files that hold a graph's weights."""
        return lambda location: self._downloaded[str(PurePosixPath(graph).parent / location)]


def _mate(description: ModelDescription) -> Mate:
    """The vision tower for which a lone text tower is, by the files that it is made of."""
    mate = descriptions()[description.mate]
    graph = mate.file("vision")
    if graph.sha256 is None:
        raise ModelError(
            f"'{description.id}' searches pictures of '{mate.id}', of which no SHA-256 is known",
            hint="enter it in models.toml, or pull that model's bundle",
        )
    return Mate(mate.id, {graph.path: graph.sha256})


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
