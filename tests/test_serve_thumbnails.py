"""Thumbnails over HTTP: made once, kept within bounds, of the bytes that were indexed."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from PIL import Image

import clipindex
from clipindex.files.bounded_cache import FOLDERS, BoundedCache
from clipindex.serve import thumbnails
from clipindex.serve.thumbnails import Thumbnails
from conftest import TINY, make_pictures, picture
from serving import Caller, calling


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> clipindex.Index:
    """Three pictures and a copy of the first."""
    folder = tmp_path_factory.mktemp("thumbnails")
    paths = make_pictures(folder / "pictures", 2)
    picture(9, (1500, 1000)).save(folder / "pictures" / "large.png")
    picture(8, (2100, 700)).save(folder / "pictures" / "scan.tif")
    shutil.copy(paths[0], folder / "pictures" / "copy.jpg")
    index = clipindex.Index(folder / "store", model=str(TINY))
    index.ingest(folder / "pictures")
    return index


@pytest.fixture
def caller(index: clipindex.Index, tmp_path: Path) -> Iterator[Caller]:
    with calling(index, thumbnails=tmp_path / "cache") as caller:
        yield caller


def address_of(caller: Caller, name: str) -> str:
    """The address of a picture's thumbnail, by the name of its file."""
    query = {"q": "a picture", "limit": "10", "copies": "true"}
    results = caller.get("/search", params=query).json()["results"]
    (address,) = [result["thumbnail"] for result in results if result["name"] == name]
    return str(address)


