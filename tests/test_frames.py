"""The preprocessing `frames`: an animation is found by what comes after its first frame."""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

import clipindex
from clipindex import Preprocessing, QueryOptions, VerifyOptions
from clipindex.errors import ContractMismatch, FileFault
from clipindex.model.averaging import encode_pictures
from clipindex.model.encoder import Model
from clipindex.pictures import frames
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.preprocessing import Geometry
from conftest import TINY, ingest, picture
from test_holes import encoded

CROP = Geometry(224, "crop")
SEVERAL = [picture(number) for number in range(1, 9)]


def animation(kind: str, pictures: list[Image.Image], **options: object) -> bytes:
    if kind == "GIF":  # an octree takes a tenth of what the usual way to a palette does
        octree = Image.Quantize.FASTOCTREE
        pictures = [frame.quantize(256, octree) for frame in pictures]
    if kind == "AVIF":
        options = {"speed": 10, **options}
    if kind == "WEBP":
        options = {"lossless": True, **options}
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:], **options)


def pixels(data: bytes, preprocessing: Preprocessing = Preprocessing.FRAMES) -> Pixels:
    return decode(data, CROP, preprocessing)[0]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_four_frames_at_even_distances_stand_for_an_animation(kind: str) -> None:
    seen = pixels(animation(kind, SEVERAL))
    assert seen.shape == (4, 224, 224, 3)
    for frame, number in zip(seen, (0, 2, 4, 6), strict=True):
        still = pixels(encoded(SEVERAL[number], "PNG")).astype(int)
        assert np.abs(frame - still).mean() < 12  # a GIF has 256 colours


@pytest.mark.parametrize("count", [2, 3])
def test_of_a_short_animation_each_frame_counts_once(count: int) -> None:
    assert len(pixels(animation("PNG", SEVERAL[:count]))) == count


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "JPEG", "TIFF", "BMP"])
def test_a_still_has_the_pixels_of_dct_scaled(kind: str) -> None:
    data = encoded(picture(1, (1000, 950)), kind)
    assert np.array_equal(pixels(data), pixels(data, Preprocessing.DCT_SCALED))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_the_other_preprocessings_see_the_first_frame_alone(kind: str) -> None:
    seen = pixels(animation(kind, SEVERAL), Preprocessing.DCT_SCALED)
    assert seen.shape == (224, 224, 3)


def test_frames_that_show_nothing_are_left_out() -> None:
    black = ImageEnhance.Brightness(SEVERAL[0]).enhance(0)
    seen = pixels(animation("PNG", [black, SEVERAL[0], black, SEVERAL[1]]))
    assert [int(frame.max()) > 0 for frame in seen] == [True, True]


def test_an_animation_that_shows_nothing_at_all_is_its_first_frame() -> None:
    cards = [Image.new("RGB", (64, 64), (shade, shade, shade)) for shade in (10, 90, 200)]
    assert pixels(animation("PNG", cards)).shape == (224, 224, 3)


@pytest.mark.parametrize("share", [0.55, 0.7, 0.9])
def test_a_damaged_later_frame_costs_no_picture(share: float) -> None:
    data = animation("GIF", SEVERAL)
    cut = pixels(data[: int(len(data) * share)])
    assert 2 <= len(cut) <= 4
    assert np.array_equal(cut[0], pixels(data)[0])


def test_noise_in_later_frames_never_upsets_the_run() -> None:
    random = np.random.default_rng(1)
    for kind in ("GIF", "WEBP", "PNG", "AVIF"):
        data = animation(kind, SEVERAL)
        for _ in range(15):
            bad = bytearray(data)
            for at in random.integers(len(bad) // 3, len(bad), 5):
                bad[at] = random.integers(256)
            try:
                assert pixels(bytes(bad)).shape[-3:] == (224, 224, 3)
            except FileFault:
                continue


def test_a_frame_beyond_the_screen_ends_the_animation() -> None:
    data = bytearray(animation("GIF", SEVERAL[:4]))
    descriptor = b"," + bytes(4) + struct.pack("<HH", 320, 240)
    third = [match.start() for match in re.finditer(re.escape(descriptor), data)][2]
    data[third + 5 : third + 9] = b"\xff\xff\xff\xff"
    assert len(pixels(bytes(data))) == 2


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    small = [picture(number % 9, (32, 24)) for number in range(1000)]
    data = animation("GIF", small)
    began = time.process_time()
    assert len(pixels(data)) == 4
    assert time.process_time() - began < 5
    monkeypatch.setattr(frames, "MOST_PIXELS", 320 * 240 * 2)
    assert len(pixels(animation("GIF", SEVERAL))) == 2


def test_an_embedding_is_that_of_the_mean_whatever_is_in_the_batch(tiny_model: Model) -> None:
    one, other = pixels(animation("PNG", SEVERAL)), pixels(encoded(SEVERAL[3], "PNG"))
    (alone,) = encode_pictures(tiny_model, [one])
    together = encode_pictures(tiny_model, [other, one, other])
    assert np.abs(together[1] - alone).max() <= 1e-6
    assert np.abs(together[0] - tiny_model.encode_images(other[np.newaxis])[0]).max() <= 1e-6
    mean = tiny_model.encode_images(one).mean(axis=0)
    assert np.abs(alone - mean / np.linalg.norm(mean)).max() <= 1e-6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    black = Image.new("RGB", (320, 240))
    (folder / "fade.gif").write_bytes(animation("GIF", [black, SEVERAL[0], SEVERAL[0]]))
    (folder / "other.gif").write_bytes(animation("GIF", [black, SEVERAL[4], SEVERAL[4]]))
    SEVERAL[2].save(folder / "still.png")
    return folder


def test_a_collection_made_with_it_finds_an_animation_by_a_later_frame(
    folder: Path, tmp_path: Path
) -> None:
    index = clipindex.Index(tmp_path / "store", model=str(TINY), preprocessing=Preprocessing.FRAMES)
    assert ingest(index, folder).summary.new == 3
    SEVERAL[0].save(tmp_path / "asked.png")
    assert Path(index.query(tmp_path / "asked.png")[0].path).name == "fade.gif"
    (hit,) = index.query(folder / "other.gif", QueryOptions(limit=1))
    assert (Path(hit.path).name, hit.score) == ("other.gif", 1.0)
    again = clipindex.Index(tmp_path / "store", model=str(TINY))
    assert ingest(again, folder).summary.unchanged == 3  # the collection decides
    verified = again.verify(VerifyOptions(embed=True))
    assert (verified.embedded, verified.exit_code) == (3, 0)


def test_another_collection_keeps_its_own_way(
    folder: Path, index: clipindex.Index, tmp_path: Path
) -> None:
    ingest(index, folder)
    assert index.status().preprocessing == "dct-scaled"
    other = clipindex.Index(tmp_path / "store", model=str(TINY), preprocessing=Preprocessing.FRAMES)
    with pytest.raises(ContractMismatch, match="frames"):
        ingest(other, folder)
