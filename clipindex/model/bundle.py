"""A model bundle: a folder of two towers, a tokenizer, and `model.json` that describes them.

A bundle may have a text tower alone, for vectors that another model makes, or a vision tower alone.
A bundle is closed: whatever is loaded from it is a regular file that `model.json` lists with size
and SHA-256, so that nothing can change a vector without changing the contract.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from clipindex.errors import ModelError
from clipindex.files.user_folders import cache_folder, expand_user
from clipindex.model.manifest import ImageSpec, Manifest, TextSpec
from clipindex.model.onnx_file import external_files

MANIFEST = "model.json"
VISION = "vision.onnx"
TEXT = "text.onnx"
TOKENIZER = "tokenizer.json"
DECODER = "decoder.onnx"  # of a vision-language model
PROBE = "saturation.onnx"
DEFAULT_MODEL = "mini"

OF_TEXTS = (TEXT, TOKENIZER)  # and what is called after them: a graph's weights
LARGEST_MANIFEST = 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk: its manifest was read, its files exist and have the right sizes."""

    folder: Path
    manifest: Manifest
    other_text: Bundle | None = None  # the bundle whose text tower is used instead of the own one

    @property
    def text_bundle(self) -> Bundle:
        """The bundle whose text tower is used."""
        return self.other_text or self

    @property
    def image(self) -> ImageSpec:
        """What the vision tower takes. Raises ModelError when there is none."""
        if self.manifest.image is None:
            raise no_vision_tower(self)
        return self.manifest.image

    @property
    def text_spec(self) -> TextSpec:
        """What the text tower takes. Raises ModelError when there is none."""
        spec = self.text_bundle.manifest.text
        if spec is None:
            raise ModelError(
                f"the model '{self.manifest.model}' has no text tower: only pictures can search"
                " its pictures",
                path=str(self.folder),
                hint="search with a picture (--image FILE), or index with another model",
            )
        return spec

    @property
    def vision(self) -> Path:
        """The vision tower: `pixels` uint8 [batch, size, size, 3] to `image_embeds` float32
        [batch, dimension]. Raises ModelError when there is none."""
        if self.manifest.image is None:
            raise no_vision_tower(self)
        return self.folder / VISION

    @property
    def text(self) -> Path:
        """The text tower: `input_ids` int64 [batch, sequence] to `text_embeds` float32
        [batch, dimension]."""
        return self.text_bundle.folder / TEXT

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, in the format of Hugging Face `tokenizers`."""
        return self.text_bundle.folder / TOKENIZER

    @property
    def probe(self) -> Path | None:
        """The graph that tests 8-bit arithmetic (see `saturation`), where the bundle has one."""
        return self.folder / PROBE if PROBE in self.manifest.files else None

    @property
    def vision_files(self) -> dict[str, str]:
        """Name -> SHA-256 of the files that decide a picture's vector: all but the text tower's.
        Empty when there is no vision tower."""
        if self.manifest.image is None:
            return {}
        return {
            name: spec.sha256
            for name, spec in self.manifest.files.items()
            if decides_pictures(name)
        }

    def with_text_tower_of(self, other: Bundle) -> Bundle:
        """The same vision tower, with the text tower of another bundle."""
        return replace(self, other_text=other)

    def verify(self) -> None:
        """Compare every file's SHA-256 with the manifest, and every file that a graph refers to
        with the manifest's list. A file that stays as it is is read once in a process.

        Raises ModelError for the first that differs.
        """
        from concurrent.futures import ThreadPoolExecutor  # a query hashes nothing

        paths = [self.folder / name for name in self.manifest.files]
        try:
            with ThreadPoolExecutor() as threads:
                digests = list(threads.map(_digest, paths))
        except OSError as error:
            raise _damaged(self.folder, f"{error.filename}: {error.strerror}") from error
        for path, spec, digest in zip(paths, self.manifest.files.values(), digests, strict=True):
            if digest != spec.sha256:
                raise _damaged(path, "its content differs from model.json")
        for path in paths:
            if path.suffix == ".onnx":
                self._check_closed(path)
        if self.other_text is not None:
            self.other_text.verify()

    def _check_closed(self, graph: Path) -> None:
        try:
            unlisted = _external_files(graph) - self.manifest.files.keys()
        except (OSError, ValueError) as error:
            raise _damaged(graph, str(error)) from error
        if unlisted:
            raise ModelError(
                f"{graph.name} loads weights from {min(unlisted)!r}, which model.json does not"
                " list: nobody would notice if they were exchanged",
                path=str(graph),
                hint="convert the model again with scripts/convert_to_onnx.py, which lists every"
                " file; weights must lie in the bundle's own folder",
            )
        if graph.name == VISION and not all(map(decides_pictures, _external_files(graph))):
            raise _damaged(graph, "it loads weights from a file of the text tower")


def decides_pictures(name: str) -> bool:
    """Whether a file of a bundle may decide a picture's vector: the text tower's do not."""
    return not name.startswith(OF_TEXTS)


def no_vision_tower(bundle: Bundle) -> ModelError:
    """The error where a bundle that has only a text tower is to embed pictures."""
    name, mate = bundle.manifest.model, bundle.manifest.mate
    indexed_with = mate.model if mate is not None else "ITS-MATE"
    return ModelError(
        f"the model '{name}' has only a text tower: it makes no vectors of pictures, it searches"
        f" pictures that were indexed with '{indexed_with}'",
        path=str(bundle.folder),
        hint=f"ingest with --model {indexed_with}, then query with --model {name}",
    )


def _state(path: Path) -> tuple[int, ...]:
    """Changes when the file does."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _digest(path: Path) -> str:
    return _digest_of(path, _state(path))


