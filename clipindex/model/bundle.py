"""A model bundle: a folder of two towers, a tokenizer, and `model.json` that describes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import platformdirs

from clipindex.errors import ModelError

MANIFEST = "model.json"
NEEDED = ("vision.onnx", "text.onnx", "tokenizer.json")
PROBE = "saturation.onnx"
SCHEMA = 1
DEFAULT_MODEL = "mini"


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What the vision tower takes; mean and std are folded into its graph."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    fit: Literal["crop", "squash"]


@dataclass(frozen=True, slots=True)
class TextSpec:
    """What the text tower takes. `pad` is `longest`: a batch is padded to its longest text."""

    context_length: int
    pad_id: int
    pad: str
    cleaning: Literal["openai", "none"]


@dataclass(frozen=True, slots=True)
class FileSpec:
    """Size and digest of one file of the bundle."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How the vision tower was made int8, and how near to fp32 its vectors of other pictures are.

    An overlap is the mean share of the ten pictures found first that fp32 finds first, too.
    """

    weight_bits: int
    calibrated_on: int  # pictures
    compared_on: int  # pictures, none of them among those
    mean_cosine: float
    smallest_cosine: float
    image_overlap: float  # asked with pictures
    text_overlap: float  # asked with texts


@dataclass(frozen=True, slots=True)
class Manifest:
    """`model.json`: what must be known of a model to use it, and to tell it from another."""

    schema: int
    model: str
    revision: str
    architecture: str
    dimension: int
    precision: str
    image: ImageSpec
    text: TextSpec
    opset: int
    licence: str
    source: str
    files: dict[str, FileSpec]
    quantisation: Quantisation | None = None  # of int8 alone

    def to_json(self) -> str:
        """The text of `model.json`."""
        fields = asdict(self)
        if self.quantisation is None:
            del fields["quantisation"]
        return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read `model.json`. Raises ValueError, KeyError or TypeError when it is not one."""
        raw = json.loads(text)
        if raw["schema"] != SCHEMA:
            raise ValueError(f"schema {raw['schema']}, this clipindex knows {SCHEMA}")
        image = {**raw["image"], "mean": tuple(raw["image"]["mean"])}
        image["std"] = tuple(raw["image"]["std"])
        files = {name: FileSpec(**spec) for name, spec in raw["files"].items()}
        fields = {**raw, "image": ImageSpec(**image), "text": TextSpec(**raw["text"])}
        if raw.get("quantisation") is not None:
            fields["quantisation"] = Quantisation(**raw["quantisation"])
        return cls(**{**fields, "files": files})


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle found on disk, its manifest read, its files there and of the right size."""

    folder: Path
    manifest: Manifest

    @property
    def vision(self) -> Path:
        """The vision tower's graph."""
        return self.folder / "vision.onnx"

    @property
    def text(self) -> Path:
        """The text tower's graph."""
        return self.folder / "text.onnx"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, in the format of Hugging Face `tokenizers`."""
        return self.folder / "tokenizer.json"

    @property
    def probe(self) -> Path:
        """The graph that tells whether a tower of 8-bit weights can be trusted here; int8 only."""
        return self.folder / PROBE

    def verify(self) -> None:
        """Hash every file against the manifest, each but once in a process while it stays as it
        is. Raises ModelError for the first that differs."""
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


def _digest(path: Path) -> str:
    found = path.stat()
    return _digest_of(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@lru_cache
def _digest_of(path: Path, *_as_it_is: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_bundle(folder: Path) -> Bundle:
    """The bundle in a folder. Raises ModelError when it is missing or incomplete."""
    manifest_path = folder / MANIFEST
    try:
        manifest = Manifest.from_json(manifest_path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(
            "no model bundle there (no model.json)",
            path=str(folder),
            hint="make one with scripts/convert_to_onnx.py, or name another with --model",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(manifest_path, str(error)) from error
    for name in NEEDED:
        if name not in manifest.files:  # then no hash of it would be in the contract
            raise _damaged(manifest_path, f"it does not list {name}")
    for name, spec in manifest.files.items():
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            raise _damaged(folder / name, "it is missing") from error
        if size != spec.bytes:
            raise _damaged(folder / name, f"{size} bytes where model.json says {spec.bytes}")
    return Bundle(folder, manifest)


def find_bundle(name: str) -> Bundle:
    """A bundle by name (bundled, then in the user's cache) or by the path of its folder."""
    if _looks_like_a_path(name) or (Path(name) / MANIFEST).is_file():
        return open_bundle(Path(name).expanduser().absolute())
    for place in _places():
        if (place / name / MANIFEST).is_file():
            return open_bundle(place / name)
    known = sorted(
        {path.parent.name for place in _places() for path in place.glob(f"*/{MANIFEST}")}
    )
    there = f"there are: {', '.join(known)}" if known else "none is installed"
    raise ModelError(
        f"no model named '{name}'; {there}",
        hint="name one, or the folder of a bundle: --model tests/data/tiny (in clipindex's"
        " repository), or one made with scripts/convert_to_onnx.py",
    )


def _looks_like_a_path(name: str) -> bool:
    return "/" in name or "\\" in name or name in (".", "..")


def _places() -> Iterable[Path]:
    package = Path(__file__).parents[1]
    yield package / "bundles"  # in an installed wheel
    yield package.parent / "models"  # in the repository
    yield Path(platformdirs.user_cache_dir("clipindex")) / "models"


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(
        f"the model bundle is damaged: {path.name}: {why}",
        path=str(path),
        hint="fetch or convert the bundle again",
    )
