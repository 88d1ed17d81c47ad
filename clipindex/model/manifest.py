"""`model.json`: what clipindex must know of a model. Only known values and plausible numbers pass.

The fields are checked whether they were read from a file or set by the converter: a value that
clipindex would not act on is refused, since its vectors would not be what it promises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from clipindex.pictures.preprocessing import Fit, Geometry, Interpolation

SCHEMA = 1
PRECISIONS = ("fp32", "int8")
OPTIONAL = ("quantisation", "conversion", "mate", "merged")  # left out where they are None
Pad = Literal["longest", "max"]
Pooling = Literal["mean", "cls", "multi_layer"]
Cleaning = Literal["openai", "none", "lower", "canonical"]
# No path, no name that a file system reads in its own way (device names, streams, case aside).
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_FILES = 100
MOST_BYTES = 64 * 2**30  # of a file; the largest CLIP towers have 10 GB
LONGEST_TEXT = 1000  # characters of a name, licence or source


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What the vision tower takes: a square of RGB pixels.

    `mean` and `std` (red, green, blue, of pixels scaled to 0..1) are part of its graph and stand
    here for people only.
    """

    size: int  # pixels a side
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation
    fit: Fit
    resize: int | None = None  # pixels of the short side before the crop; None: `size`

    @property
    def geometry(self) -> Geometry:
        """The square that pictures are brought to."""
        return Geometry(self.size, self.fit, self.interpolation, self.resize)

    def __post_init__(self) -> None:
        _check_integer("image.size", self.size, 16, 2048)
        for name, colours in (("mean", self.mean), ("std", self.std)):
            if len(colours) != 3:
                raise ValueError(f"image.{name} has {len(colours)} numbers instead of 3")
            for number in colours:
                _check_number(f"image.{name}", number, 0, 1)
        if 0 in self.std:
            raise ValueError("image.std contains 0")
        _check_choice("image.interpolation", self.interpolation, *get_args(Interpolation))
        _check_choice("image.fit", self.fit, *get_args(Fit))
        if self.resize is not None:
            _check_integer("image.resize", self.resize, self.size, 2048)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSpec:
    """What the text tower takes. A batch is padded to its longest text (`pad` is `longest`), or
    always to the context length (`max`). For `cleaning` see `model.text`."""

    context_length: int  # tokens
    pad_id: int
    pad: Pad
    cleaning: Cleaning

    def __post_init__(self) -> None:
        _check_integer("text.context_length", self.context_length, 2, 65_536)
        _check_integer("text.pad_id", self.pad_id, 0, 2**31 - 1)
        _check_choice("text.pad", self.pad, *get_args(Pad))
        _check_choice("text.cleaning", self.cleaning, *get_args(Cleaning))


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedSpec:
    """A vision-language model: picture and text stand in one sequence, and one vector is made of
    its hidden states. `pooling` is what makes the vectors of a collection."""

    pooling: Pooling
    max_length: int  # tokens of a sequence, the picture's among them
    picture_length: int  # tokens that a picture takes

    def __post_init__(self) -> None:
        _check_choice("merged.pooling", self.pooling, *get_args(Pooling))
        _check_integer("merged.max_length", self.max_length, 2, 65_536)
        _check_integer("merged.picture_length", self.picture_length, 1, self.max_length)


@dataclass(frozen=True, slots=True)
class FileSpec:
    """Size and digest of one file of the bundle."""

    bytes: int
    sha256: str  # 64 hexadecimal digits, lower case

    def __post_init__(self) -> None:
        _check_integer("bytes of a file", self.bytes, 1, MOST_BYTES)
        _check_text("sha256 of a file", self.sha256)
        if not SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.sha256[:80]!r} is not a SHA-256 (64 hexadecimal digits)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """How the vision tower was made int8, and how close its vectors are to those of fp32.

    An overlap is the mean share of the first ten pictures found that fp32 finds as well.
    """

    weight_bits: int
    calibrated_on: int  # pictures
    compared_on: int  # pictures, none of them used for calibration
    mean_cosine: float
    smallest_cosine: float
    image_overlap: float  # queries are pictures
    text_overlap: float | None  # queries are texts; None: the model has no text tower
    # Name -> SHA-256 of the fp32 tower's files, by which its text tower's mates know it; None in
    # bundles of earlier versions.
    made_from: dict[str, str] | None = None

    def check(self) -> None:
        """Raises ValueError for a figure that is none. Not done when it is made: the converter
        measures first, and refuses a bad tower in words of its own."""
        _check_integer("quantisation.weight_bits", self.weight_bits, 1, 8)
        _check_integer("quantisation.calibrated_on", self.calibrated_on, 0, 10**9)
        _check_integer("quantisation.compared_on", self.compared_on, 0, 10**9)
        names = ["mean_cosine", "smallest_cosine", "image_overlap"]
        for name in names if self.text_overlap is None else [*names, "text_overlap"]:
            _check_number(f"quantisation.{name}", getattr(self, name), -1.001, 1.001)  # rounding
        if self.made_from is not None:
            _check_digests("quantisation.made_from", self.made_from)