@lru_cache
def _digest_of(path: Path, _state: tuple[int, ...]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _external_files(graph: Path) -> frozenset[str]:
    return _external_files_of(graph, _state(graph))


@lru_cache
def _external_files_of(graph: Path, _state: tuple[int, ...]) -> frozenset[str]:
    return external_files(graph)


def open_bundle(folder: Path) -> Bundle:
    """The bundle in a folder.

    Raises ModelError when there is none, a file is missing, not a regular file (links to one are
    fine) or of another size, or model.json says something that this clipindex does not know.
    """
    manifest = _read_manifest(folder)
    for name, spec in manifest.files.items():
        size = _regular_size(folder / name)
        if size != spec.bytes:
            raise _damaged(folder / name, f"{size} bytes where model.json says {spec.bytes}")
    return Bundle(folder, manifest)


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not folder.is_dir() or (not path.is_symlink() and not path.exists()):
        raise ModelError(
            "no model bundle there (no model.json)",
            path=str(folder),
            hint="make one with scripts/convert_to_onnx.py, or name another with --model",
        )
    if _regular_size(path) > LARGEST_MANIFEST:
        raise _damaged(path, f"it has more than {LARGEST_MANIFEST} bytes")
    try:
        manifest = Manifest.from_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the model bundle is damaged or of an unknown kind: {MANIFEST}: {error}",
            path=str(path),
            hint="convert the model again with this clipindex's scripts/convert_to_onnx.py; a"
            " bundle made by a later clipindex needs that clipindex",
        ) from error
    required: dict[str, object] = {VISION: manifest.image, TEXT: manifest.text}
    required |= {TOKENIZER: manifest.text, DECODER: manifest.merged}
    for name, spec in required.items():
        if spec is not None and name not in manifest.files:
            raise _damaged(path, f"it does not list {name}")
        if spec is None and name in manifest.files:
            raise _damaged(path, f"it lists {name} without saying what it takes")
    return manifest


def _regular_size(path: Path) -> int:
    """Bytes of a regular file. Devices, pipes and sockets may have no end, or never begin."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise _damaged(path, "it is missing") from error
    if not stat.S_ISREG(status.st_mode):
        raise _damaged(path, "it is not a regular file")
    return status.st_size


def find_bundle(name: str) -> Bundle:
    """A bundle by name (installed with clipindex, then in the user's cache), or by the path of its
    folder. Raises ModelError where there is none, or it cannot be used."""
    if os.path.isfile(name):
        raise ModelError(
            "this is a file, and a model is a folder with a model.json",
            path=name,
            hint="name the folder, or a model by its name",
        )
    if _is_path(name) or os.path.isfile(os.path.join(name, MANIFEST)):
        folder = expand_user(Path(name)).absolute()
        if not folder.is_dir() and (error := _of_the_hub(name)) is not None:
            raise error
        return open_bundle(folder)
    if not name.startswith("."):  # so begins one that is still being installed
        for folder in model_folders():
            if os.path.isfile(folder / name / MANIFEST):
                return open_bundle(folder / name)
    raise _missing(name)


def _missing(name: str) -> ModelError:
    from clipindex.model.missing import missing_model  # 15 ms, and nearly every name is found

    found = (
        path.parent.name for folder in model_folders() for path in folder.glob(f"*/{MANIFEST}")
    )
    return missing_model(name, sorted({name for name in found if not name.startswith(".")}))


def _of_the_hub(name: str) -> ModelError | None:
    """What to say of a path that is none, but the name of a repository."""
    from clipindex.model.missing import missing_repository  # as above

    return missing_repository(name)


def _is_path(name: str) -> bool:
    return "/" in name or "\\" in name or name in (".", "..")


def model_folders() -> Iterable[Path]:
    """Where models are found by their names, in this order."""
    package = Path(__file__).parents[1]
    yield package / "bundles"  # in an installed wheel
    yield package.parent / "models"  # in the repository
    if (cache := cache_folder()) is not None:
        yield cache / "models"


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(
        f"the model bundle is damaged: {path.name}: {why}",
        path=str(path),
        hint="download or convert the bundle again",
    )