def cached(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "cache").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("side", "size"),
    [
        ("", (320, 213)),
        ("?side=1", (160, 107)),
        ("?side=321", (640, 427)),
        ("?side=99999", (1280, 853)),
    ],
)
def test_a_thumbnail_is_a_jpeg_of_the_next_larger_side(
    caller: Caller, side: str, size: tuple[int, int]
) -> None:
    answer = caller.get(address_of(caller, "large.png") + side)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(answer.content)).size == size


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [("large.png", "PNG", (1500, 1000)), ("scan.tif", "JPEG", (2048, 683))],
)
def test_a_picture_that_no_browser_shows_is_shown_as_a_jpeg(
    caller: Caller, name: str, kind: str, size: tuple[int, int]
) -> None:
    answer = caller.get(address_of(caller, name).replace("/thumb/", "/original/"))
    image = Image.open(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == f"image/{kind.lower()}"
    assert (image.format, image.size) == (kind, size)


@pytest.mark.parametrize("side", ["0", "-1", "many", "1e3", "٣", "1" * 9])
def test_a_side_that_is_no_number_of_pixels_is_refused(caller: Caller, side: str) -> None:
    answer = caller.get(address_of(caller, "000.jpg"), params={"side": side})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("side is a number of pixels")


def test_a_thumbnail_is_made_once_also_for_copies(caller: Caller, tmp_path: Path) -> None:
    first = caller.get(address_of(caller, "000.jpg")).content
    (file,) = cached(tmp_path)
    written = file.stat().st_ino
    assert caller.get(address_of(caller, "000.jpg")).content == first
    assert caller.get(address_of(caller, "copy.jpg")).content == first
    assert [path.stat().st_ino for path in cached(tmp_path)] == [written]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_damaged_cache_file_is_made_anew(caller: Caller, tmp_path: Path) -> None:
    whole = caller.get(address_of(caller, "000.jpg")).content
    (file,) = cached(tmp_path)
    for damage in (b"", b"\0" * 3000, file.read_bytes()[:-1]):
        file.write_bytes(damage)
        assert caller.get(address_of(caller, "000.jpg")).content == whole
        assert file.read_bytes()[4:] == whole


def test_without_a_folder_to_keep_them_thumbnails_are_made_each_time(
    index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with calling(index, thumbnails=tmp_path / "cache") as caller:
        assert caller.get(address_of(caller, "000.jpg")).status_code == 200
    monkeypatch.setattr(thumbnails, "cache_folder", lambda: None)  # a user without a home
    with calling(index) as caller:
        assert caller.get(address_of(caller, "000.jpg")).status_code == 200


def test_a_browser_that_has_it_is_told_so_and_a_named_content_is_kept_for_good(
    caller: Caller,
) -> None:
    address = address_of(caller, "000.jpg")
    answer = caller.get(address)
    etag = answer.headers["etag"]
    assert answer.headers["cache-control"] == "private, no-cache"
    again = caller.get(address, headers={"if-none-match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert caller.get(address, params={"side": "160"}).headers["etag"] != etag
    sha256 = caller.get(address.replace("/thumb/", "/points/")).json()["sha256"]
    for version, is_named in [(sha256[:16], True), ("0" * 16, False), (sha256[:2], False)]:
        named = caller.get(address, params={"v": version})
        assert ("immutable" in named.headers["cache-control"]) is is_named


def test_what_is_not_there_is_a_neutral_picture_with_the_status_that_says_why(
    caller: Caller, tmp_path: Path
) -> None:
    index = caller.service.index
    first, second = make_pictures(tmp_path, 2, first_seed=500)
    first, second = first.rename(tmp_path / "gone.jpg"), second.rename(tmp_path / "changed.jpg")
    index.ingest(files=[first, second])
    gone, changed = address_of(caller, "gone.jpg"), address_of(caller, "changed.jpg")
    first.unlink()
    picture(77).save(second)
    for address in (gone, changed):
        answer = caller.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (410, "image/svg+xml")
        assert answer.headers["cache-control"] == "no-store"
        assert b"<svg" in answer.content
    assert cached(tmp_path) == []
    unknown = caller.get("/thumb/" + "0" * 32)
    assert unknown.status_code == 404
    assert "error" in unknown.json()


def test_those_who_ask_meanwhile_wait_for_the_one_that_is_made() -> None:
    made = []

    async def ask() -> list[Any]:
        several, start = Thumbnails(), asyncio.Event()

        async def make() -> bytes:
            made.append(1)
            await start.wait()
            return b"data"

        waiting = [asyncio.ensure_future(several._once("key", make)) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # whoever gives up stops no other
        await asyncio.sleep(0)
        start.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert several.making == {}
        return answers

    first, *others = asyncio.run(ask())
    assert isinstance(first, asyncio.CancelledError)
    assert others == [b"data"] * 4
    assert made == [1]


def test_the_cache_stays_within_its_bytes_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = BoundedCache(tmp_path, most_bytes=FOLDERS * 1000)
    for number in range(9):  # of 104 bytes each: within the 1,000 of its folder
        cache.put(f"aa{number}", bytes(100))
        os.utime(tmp_path / "aa" / f"aa{number}", (number, number))
    assert cache.get("aa0") == bytes(100)  # used now
    cache.put("aa9", bytes(100))
    assert sum(path.stat().st_size for path in (tmp_path / "aa").iterdir()) <= 900
    assert cache.get("aa0") == bytes(100)
    assert cache.get("aa1") is None
    assert cache.get("aa9") == bytes(100)
    cache.put("bb1", bytes(2000))  # larger than a folder's share
    assert cache.get("bb1") is None


def test_several_writers_of_one_cache_do_not_disturb_each_other(tmp_path: Path) -> None:
    cache, start = BoundedCache(tmp_path, most_bytes=FOLDERS * 3000), Event()

    def work(writer: int) -> None:
        start.wait()
        for number in range(60):
            key = f"aa{(writer * 7 + number) % 40}"
            cache.put(key, key.encode() * 50)
            assert cache.get(key) in (None, key.encode() * 50)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, writer) for writer in range(4)]
        start.set()
        for one in done:
            one.result()
    assert sum(path.stat().st_size for path in (tmp_path / "aa").iterdir()) <= 3000
