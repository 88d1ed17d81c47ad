"""`clipindex demo`: a folder of real pictures, indexed and asked, for whoever has none at hand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from clipindex.errors import UsageError
from clipindex.pictures.formats import HEAD, picture_format

QUERIES = ("a cat", "a cup of coffee", "a rocket launch")

# The packages of the extra `demo` that carry pictures, and where in them these lie.
SOURCES = {"skimage": "data", "sklearn": "datasets/images"}


def copy_pictures(folder: Path) -> list[Path]:
    """Copy every picture that scikit-image and scikit-learn ship into a folder.

    Raises UsageError when neither is installed.
    """
    found = [path for package, below in SOURCES.items() for path in _pictures(package, below)]
    if not found:
        raise UsageError(
            "the demo takes its pictures from scikit-image and scikit-learn, and neither is there",
            hint="pip install 'clipindex[demo]'",
        )
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copyfile(path, folder / path.name)) for path in found]


def _pictures(package: str, below: str) -> Iterator[Path]:
    spec = find_spec(package)  # its folder is enough; importing it takes a second
    if spec is None or spec.origin is None:
        return
    for path in sorted((Path(spec.origin).parent / below).iterdir()):
        if path.is_file() and picture_format(path.read_bytes()[:HEAD]) is not None:
            yield path
