"""One read of one file: what its first bytes say, its bytes, their digest."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipindex.errors import FileFault
from clipindex.files.access import LOCAL_FILE_SYSTEM
from clipindex.files.file_system import FileRecord
from clipindex.pictures.content import (
    COMPRESSED,
    MAX_BYTES,
    NEVER_FILLED,
    NOT_A_PICTURE,
    UNFILLED,
    read_content,
)
from clipindex.pictures.formats import HEAD, PICTURE_NAMES, picture_format
from conftest import picture, picture_bytes, unprivileged


def record(path: Path) -> FileRecord:
    """A file as the walk sees it."""
    record = LOCAL_FILE_SYSTEM.stat(os.fsencode(path))
    assert isinstance(record, FileRecord)
    return record


def fault(path: Path) -> FileFault:
    """Why a file is not taken."""
    with pytest.raises(FileFault) as caught:
        read_content(os.fsencode(path))
    return caught.value


# --- signatures ------------------------------------------------------------------------------

JXL_BOXES = b"\0\0\0\x0cJXL \r\n\x87\n"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"big_tiff": True}),
        ("AVIF", {}),
    ],
)
def test_every_format_is_known_by_its_first_bytes(kind: str, options: dict[str, object]) -> None:
    assert picture_format(picture_bytes(1, kind, **options)[:32]) == kind


def test_animations_are_known_as_well() -> None:
    for kind in ("GIF", "WEBP", "PNG", "AVIF"):
        out = io.BytesIO()
        picture(1).save(out, kind, save_all=True, append_images=[picture(2)])
        assert picture_format(out.getvalue()[:32]) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"GIF87a", "GIF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"MM\0+\0\x08\0\0", "TIFF"),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x20ftypavis\0\0\0\0avisavifmsf1", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\xff\x0a\xfa\x1f", "JXL"),
        (JXL_BOXES, "JXL"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", None),
        (b"RIFF\x24\0\0\0WAVEfmt ", None),
        (b"BM is how this text begins, and it goes on", None),
        (b"GIF is a format", None),
        (b"II* a note", None),
        (b"MM", None),
        (b"\xff\xd8", None),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_first_bytes_tell_the_kind(head: bytes, kind: str | None) -> None:
    assert picture_format(head) == kind


@given(st.binary(max_size=32))
def test_any_first_bytes_are_a_kind_or_none(head: bytes) -> None:
    assert picture_format(head) is None or isinstance(picture_format(head), str)


# --- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [40, 32, 33, 100_000])
def test_the_content_is_the_whole_file_and_its_sha256(tmp_path: Path, size: int) -> None:
    path = tmp_path / "one.jpg"
    data = picture_bytes(1).ljust(size, b"\0") if size > 40 else picture_bytes(1)[:size]
    path.write_bytes(data)
    content = read_content(os.fsencode(path))
    assert content.data == data
    assert content.sha256 == hashlib.sha256(data).digest()
    assert content.record == record(path)


def test_the_record_is_the_file_as_it_was_when_it_was_read(tmp_path: Path) -> None:
    """Between the walk and the read a file may be replaced: what was read counts."""
    path = tmp_path / "one.jpg"
    path.write_bytes(picture_bytes(1))
    seen = record(path)
    path.write_bytes(picture_bytes(2) + b"more")
    content = read_content(seen.path)
    assert content.record == record(path)
    assert content.record != seen
    assert content.data == path.read_bytes()


def test_a_name_promises_nothing_the_content_counts(tmp_path: Path) -> None:
    path = tmp_path / "holiday.txt"
    path.write_bytes(picture_bytes(1))
    assert read_content(os.fsencode(path)).data == picture_bytes(1)


def test_a_path_need_not_be_utf8(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg")
    Path(os.fsdecode(path)).write_bytes(picture_bytes(1))
    assert read_content(path).record.path == path


@pytest.mark.parametrize("name", ["notes.txt", "movie.mp4", "README", "jpg"])
def test_what_is_not_a_picture_is_skipped(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"BM is how this text begins, and it goes on for a while")
    found = fault(tmp_path / name)
    assert (found.reason, found.skipped, found.transient) == ("not a picture", True, False)


@pytest.mark.parametrize("suffix", [*map(os.fsdecode, PICTURE_NAMES), ".JPG"])
def test_what_is_named_like_a_picture_but_is_none_is_quarantined(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"<html>404 Not Found</html>")
    found = fault(path)
    assert found.reason == NOT_A_PICTURE
    assert (found.skipped, found.transient) == (False, False)


def test_an_empty_picture_file_is_quarantined_and_any_other_empty_file_skipped(
    tmp_path: Path,
) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "empty.txt").touch()
    assert (fault(tmp_path / "empty.jpg").reason, fault(tmp_path / "empty.jpg").skipped) == (
        "empty file",
        False,
    )
    assert fault(tmp_path / "empty.txt").skipped


def test_a_picture_of_a_kind_that_cannot_be_read_is_skipped_by_name(tmp_path: Path) -> None:
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypmif1\0\0\0\0miafjpeg".ljust(100, b"\0"))
    found = fault(path)
    assert "HEIF" in found.reason
    assert (found.skipped, found.transient) == (True, False)


def test_a_file_that_may_not_be_read_is_tried_again_in_every_run(reachable: Path) -> None:
    path = reachable / "secret.jpg"
    path.write_bytes(picture_bytes(1))
    path.chmod(0o000)
    with unprivileged():
        found = fault(path)
    assert (found.reason, found.skipped, found.transient) == ("permission denied", False, True)
    path.chmod(0o644)
    with unprivileged():
        assert read_content(os.fsencode(path)).data == picture_bytes(1)


def test_a_file_that_is_gone_before_it_is_read_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "gone.jpg"
    path.write_bytes(picture_bytes(1))
    path.unlink()
    found = fault(path)
    assert (found.reason, found.skipped) == ("deleted before it was read", True)
    assert found.transient


def test_a_folder_that_is_gone_before_it_is_read_takes_its_files_along(tmp_path: Path) -> None:
    (tmp_path / "trip").mkdir()
    path = tmp_path / "trip" / "gone.jpg"
    path.write_bytes(picture_bytes(1))
    shutil.rmtree(tmp_path / "trip")
    (tmp_path / "trip").touch()  # a file where the folder was
    assert fault(path).transient


def _make_socket(path: Path) -> None:
    there = os.getcwd()
    os.chdir(path.parent)  # a socket's path may have 107 bytes only
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(there)


@pytest.mark.parametrize(
    "replace", [os.mkfifo, _make_socket, os.mkdir], ids=["pipe", "socket", "folder"]
)
def test_what_took_a_file_s_place_is_neither_waited_for_nor_read(
    tmp_path: Path, replace: Callable[[Path], None]
) -> None:
    """Opening a pipe waits for a writer that never comes."""
    path = tmp_path / "one.jpg"
    path.write_bytes(picture_bytes(1))
    path.unlink()
    replace(path)
    faults: list[FileFault] = []
    reader = threading.Thread(target=lambda: faults.append(fault(path)), daemon=True)
    reader.start()
    reader.join(timeout=20)
    assert not reader.is_alive()
    assert faults[0].transient


def test_a_file_that_changes_while_it_is_read_is_tried_again_in_the_next_run(
    tmp_path: Path,
) -> None:
    path = tmp_path / "one.jpg"
    path.write_bytes(picture_bytes(1))
    with LOCAL_FILE_SYSTEM.open(os.fsencode(path)) as file:
        assert file.head(3) == b"\xff\xd8\xff"
        path.write_bytes(picture_bytes(2) + b"more")
        with pytest.raises(FileFault, match="changed while it was read") as caught:
            file.read()
    assert caught.value.transient


def test_a_file_is_closed_whatever_ends_its_reading(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"no picture")
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    for _ in range(20):
        assert fault(tmp_path / "notes.txt").skipped
        assert fault(tmp_path).transient
    after = os.listdir("/proc/self/fd") if before else []
    assert len(after) == len(before)


def _sparse(path: Path, head: bytes, size: int) -> Path:
    with open(path, "wb") as file:
        file.write(head)
        try:
            file.truncate(size)
        except OSError:  # pragma: no cover
            pytest.skip("this file system keeps no sparse files")
    return path


@pytest.mark.parametrize("kind", sorted(COMPRESSED - {"HEIC", "JXL"}))
def test_a_large_file_that_was_never_filled_is_not_read(tmp_path: Path, kind: str) -> None:
    path = _sparse(tmp_path / "a.jpg", picture_bytes(1, kind)[:200], 512 << 20)
    with LOCAL_FILE_SYSTEM.open(os.fsencode(path)) as file:
        if not file.is_hole_after(HEAD):
            pytest.skip("this file system does not tell where a file's holes are")
    tracemalloc.start()
    try:
        found = fault(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.reason, found.skipped, found.transient) == (NEVER_FILLED, False, False)
    assert peak < 1 << 20


def test_written_zeros_are_judged_like_a_hole(tmp_path: Path) -> None:
    """The same bytes are the same picture, wherever they are kept."""
    path = tmp_path / "a.gif"
    path.write_bytes(b"GIF89a".ljust(UNFILLED, b"\0"))
    assert fault(path).reason == NEVER_FILLED


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_a_black_picture_without_compression_is_read(tmp_path: Path, kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (800, 600)).save(out, kind)
    data = out.getvalue()
    assert len(data) > UNFILLED
    path = _sparse(tmp_path / "black", data.rstrip(b"\0"), len(data))
    assert read_content(os.fsencode(path)).data == data


def test_a_picture_with_zeros_behind_it_is_read(tmp_path: Path) -> None:
    data = picture_bytes(1)
    assert len(data) > HEAD
    path = _sparse(tmp_path / "a.jpg", data, 4 << 20)
    assert read_content(os.fsencode(path)).data == data.ljust(4 << 20, b"\0")


@pytest.mark.parametrize("change", ["whole", "hole", "end"])
def test_a_file_without_holes_has_none(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100_000)
    if change != "whole":
        with open(path, "r+b") as file:
            file.truncate(10_000_000)
            file.seek(0, os.SEEK_END)
            file.write(b"x" if change == "hole" else b"")
    with LOCAL_FILE_SYSTEM.open(os.fsencode(path)) as file:
        assert not file.is_hole_after(HEAD)
        assert not file.is_hole_after(20_000_000)


@pytest.mark.parametrize(
    ("name", "head", "reason"),
    [
        ("huge.jpg", b"\xff\xd8\xff\xe0", "larger than 1 GiB"),
        ("huge.mkv", b"\x1aE\xdf\xa3", "not a picture"),
        ("huge.png", b"", NOT_A_PICTURE),
    ],
)
def test_a_file_beyond_the_limit_or_no_picture_is_not_read(
    tmp_path: Path, name: str, head: bytes, reason: str
) -> None:
    path = _sparse(tmp_path / name, head, MAX_BYTES + 1)
    tracemalloc.start()
    try:
        assert fault(path).reason == reason
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
