"""Copies of stores: of the engine's files, 150 MB in a store, nearly all is a hole."""

from __future__ import annotations

import os
import shutil
from io import FileIO
from pathlib import Path

BLOCK = 1 << 16


def copied(origin: Path, target: Path) -> Path:
    """A copy of a folder in which zeros are holes, as the engine leaves them."""
    return shutil.copytree(origin, target, copy_function=_copy_file, dirs_exist_ok=True)


def _copy_file(origin: str, target: str) -> None:
    with open(origin, "rb", buffering=0) as source, open(target, "wb") as copy:
        while block := _next_block(source):
            if block != bytes(len(block)):
                copy.seek(source.tell() - len(block))
                copy.write(block)
        copy.truncate(os.fstat(source.fileno()).st_size)
    shutil.copystat(origin, target)


def _next_block(source: FileIO) -> bytes:
    """Some bytes behind the next hole; none at the end."""
    if hasattr(os, "SEEK_DATA"):
        try:
            source.seek(source.tell(), os.SEEK_DATA)
        except OSError:  # nothing but a hole is left
            return b""
    return source.read(BLOCK)
