"""The models that clipindex knows by name: where each comes from, and what must be known to use it.

The entries are data, in `registry.toml` beside this module; a user's own stand in `models.toml` in
the configuration folder, in the same form. Sizes and digests are those that several public projects
pin; what is not known is absent, and is learned from the hub when the model is pulled.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from clipindex.errors import UsageError
from clipindex.files.user_folders import config_folder
from clipindex.model.manifest import FILE_NAME, SHA256

REGISTRY = Path(__file__).with_name("registry.toml")
OWN = "models.toml"  # in the configuration folder
RECOMMENDED = "vit-b-32-laion2b"  # for captions, at what the usual model costs

Tower = Literal["vision", "text"]
Role = Literal["vision", "text", "tokenizer", "dense", "weights", "other"]
# installed: comes with clipindex. export: ONNX graphs on the hub, which `models pull` brings into
# our form. bundle: a model in our form on the hub, which `models pull` takes as it is. convert: a
# checkpoint for scripts/convert_to_onnx.py. own: the same, but the user has to download it, as its
# licence demands.
Origin = Literal["installed", "export", "bundle", "convert", "own"]
Number = Literal["float32", "uint8", "int32", "int64"]

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
REVISION = re.compile(r"[0-9a-f]{40}")
FILE_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file of a model on the hub. `bytes` and `sha256` are None where no source gave them."""

    role: Role
    path: str  # in the repository, with slashes
    repository: str
    revision: str  # a commit; empty: not known, and the newest is taken
    bytes: int | None = None
    sha256: str | None = None  # of the content: 64 hexadecimal digits, lower case

    def __post_init__(self) -> None:
        _check_choice("role", self.role, Role)
        _check(bool(FILE_PATH.fullmatch(self.path)), f"path {self.path!r}")
        _check(bool(REPOSITORY.fullmatch(self.repository)), f"repository {self.repository!r}")
        _check(not self.revision or bool(REVISION.fullmatch(self.revision)), "revision: no commit")
        _check(self.sha256 is None or bool(SHA256.fullmatch(self.sha256)), "sha256")
        _check(self.bytes is None or self.bytes > 0, "bytes")

    @property
    def name(self) -> str:
        """Under which the download is kept: the path, with no folders."""
        return self.path.replace("/", "--")


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The border of an exported graph. A name that is None is the graph's only input or output."""

    input: str | None  # pixels or token ids
    input_type: Number
    output: str | None
    mask: str | None = None  # name of the input for the attention mask; None: it takes none
    normalised: bool | None = None  # whether the output has length 1; None: not known
    fixed_batch: int | None = None  # None: any
    fixed_length: bool = False  # of a text: always the whole context length
    pooling: Literal["none", "mean"] = "none"  # mean: over the tokens that are no padding

    def __post_init__(self) -> None:
        _check_choice("input_type", self.input_type, Number)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """How a picture becomes what the vision tower takes: float32 [batch, 3, size, size], each
    colour scaled to 0..1, less `mean`, divided by `std`."""

    size: int  # pixels a side
    fit: Literal["crop", "squash"]
    interpolation: Literal["bicubic", "bilinear"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """How a text becomes token ids. `pad`: `longest`, to the longest of the batch, or `context`,
    always to the context length."""

    context_length: int  # tokens
    pad: Literal["longest", "context"]
    pad_id: int
    cleaning: Literal["openai", "lower", "none"]
    tokenizer: str  # its kind, for people: byte-pair encoding, Gemma's, WordPiece


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A published figure, in percent unless its name says otherwise."""

    name: str
    value: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What is known of a model before it is here."""

    id: str  # what --model and `models pull` take
    title: str
    origin: Origin
    dimension: int  # numbers in a vector
    towers: tuple[Tower, ...]
    licence: str  # of the weights
    commercial_use: bool | None  # whether the licence allows it; None: not clear
    files: tuple[RemoteFile, ...] = ()
    checkpoint: str = ""  # repository of the weights that were exported, or are to be converted
    image: ImageInput | None = None  # None: there is no vision tower
    text: TextInput | None = None
    vision_graph: Graph | None = None  # None: not exported
    text_graph: Graph | None = None
    figures: tuple[Figure, ...] = ()
    languages: str = "English"
    note: str = ""
    mate: str = ""  # id of the model whose picture vectors this text tower may query

    def __post_init__(self) -> None:
        _check(bool(FILE_NAME.fullmatch(self.id)), f"id {self.id!r}: letters, digits, . _ -")
        _check_choice("origin", self.origin, Origin)
        _check(0 < self.dimension <= 65_536, "dimension")
        for tower in self.towers:
            _check_choice("towers", tower, Tower)
        names = [file.name for file in self.files]
        _check(len(set(names)) == len(names), "two files of one path")

    @property
    def repository(self) -> str:
        """Where the files come from; the checkpoint where there are none."""
        return self.files[0].repository if self.files else self.checkpoint

    @property
    def revision(self) -> str:
        """The commit of the first file; empty where it is not known."""
        return self.files[0].revision if self.files else ""

    @property
    def bytes(self) -> int | None:
        """Of all files together; None where one is not known, or there are none."""
        sizes = [file.bytes for file in self.files]
        return sum(filter(None, sizes)) if sizes and None not in sizes else None

    @property
    def can_be_pulled(self) -> bool:
        """Whether `models pull` takes it."""
        return self.origin in ("export", "bundle") and bool(self.files)

    def file(self, role: Role) -> RemoteFile:
        """The file of a role. Raises KeyError where the model has none."""
        for file in self.files:
            if file.role == role:
                return file
        raise KeyError(role)


def descriptions() -> dict[str, ModelDescription]:
    """Every model known by name, clipindex's own first.

    Raises UsageError when the user's `models.toml` cannot be used.
    """
    known = dict(_read(REGISTRY))
    folder = config_folder()
    own = folder / OWN if folder is not None else None
    if own is not None and own.is_file():
        for name, description in _users(own).items():
            if name in known:
                raise _broken(own, f"{name} is a model that clipindex knows: choose another id")
            known[name] = description
    return known


def _users(path: Path) -> dict[str, ModelDescription]:
    try:
        return _parse(path.read_bytes().decode("utf-8-sig"))
    except KeyError as error:
        raise _broken(path, f"{error} is missing") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _broken(path, str(getattr(error, "strerror", None) or error)) from error


def _broken(path: Path, why: str) -> UsageError:
    return UsageError(
        f"the list of your own models cannot be used: {why}",
        path=str(path),
        hint="correct it; docs/models.md shows an entry",
    )


@cache
def _read(path: Path) -> dict[str, ModelDescription]:
    return _parse(path.read_text("utf-8"))


def _parse(text: str) -> dict[str, ModelDescription]:
    """Descriptions by id. Raises ValueError, TypeError or KeyError for what is none."""
    return {name: _description(name, entry) for name, entry in tomllib.loads(text).items()}


def _description(name: str, entry: Mapping[str, Any]) -> ModelDescription:
    fields = dict(entry)
    shared = {key: fields.pop(key, "") for key in ("repository", "revision")}
    parts: dict[str, Any] = {
        "files": tuple(RemoteFile(**{**shared, **file}) for file in fields.pop("files", ())),
        "figures": tuple(Figure(**figure) for figure in fields.pop("figures", ())),
        "towers": tuple(fields.pop("towers")),
    }
    for key, kind in (("vision_graph", Graph), ("text_graph", Graph), ("text", TextInput)):
        if key in fields:
            given = fields.pop(key)
            parts[key] = (
                kind(**{"input": None, "output": None, **given})
                if (kind is Graph)
                else kind(**given)
            )
    if "image" in fields:
        image = fields.pop("image")
        parts["image"] = ImageInput(
            **{**image, "mean": tuple(image["mean"]), "std": tuple(image["std"])}
        )
    allowed = fields.pop("commercial_use", None)
    return ModelDescription(id=name, commercial_use=allowed, **fields, **parts)


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{what} is not as it should be")


def _check_choice(name: str, value: object, choices: Any) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{name} is {value!r}; known: {', '.join(get_args(choices))}")
