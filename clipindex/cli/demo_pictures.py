"""The pictures of `clipindex demo`: photographs that come with two Python packages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from clipindex.errors import UsageError

QUERIES = ("a cat", "a cup of coffee", "a rocket launch")

# The packages of the extra `demo` that carry pictures, and where in them these lie.
SOURCES = {"skimage": "data", "sklearn": "datasets/images"}
EXTENSIONS = {".jpg", ".png"}  # their few TIFFs and GIFs are odd on purpose, for other tests


def copy_pictures(folder: Path) -> list[Path]:
    """Copy the photographs that scikit-image and scikit-learn ship into a folder.

    Raises UsageError when neither is installed, or the folder cannot be written.
    """
    pictures = [path for package, below in SOURCES.items() for path in _pictures(package, below)]
    if not pictures:
        raise UsageError(
            "the demo uses pictures of scikit-image and scikit-learn, and neither is installed",
            hint="pip install 'clipindex[demo]'; a clone of the repository has photographs of its "
            "own: clipindex ingest examples/photos",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copyfile(path, folder / path.name)) for path in pictures]
    except OSError as error:
        raise UsageError(
            f"the pictures cannot be copied: {error.strerror}",
            path=str(error.filename2 or error.filename or folder),
            hint="name a folder that can be made: clipindex demo FOLDER",
        ) from error


def _pictures(package: str, below: str) -> Iterator[Path]:
    spec = find_spec(package)  # its folder is enough; importing it takes a second
    if spec is None or spec.origin is None:
        return
    for path in sorted((Path(spec.origin).parent / below).iterdir()):
        if path.suffix in EXTENSIONS:
            yield path