@dataclass(frozen=True, slots=True)
class Conversion:
    """Of which downloaded files a vision tower was made, and by which version of our conversion.

    The conversion is deterministic, so both together are the tower's identity.
    """

    version: int
    files: dict[str, str]  # path in the repository -> SHA-256

    def __post_init__(self) -> None:
        _check_integer("conversion.version", self.version, 1, 1000)
        _check_digests("conversion.files", self.files)


@dataclass(frozen=True, slots=True)
class Mate:
    """The vision tower whose vectors a lone text tower was trained for."""

    model: str
    files: dict[str, str]  # name -> SHA-256, as in a contract

    def __post_init__(self) -> None:
        _check_text("mate.model", self.model)
        _check_digests("mate.files", self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`model.json`: all that is needed to use a model, and to tell it from another."""

    schema: int
    model: str
    revision: str
    architecture: str
    dimension: int  # numbers in a vector
    precision: str
    image: ImageSpec | None  # None (null): there is no vision tower
    text: TextSpec | None  # None (null): there is no text tower
    opset: int
    licence: str
    source: str
    files: dict[str, FileSpec]
    quantisation: Quantisation | None = None  # int8 only
    conversion: Conversion | None = None  # of a vision tower that was made of a ready-made graph
    mate: Mate | None = None  # of a text tower alone
    merged: MergedSpec | None = None  # vision-language models only

    def __post_init__(self) -> None:
        if self.image is None and (self.text is None or self.mate is None):
            raise ValueError("it has no vision tower, and names none as its mate")
        for name in ("model", "revision", "architecture", "licence", "source"):
            _check_text(name, getattr(self, name))
        _check_integer("dimension", self.dimension, 1, 65_536)  # Qdrant's limit
        _check_choice("precision", self.precision, *PRECISIONS)
        _check_integer("opset", self.opset, 1, 1000)
        if len(self.files) > MOST_FILES:
            raise ValueError(f"it lists {len(self.files)} files, more than {MOST_FILES}")
        if self.quantisation is not None:
            self.quantisation.check()
        for name in self.files:
            if not FILE_NAME.fullmatch(name):
                raise ValueError(f"{name[:80]!r} is not a file name (letters, digits, . _ -)")

    def to_json(self) -> str:
        """The text of `model.json`."""
        fields = asdict(self)
        for name in OPTIONAL:
            if fields[name] is None:
                del fields[name]
        if self.quantisation is not None and self.quantisation.made_from is None:
            del fields["quantisation"]["made_from"]
        if self.image is not None and self.image.resize is None:
            del fields["image"]["resize"]
        return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read the text of `model.json`. Raises ValueError when it is not one, or says something
        that this clipindex does not know."""
        try:
            return cls.from_fields(json.loads(text))
        except KeyError as error:
            raise ValueError(f"it lacks {error}") from error
        except (TypeError, AttributeError, RecursionError) as error:
            raise ValueError(str(error)) from error

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Manifest:
        """The manifest with these fields, as JSON has them. Raises ValueError, KeyError or
        TypeError where they are not as they should be."""
        schema = fields["schema"]
        if type(schema) is not int or schema != SCHEMA:
            raise ValueError(f"schema {_short(schema)}, this clipindex knows {SCHEMA}")
        kinds: dict[str, Callable[..., object]] = {
            "image": _image_spec,
            "text": TextSpec,
            "quantisation": Quantisation,
            "conversion": Conversion,
            "mate": Mate,
            "merged": MergedSpec,
        }
        given = {**dict.fromkeys(OPTIONAL), **fields}
        parts: dict[str, Any] = {
            name: None if given[name] is None else kind(**given[name])
            for name, kind in kinds.items()
        }
        parts["files"] = {name: FileSpec(**spec) for name, spec in fields["files"].items()}
        return cls(**{**fields, **parts})


def _image_spec(mean: Sequence[float], std: Sequence[float], **others: Any) -> ImageSpec:
    return ImageSpec(mean=tuple(mean), std=tuple(std), **others)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise ValueError(f"{name} is not a text of at most {LONGEST_TEXT} characters")


def _check_digests(name: str, files: object) -> None:
    if not isinstance(files, dict) or not 0 < len(files) <= MOST_FILES:
        raise ValueError(f"{name} is not a table of 1 to {MOST_FILES} files")
    for path, digest in files.items():
        _check_text(f"a path in {name}", path)
        if not isinstance(digest, str) or not SHA256.fullmatch(digest):
            raise ValueError(f"{name}: {_short(digest)} is not a SHA-256 (64 hexadecimal digits)")


def _check_choice(name: str, value: object, *known: str) -> None:
    if value not in known:
        raise ValueError(f"{name} is {_short(value)}, this clipindex knows {' and '.join(known)}")


def _check_integer(name: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} is {_short(value)}, not an integer from {least} to {most}")


def _check_number(name: str, value: object, least: float, most: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not least <= value <= most:  # type: ignore[arg-type, operator]
        raise ValueError(f"{name} is {_short(value)}, not a number from {least} to {most}")


def _short(value: object) -> str:
    return repr(value)[:80]
