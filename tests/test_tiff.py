"""TIFFs of every layout in use: seen as the same picture saved plainly, or refused with the reason.

The files are made here by a small writer, since Pillow writes only a few of these layouts.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from clipindex.errors import FileFault
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.formats import picture_format
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from clipindex.pictures.tiff.picture import MAX_HELD, open_tiff
from conftest import picture

CROP = Geometry(224, "crop")
Values = np.ndarray[tuple[int, ...], np.dtype[Any]]
Page = dict[int, list[int] | bytes]  # tag -> numbers, or bytes as they are

SIZE = (301, 227)
SEEN = picture(4, SIZE)
COLOUR = np.asarray(SEEN)
GREY = np.asarray(SEEN.convert("L"))[:, :, None]
PLAIN, LZW, JPEG, DEFLATE, PACKBITS = 1, 5, 7, 8, 32773
OFFSETS, LENGTHS, TILE_OFFSETS, TILE_LENGTHS, SUB_IFDS = 273, 279, 324, 325, 330


# --- making TIFFs ----------------------------------------------------------------------------


def tiff(*pages: Page, order: str = "<", big: bool = False, below: int = 0) -> bytes:
    """A file of pages, each with its pieces as `bytes` lists under OFFSETS or TILE_OFFSETS.

    The last `below` pages are listed in the first one's SubIFDs, the others follow each other.
    """
    word, width = ("Q", 20) if big else ("L", 12)
    mark = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    out = bytearray(
        mark + (struct.pack(order + "HH", 8, 0) if big else b"") + bytes(8 if big else 4)
    )
    chain = len(out) - (8 if big else 4)  # where the offset of the next directory belongs
    starts: list[int] = []
    for number, page in reversed([*enumerate(pages)]):
        tags = dict(page)
        if number == 0 and below:
            tags[SUB_IFDS] = starts[:below][::-1]
        for tag in (OFFSETS, TILE_OFFSETS):
            if tag in tags:
                pieces: Any = tags[tag]
                tags[tag + (6 if tag == OFFSETS else 1)] = [len(piece) for piece in pieces]
                tags[tag] = []
                for piece in pieces:
                    tags[tag].append(len(out))  # type: ignore[union-attr]
                    out += piece + bytes(len(piece) % 2)
        entries = b""
        for tag, values in sorted(tags.items()):
            if isinstance(values, bytes):
                kind, data, count = 7, values, len(values)
            else:
                long = tag in (OFFSETS, LENGTHS, TILE_OFFSETS, TILE_LENGTHS, SUB_IFDS)
                large = any(value > 65535 for value in values)
                kind = 4 if long or large else 3
                data = struct.pack(f"{order}{len(values)}{'L' if kind == 4 else 'H'}", *values)
                count = len(values)
            if len(data) > (8 if big else 4):
                out += bytes(len(out) % 2)
                place = len(out)
                out += data
                data = struct.pack(order + word, place)
            head = struct.pack(order + ("HHQ" if big else "HHL"), tag, kind, count)
            entries += head + data.ljust(8 if big else 4, b"\0")
        out += bytes(len(out) % 2)
        starts.append(len(out))
        out += struct.pack(order + ("Q" if big else "H"), len(entries) // width) + entries
        following = starts[-2] if len(starts) - 1 > 0 and _is_chained(number, pages, below) else 0
        out += struct.pack(order + word, following)
    struct.pack_into(order + word, out, chain, starts[-1])
    return bytes(out)


def _is_chained(number: int, pages: tuple[Page, ...], below: int) -> bool:
    return number < len(pages) - below - 1


def page(  # noqa: PLR0913 (what a TIFF page has)
    values: Values,
    photometric: int,
    *,
    order: str = "<",
    compression: int = PLAIN,
    predictor: int = 1,
    planes: bool = False,
    tile: tuple[int, int] | None = None,
    rows: int = 50,
    bits: int = 0,
    **tags: Any,
) -> Page:
    """A page of [rows, width, samples] in their own type; `bits` packs whole numbers closer."""
    height, width, samples = values.shape
    bits = bits or values.dtype.itemsize * 8
    formats = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    layers = [values[:, :, n : n + 1] for n in range(samples)] if planes else [values]
    blocks = [block for layer in layers for block in _blocks(layer, tile, rows)]
    pieces: Any = [
        _compressed(_raw(block, order, bits, predictor), compression) for block in blocks
    ]
    made: Page = {
        256: [width],
        257: [height],
        258: [bits] * samples,
        259: [compression],
        262: [photometric],
        277: [samples],
        284: [2 if planes else 1],
        339: [formats] * samples,
    }
    if tile:
        made |= {322: [tile[0]], 323: [tile[1]], TILE_OFFSETS: pieces}
    else:
        made |= {278: [rows], OFFSETS: pieces}
    if predictor > 1:
        made[317] = [predictor]
    return made | {int(name.removeprefix("t")): value for name, value in tags.items()}


def _blocks(layer: Values, tile: tuple[int, int] | None, rows: int) -> Iterable[Values]:
    height, width = layer.shape[:2]
    if tile is None:
        return [layer[at : at + rows] for at in range(0, height, rows)]
    across, down = tile
    spare = ((0, -height % down), (0, -width % across), (0, 0))
    padded = np.pad(layer, spare, mode="edge")
    return [
        padded[y : y + down, x : x + across]
        for y in range(0, height, down)
        for x in range(0, width, across)
    ]


def _raw(block: Values, order: str, bits: int, predictor: int) -> bytes:
    size = block.dtype.itemsize
    if bits != size * 8:
        ones = block.reshape(len(block), -1, 1) >> np.arange(bits - 1, -1, -1) & 1
        return np.packbits(ones.reshape(len(block), -1).astype(np.uint8), axis=1).tobytes()
    if predictor == 2:
        whole = block.astype(block.dtype.newbyteorder("=")).view(f"u{size}")
        block = np.diff(whole, axis=1, prepend=np.zeros_like(whole[:, :1])).view(block.dtype)
    if predictor == 3:
        heavy_first = block.astype(block.dtype.newbyteorder(">")).reshape(len(block), -1, 1)
        shuffled = heavy_first.view(np.uint8).swapaxes(1, 2).reshape(len(block), -1, block.shape[2])
        return np.diff(shuffled, axis=1, prepend=np.zeros_like(shuffled[:, :1])).tobytes()
    return block.astype(block.dtype.newbyteorder(order)).tobytes()


def _compressed(raw: bytes, compression: int) -> bytes:
    if compression in (DEFLATE, 32946):
        return zlib.compress(raw)
    if compression == 34925:
        return lzma.compress(raw, check=lzma.CHECK_NONE)
    if compression == PACKBITS:
        runs = (raw[at : at + 128] for at in range(0, len(raw), 128))
        return b"".join(
            bytes([257 - len(run), run[0]])
            if len(run) > 1 and len({*run}) == 1
            else bytes([len(run) - 1]) + run
            for run in runs
        )
    if compression in (LZW, 50000):  # by Pillow: one strip of bytes
        name = {LZW: "tiff_lzw", 50000: "zstd"}[compression]
        with Image.open(io.BytesIO(coded(Image.frombytes("L", (len(raw), 1), raw), name))) as made:
            offset, length = made.tag_v2[OFFSETS][0], made.tag_v2[LENGTHS][0]  # type: ignore[attr-defined]
            return made.fp.getvalue()[offset : offset + length]  # type: ignore[union-attr, attr-defined]
    return raw


def coded(image: Image.Image, compression: str | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "TIFF", compression=compression, **options)
    return out.getvalue()


def strips_of(data: bytes) -> list[bytes]:
    """The strips of a TIFF that Pillow made."""
    with Image.open(io.BytesIO(data)) as image:
        places = zip(image.tag_v2[OFFSETS], image.tag_v2[LENGTHS], strict=True)  # type: ignore[attr-defined]
        return [data[offset : offset + length] for offset, length in places]


# --- reading them ----------------------------------------------------------------------------


def seen(data: bytes) -> Pixels:
    return decode(data, CROP, Preprocessing.EXACT)[0]


def facts(data: bytes) -> PictureFacts:
    return decode(data, CROP, Preprocessing.EXACT)[1]


def reason(data: bytes) -> str:
    with pytest.raises(FileFault) as caught:
        decode(data, CROP, Preprocessing.EXACT)
    return caught.value.reason


def plainly(image: Image.Image) -> Pixels:
    out = io.BytesIO()
    image.save(out, "PNG")
    return seen(out.getvalue())


def difference(one: Pixels, other: Pixels) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


DEPTHS: dict[str, Callable[[Values], Values]] = {
    "8 bit": lambda v: v,
    "16 bit": lambda v: v.astype(np.uint16) * 257,
    "32 bit": lambda v: v.astype(np.uint32) * 0x01010101,
    "64 bit": lambda v: v.astype(np.uint64) * 0x0101010101010101,
    "signed 8 bit": lambda v: (v.astype(int) - 128).astype(np.int8),
    "signed 16 bit": lambda v: (v.astype(int) * 257 - 32768).astype(np.int16),
    "signed 32 bit": lambda v: (v.astype(np.int64) * 0x01010101 - 2**31).astype(np.int32),
    "half float": lambda v: (v / 255).astype(np.float16),
    "float": lambda v: (v / 255).astype(np.float32),
    "double": lambda v: v / 255,
}
COMPRESSIONS = {
    "plain": PLAIN,
    "LZW": LZW,
    "deflate": DEFLATE,
    "old deflate": 32946,
    "PackBits": PACKBITS,
    "LZMA": 34925,
    "Zstandard": 50000,
}
EXPECTED = {2: plainly(SEEN), 1: plainly(SEEN.convert("L"))}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("planes", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("photometric", [1, 2], ids=["grey", "RGB"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth_shows_the_same_picture(
    depth: str, photometric: int, planes: bool, order: str
) -> None:
    values = DEPTHS[depth](COLOUR if photometric == 2 else GREY)
    data = tiff(page(values, photometric, planes=planes, order=order), order=order)
    assert difference(seen(data), EXPECTED[photometric]) <= 1


PREDICTED = [
    (depth, name, predictor)
    for depth in ("8 bit", "16 bit", "32 bit", "half float", "float", "double")
    for name in COMPRESSIONS
    for predictor in (1, 2, 3)
    if predictor == 1 or name not in ("plain", "PackBits")
    if predictor < 3 or depth in ("half float", "float", "double")
]


@pytest.mark.parametrize("tile", [None, (64, 48)], ids=["strips", "tiles"])
@pytest.mark.parametrize(("depth", "compression", "predictor"), PREDICTED)
def test_every_compression_and_predictor_shows_the_same_picture(
    depth: str, compression: str, predictor: int, tile: tuple[int, int] | None
) -> None:
    code, values = COMPRESSIONS[compression], DEPTHS[depth](COLOUR)
    made = page(values, 2, compression=code, predictor=predictor, tile=tile, order=">")
    assert difference(seen(tiff(made, order=">")), EXPECTED[2]) <= 1


@pytest.mark.parametrize("tile", [None, (64, 48)], ids=["strips", "tiles"])
def test_planes_tiles_and_bigtiff_go_together(tile: tuple[int, int] | None) -> None:
    made = page(DEPTHS["16 bit"](COLOUR), 2, planes=True, tile=tile, compression=LZW, predictor=2)
    assert difference(seen(tiff(made, big=True)), EXPECTED[2]) <= 1


@pytest.mark.parametrize("depth", ["8 bit", "16 bit", "32 bit"])
def test_numbers_that_are_called_signed_but_are_not_are_told_by_their_neighbours(
    depth: str,
) -> None:
    """As ImageMagick writes them; nearly all viewers pass over what they are called."""
    made = page(DEPTHS[depth](COLOUR), 2, compression=LZW) | {339: [2, 2, 2]}
    assert difference(seen(tiff(made)), EXPECTED[2]) <= 1


@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_faxes_of_several_strips(compression: str, order: str, big: bool) -> None:
    image = SEEN.convert("L").point(lambda value: 255 * (value > 128)).convert("1")
    bilevel = np.asarray(image.convert("L"))
    strips: Any = []
    for at in range(0, SIZE[1], 50):
        part = coded(Image.fromarray(bilevel[at : at + 50]).convert("1"), compression)
        strips += strips_of(part)
    made = page(GREY[:, :, :1] & 1, 1, bits=1) | {OFFSETS: strips}
    code = {"tiff_ccitt": 2, "group3": 3, "group4": 4}[compression]
    made |= {259: [code], 271: b"Acme\0"}
    data = tiff(made, order=order, big=big)
    assert difference(seen(data), plainly(Image.fromarray(bilevel))) == 0
    assert facts(data).camera == "Acme"


@pytest.mark.parametrize("named", ["by an offset", "as a strip"])
def test_old_style_jpeg_is_seen_and_refused_when_cut(named: str) -> None:
    out = io.BytesIO()
    SEEN.save(out, "JPEG", quality=95, subsampling=0)
    made = page(COLOUR, 6, rows=SIZE[1]) | {259: [6], 530: [1, 1], OFFSETS: [out.getvalue()]}  # type: ignore[dict-item]
    if named == "by an offset":
        made |= {513: [8], 514: [len(out.getvalue())]}
    data = tiff(made)
    assert np.abs(seen(data).astype(int) - EXPECTED[2]).mean() < 2
    end = 8 + len(out.getvalue())
    damage = "cut short" if named == "by an offset" else "has a hole"
    assert damage in reason(data[: end // 2] + bytes(end - end // 2) + data[end:])


def test_old_style_jpeg_in_strips_needs_no_end_marker() -> None:
    """Old scanners wrote strips of coded data alone, and the tables apart from it."""
    out = io.BytesIO()
    SEEN.save(out, "JPEG", quality=95, subsampling=0)
    stream = out.getvalue().removesuffix(b"\xff\xd9")
    made = page(COLOUR, 6, rows=SIZE[1]) | {259: [6], 530: [1, 1], OFFSETS: [stream]}  # type: ignore[dict-item]
    assert np.abs(seen(tiff(made)).astype(int) - EXPECTED[2]).mean() < 2
    whole = tiff(made | {LENGTHS: [len(stream)]})
    beyond = whole.replace(
        struct.pack("<HHLL", LENGTHS, 4, 1, len(stream)), b"\x17\x01\4\0\1\0\0\0\xff\xff\xff\0"
    )
    assert "cut short" in reason(beyond)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 10, 12, 14, 24])
@pytest.mark.parametrize("photometric", [0, 1, 2], ids=["0 is white", "0 is black", "RGB"])
def test_samples_of_odd_sizes_are_unpacked(bits: int, photometric: int) -> None:
    coarse = ((COLOUR if photometric == 2 else GREY) / 255 * (2**bits - 1)).round()
    stored = 2**bits - 1 - coarse if photometric == 0 else coarse
    data = tiff(page(stored.astype(np.uint32), photometric, bits=bits))
    expected = (coarse * (255 / (2**bits - 1))).round().astype(np.uint8)
    assert difference(seen(data), plainly(Image.fromarray(expected.squeeze()))) <= 1


@pytest.mark.parametrize("depth", [name for name in DEPTHS if not name.startswith("signed")])
def test_zero_is_white_where_the_file_says_so(depth: str) -> None:
    data = tiff(page(DEPTHS[depth](255 - GREY), 0, compression=DEFLATE))
    assert difference(seen(data), EXPECTED[1]) <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("low", [False, True], ids=["16-bit map", "8-bit map"])
def test_palettes_are_resolved(bits: int, low: bool) -> None:
    count = min(1 << bits, 256)
    indexed = SEEN.quantize(count)
    colours = np.zeros((1 << bits, 3), int)
    table = np.array(indexed.getpalette()).reshape(-1, 3)[: 1 << bits]
    colours[: len(table)] = table
    entries = (colours if low else colours * 257).T.ravel().tolist()
    indices = np.asarray(indexed)[:, :, None].astype(np.uint16)
    data = tiff(page(indices, 3, bits=bits, t320=entries))
    assert difference(seen(data), plainly(indexed.convert("RGB"))) == 0


LAB = np.asarray(SEEN.convert("LAB"))  # a* and b* signed
CMYK = np.asarray(SEEN.convert("CMYK"))


@pytest.mark.parametrize("planes", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("photometric", [8, 9], ids=["CIELAB", "ICCLAB"])
def test_lab_is_seen_as_colours(photometric: int, depth: int, planes: bool) -> None:
    signed = LAB.view(np.int8).astype(int)
    if photometric == 9:
        wide = np.where([True, False, False], LAB, signed + 128) * (1 if depth == 8 else 256)
    else:
        wide = np.where([True, False, False], LAB.astype(int), signed)
        wide = wide * ([1, 1, 1] if depth == 8 else [257, 256, 256])
    values = (wide & (2**depth - 1)).astype(f"u{depth // 8}")
    data = tiff(page(values, photometric, planes=planes))
    assert difference(seen(data), plainly(SEEN.convert("LAB").convert("RGB"))) <= 1


@pytest.mark.parametrize("planes", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("depth", ["8 bit", "16 bit"])
def test_cmyk_is_seen_as_colours(depth: str, planes: bool) -> None:
    data = tiff(page(DEPTHS[depth](CMYK), 5, planes=planes, compression=DEFLATE))
    assert difference(seen(data), plainly(SEEN.convert("CMYK").convert("RGB"))) == 0


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 2), (1, 2)])
@pytest.mark.parametrize("compression", [PLAIN, LZW, DEFLATE])
def test_ycbcr_is_seen_as_colours_whatever_pixels_share_them(
    subsampling: tuple[int, int], compression: int
) -> None:
    across, down = subsampling
    flat = np.repeat(np.repeat(COLOUR[::4, ::4], 4, axis=0), 4, axis=1)[: SIZE[1], : SIZE[0]]
    values = np.asarray(Image.fromarray(flat).convert("YCbCr"))
    spare = ((0, -SIZE[1] % down), (0, -SIZE[0] % across), (0, 0))
    wide = np.pad(values, spare, mode="edge")
    shape = (wide.shape[0] // down, down, wide.shape[1] // across, across)
    bright = wide[:, :, 0].reshape(shape).swapaxes(1, 2).reshape(shape[0], shape[2], -1)
    blocks = np.concatenate((bright, wide[::down, ::across, 1:]), axis=2)
    made = page(values, 6, compression=compression, t530=[across, down], rows=48)
    pieces: Any = [
        _compressed(blocks[at : at + 48 // down].tobytes(), compression)
        for at in range(0, len(blocks), 48 // down)
    ]
    expected = plainly(Image.fromarray(values, "YCbCr").convert("RGB"))
    rounding = 0 if compression == PLAIN else 3  # libtiff's arithmetic
    assert difference(seen(tiff(made | {OFFSETS: pieces})), expected) <= rounding


ALPHAS = {"none of it": 0, "associated": 1, "plain": 2}


def test_ycbcr_may_have_the_coefficients_of_television() -> None:
    shares = np.array((0.2126, 0.7152, 0.0722))
    bright = (COLOUR @ shares)[:, :, None]
    differences = (COLOUR[:, :, 2::-2] - bright) / (2 - 2 * shares[2::-2]) + 128
    values = np.concatenate((bright, differences), axis=2).round().clip(0, 255).astype(np.uint8)
    rationals = struct.pack("<6L", 2126, 10000, 7152, 10000, 722, 10000)
    data = tiff(page(values, 6, t529=rationals, t530=[1, 1]))
    data = data.replace(struct.pack("<HHL", 529, 7, 24), struct.pack("<HHL", 529, 5, 3))
    assert difference(seen(data), plainly(SEEN)) <= 3
    none = data.replace(rationals, struct.pack("<6L", 0, 1, 1, 1, 0, 1))
    assert "coefficients" in reason(none)


@pytest.mark.parametrize("depth", ["8 bit", "16 bit", "32 bit", "float"])
@pytest.mark.parametrize("photometric", [1, 2], ids=["grey", "RGB"])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_alpha_lies_on_white_and_other_extra_samples_do_not(
    alpha: str, photometric: int, depth: str
) -> None:
    colour = COLOUR if photometric == 2 else GREY
    clear = np.full_like(GREY, 255)
    clear[:, 150:] = 51
    if alpha == "associated":
        stored = (colour.astype(int) * clear // 255).astype(np.uint8)
    else:
        stored = colour
    values = DEPTHS[depth](np.concatenate((stored, clear), axis=2))
    data = tiff(page(values, photometric, t338=[ALPHAS[alpha]]))
    mixed = colour + (255 - colour.astype(float)) * (1 - clear / 255)
    expected = colour if alpha == "none of it" else mixed.round().astype(np.uint8)
    within = 6 if alpha == "associated" else 1  # what 8 bits have lost does not come back
    assert difference(seen(data), plainly(Image.fromarray(expected.squeeze()))) <= within


def test_planes_that_are_not_looked_at_may_be_missing() -> None:
    made = page(np.concatenate((GREY, GREY), axis=2), 1, planes=True, rows=SIZE[1], t338=[0])
    data = tiff(made)
    places = struct.pack("<2L", 8, 8 + GREY.size + GREY.size % 2)
    assert places in data
    cut = data.replace(places, struct.pack("<2L", 8, 0))
    assert difference(seen(cut), plainly(Image.fromarray(GREY[:, :, 0]))) == 0


def test_more_extra_samples_than_one_are_passed_over() -> None:
    extra = np.concatenate((CMYK, GREY, GREY), axis=2)
    data = tiff(page(extra, 5, t338=[0, 0]))
    assert difference(seen(data), plainly(SEEN.convert("CMYK").convert("RGB"))) == 0


@pytest.mark.parametrize("compression", [PLAIN, LZW, DEFLATE, PACKBITS])
def test_bits_may_be_stored_backwards(compression: int) -> None:
    table = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
    made = page(DEPTHS["16 bit"](COLOUR), 2, compression=compression, t266=[2])
    made[OFFSETS] = [piece.translate(table) for piece in made[OFFSETS]]  # type: ignore[union-attr, assignment]
    assert difference(seen(tiff(made)), EXPECTED[2]) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("depth", ["8 bit", "16 bit"])
def test_pictures_are_turned_upright(depth: str, orientation: int) -> None:
    moves = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = SEEN.transpose(moves[orientation]) if orientation > 1 else SEEN
    data = tiff(page(DEPTHS[depth](np.asarray(stored)), 2, t274=[orientation]))
    assert difference(seen(data), EXPECTED[2]) <= 1
    assert (facts(data).width, facts(data).height) == SIZE


# --- as Pillow shows them --------------------------------------------------------------------

PILLOW = [
    (mode, compression)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", "I;16", "F", "I")
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd")
]
PILLOW += [(mode, "jpeg") for mode in ("L", "RGB", "CMYK", "YCbCr")]
PILLOW += [("1", name) for name in ("group3", "group4", "tiff_ccitt")]


@pytest.mark.parametrize(("mode", "compression"), PILLOW)
def test_what_pillow_writes_looks_as_it_does_in_pillow(mode: str, compression: str | None) -> None:
    if mode == "I;16":
        image = Image.fromarray(DEPTHS["16 bit"](GREY.squeeze()))
    else:
        image = SEEN.convert(mode)
    data = coded(image, compression)
    with Image.open(io.BytesIO(data)) as opened:
        try:
            loaded = opened.convert("L" if mode == "1" else opened.mode)
        except OSError as error:  # before 12.3: uncompressed YCbCr
            pytest.skip(f"Pillow cannot read what it wrote: {error}")
    if mode in ("I;16", "I", "F"):
        expected = EXPECTED[1] if mode == "I;16" else seen(coded(image))
    else:
        white = Image.new("RGBA", SIZE, "white")
        if mode in ("LA", "RGBA"):
            loaded = Image.alpha_composite(white, loaded.convert("RGBA"))
        expected = plainly(loaded.convert("RGB"))
    assert difference(seen(data), expected) == 0


@pytest.mark.parametrize("photometric", [2, 6], ids=["RGB", "YCbCr"])
@pytest.mark.parametrize("tile", [None, (64, 48)], ids=["strips", "tiles"])
def test_jpeg_strips_and_tiles_with_shared_tables(
    photometric: int, tile: tuple[int, int] | None
) -> None:
    """As libtiff writes them: the tables once, each piece a JPEG without a word on its colours."""
    pieces: Any = []
    for block in _blocks(COLOUR, tile, 48):
        out = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(block))
        image.save(out, "JPEG", quality=95, subsampling=0, keep_rgb=photometric == 2)
        pieces.append(without_jfif(out.getvalue()))
    tables = pieces[0][: pieces[0].index(b"\xff\xc0")] + b"\xff\xd9"
    made = page(COLOUR, photometric, compression=JPEG, tile=tile, rows=48)
    made |= {TILE_OFFSETS if tile else OFFSETS: pieces, 347: tables, 530: [1, 1]}
    assert np.abs(seen(tiff(made)).astype(int) - EXPECTED[2]).mean() < 2


def without_jfif(data: bytes) -> bytes:
    """A JPEG without what names its colours."""
    for mark in (b"\xff\xe0", b"\xff\xee"):
        if mark in data[:40]:
            at = data.index(mark)
            data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return data


# --- which page ------------------------------------------------------------------------------

RED = np.full((72, 96, 3), [255, 0, 0], np.uint8)  # whoever sees it has taken the wrong page


@pytest.mark.parametrize(
    "pages",
    [
        (page(RED, 2, t254=[1]), page(COLOUR, 2, t254=[0])),
        (page(RED, 2, t255=[2]), page(COLOUR, 2, t255=[1])),
        (page(RED, 2, t254=[4]), page(COLOUR, 2)),
        (page(COLOUR, 2), page(RED, 2, t254=[1])),
        (page(COLOUR, 2, t254=[2]), page(np.tile(RED, (9, 9, 1)), 2, t254=[2])),
        (page(RED, 2, t254=[1]), page(COLOUR, 2, t254=[1])),
        (page(GREY, 4, t254=[4], bits=1), page(COLOUR, 2)),
    ],
    ids=[
        "a smaller copy first",
        "marked as in TIFF 5",
        "a mask first",
        "a smaller copy last",
        "a document of two pages",
        "nothing but copies",
        "a mask by its photometric interpretation",
    ],
)
@pytest.mark.parametrize("below", [0, 1], ids=["in a chain", "below the first"])
def test_the_page_that_is_the_picture_is_taken(pages: tuple[Page, Page], below: int) -> None:
    data = tiff(*pages, below=below)
    assert picture_format(data) == "TIFF"
    assert difference(seen(data), EXPECTED[2]) == 0
    assert (facts(data).width, facts(data).height) == SIZE


def test_a_thumbnail_that_does_not_say_so_is_passed_over() -> None:
    large = picture(4, (800, 600))
    shown = tiff(page(RED, 2), page(np.asarray(large), 2))
    assert difference(seen(shown), plainly(large)) == 0
    other_shape = picture(4, (800, 500))
    first = tiff(page(RED, 2), page(np.asarray(other_shape), 2))
    assert (seen(first) == [255, 0, 0]).all()


@pytest.mark.parametrize("offset", [1 << 62, 1 << 63, (1 << 64) - 1])
def test_a_directory_beyond_what_memory_can_hold_is_none(offset: int) -> None:
    head = b"II+\0\x08\0\0\0"
    assert picture_format(head + struct.pack("<Q", offset)) == "TIFF"
    assert "without a picture" in reason(head + struct.pack("<Q", offset) + bytes(100))


def test_pages_that_go_round_in_a_circle_end() -> None:
    data = bytearray(tiff(page(RED, 2, t254=[1]), page(RED, 2, t254=[1])))
    first = int.from_bytes(data[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    data[end : end + 4] = data[4:8]
    assert (seen(bytes(data)) == [255, 0, 0]).all()


@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("order", "<>")
def test_facts_are_those_of_the_page(order: str, big: bool) -> None:
    when = b"2019:07:04 10:11:12\0"
    exif = {271: b"Acme\0", 272: b"One\0", 306: when}
    made = page(DEPTHS["16 bit"](COLOUR), 2) | exif
    data = tiff(page(RED, 2, t254=[1]), made, order=order, big=big)
    assert facts(data) == PictureFacts(*SIZE, "TIFF", camera="Acme One")


def test_the_exif_directory_and_place_of_a_tiff_are_read() -> None:
    tags = ImageFileDirectory_v2()
    tags[274] = 6
    tags[34665] = {36867: "2019:07:04 10:11:12"}
    tags[34853] = {1: "S", 2: (10.0, 30.0, 0.0), 3: "E", 4: (20.0, 0.0, 0.0)}
    data = coded(SEEN, tiffinfo=tags)
    expected = PictureFacts(SIZE[1], SIZE[0], "TIFF", "2019-07-04T10:11:12", None, (-10.5, 20.0))
    assert facts(data) == expected


# --- refused ---------------------------------------------------------------------------------

SIXTEEN = DEPTHS["16 bit"](COLOUR)
UNSUPPORTED = {
    "64-bit float LAB TIFF": page(LAB / 255, 8),
    "16-bit RGB TIFF compressed as JPEG": page(SIXTEEN, 2) | {259: [JPEG]},
    "JPEG 2000 compressed TIFF": page(COLOUR, 2) | {259: [34712]},
    "LERC compressed TIFF": page(COLOUR, 2) | {259: [34887]},
    "WebP compressed TIFF": page(COLOUR, 2) | {259: [50001]},
    "TIFF with compression 4711": page(COLOUR, 2) | {259: [4711]},
    "LogLuv compressed TIFF": page(COLOUR, 2) | {259: [34676], 262: [32845]},
    "8-bit LogLuv TIFF": page(COLOUR, 32845),
    "1-bit mask TIFF": page(GREY, 4, bits=1, t254=[4]),
    "8-bit ITU LAB TIFF": page(LAB, 10),
    "TIFF with photometric interpretation 99": page(COLOUR, 99),
    "TIFF with samples of complex numbers": page(COLOUR, 2) | {339: [6, 6, 6]},
    "TIFF with samples of 5, 6, 5 bits": page(COLOUR, 2) | {258: [5, 6, 5]},
    "24-bit float RGB TIFF": page(COLOUR, 2) | {258: [24] * 3, 339: [3] * 3},
    "RGB TIFF with 2 samples a pixel": page(COLOUR[:, :, :2], 2),
    "TIFF with inks other than CMYK": page(CMYK, 5, t332=[2]),
    "8-bit YCbCr TIFF in planes": page(COLOUR, 6, planes=True),
    "16-bit RGB TIFF with predictor 3": page(SIXTEEN, 2, compression=LZW) | {317: [3]},
    "8-bit RGB TIFF with predictor 9": page(COLOUR, 2, compression=LZW) | {317: [9]},
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_is_named(name: str) -> None:
    said = reason(tiff(UNSUPPORTED[name]))
    assert said.startswith(name)
    assert said.endswith(" is not supported")


def damaged(compression: int, change: Callable[[bytes], bytes], **options: Any) -> bytes:
    made = page(COLOUR, 2, compression=compression, **options)
    pieces: Any = made[OFFSETS]
    made[OFFSETS] = [*pieces[:2], change(pieces[2]), *pieces[3:]]  # type: ignore[list-item]
    return tiff(made)


@pytest.mark.parametrize("compression", [LZW, DEFLATE, PACKBITS, 34925, 50000])
@pytest.mark.parametrize("what", ["zeros", "half", "a hole"])
def test_damaged_strips_are_refused(compression: int, what: str) -> None:
    changes: dict[str, Callable[[bytes], bytes]] = {
        "zeros": lambda piece: bytes(len(piece)),
        "half": lambda piece: piece[: len(piece) // 2],
        "a hole": lambda piece: piece[:500] + bytes(2000) + piece[2500:],
    }
    assert reason(damaged(compression, changes[what])).startswith("damaged")


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "jpeg", "tiff_lzw"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_refused(compression: str, part: float) -> None:
    """Its directory comes first, as in files that are written in one go."""
    image = SEEN if compression in ("jpeg", "tiff_lzw") else SEEN.convert("1")
    data = coded(image, compression)
    made: Page = {
        256: [SIZE[0]],
        257: [SIZE[1]],
        258: [8, 8, 8] if image is SEEN else [1],
        262: [6 if compression == "jpeg" else 2 if image is SEEN else 1],
        277: [3 if image is SEEN else 1],
    }
    with Image.open(io.BytesIO(data)) as opened:
        tags = opened.tag_v2  # type: ignore[attr-defined]
        made |= {259: [tags[259]], 278: [tags[278]], 530: [2, 2]}
        if 347 in tags:
            made[347] = tags[347]
    strips: Any = strips_of(data)
    whole = tiff(made | {OFFSETS: strips})
    assert seen(whole).shape == (224, 224, 3)
    assert reason(whole[: int(len(whole) * part)]).startswith("damaged")


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({256: [0]}, "without a picture"),
        ({278: [0]}, "strips of no rows"),
        ({278: [10]}, "5 of 23 strips are listed"),
        ({322: [0], 323: [16]}, "tiles of 0x16"),
        ({277: [0]}, "0 samples"),
        ({277: [60000]}, "60000 samples"),
    ],
)
def test_headers_that_make_no_sense_are_named(tags: Page, said: str) -> None:
    assert said in reason(tiff(page(COLOUR, 2) | tags))


def test_strips_outside_the_file_are_refused() -> None:
    data = bytearray(tiff(page(COLOUR, 2)))
    at = data.index(struct.pack("<HHL", OFFSETS, 4, 5)) + 8
    lists = int.from_bytes(data[at : at + 4], "little")
    for offset, said in ((0, "left out"), (len(data) - 10, "cut short"), (2**32 - 1, "cut short")):
        data[lists + 8 : lists + 12] = offset.to_bytes(4, "little")
        assert said in reason(bytes(data))


def test_an_empty_tail_is_told_from_a_dark_picture() -> None:
    """A download that was given its full size at once, and broke off."""
    made = tiff(page(COLOUR, 2, rows=SIZE[1]))
    end = 8 + COLOUR.size
    for part in (0.3, 0.5, 0.8):
        at = int(end * part)
        assert "zeros" in reason(made[:at] + bytes(end - at) + made[end:])
    dark = COLOUR.copy()
    dark[100:] = 0
    assert difference(seen(tiff(page(dark, 2))), plainly(Image.fromarray(dark))) == 0
    dark[60:, 120:] = 0
    assert difference(seen(tiff(page(dark, 2))), plainly(Image.fromarray(dark))) == 0


def test_pictures_that_take_too_much_memory_are_refused_by_their_header() -> None:
    huge = page(np.zeros((1, 1, 3)), 2, compression=DEFLATE)
    data = tiff(huge | {256: [9000], 257: [9000], 278: [9000]})
    said = reason(data)
    assert "9000x9000 pixels" in said
    assert "MiB of memory" in said
    assert MAX_HELD < 2 << 30


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_bytes_upset_the_decoder(data: st.DataObject) -> None:
    """A picture or a fault, never another error."""
    whole = data.draw(st.sampled_from(SMALL))
    bad = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(8, len(bad) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture_format(bytes(bad))
        open_tiff(bytes(bad))
        seen(bytes(bad))
    except FileFault:
        pass


def _small() -> list[bytes]:
    values = COLOUR[:24, :20]
    kinds = [(PLAIN, 1), (LZW, 2), (DEFLATE, 2), (PACKBITS, 1)]
    made = [page(values, 2, compression=code, predictor=n, rows=7) for code, n in kinds]
    made.append(page(DEPTHS["float"](values), 2, compression=DEFLATE, predictor=3, tile=(16, 16)))
    made.append(page(DEPTHS["16 bit"](values), 2, planes=True))
    return [tiff(each) for each in made] + [tiff(made[0], made[1], big=True, order="<")]


SMALL = _small()
