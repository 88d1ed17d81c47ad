"""Pure: read from a TIFF page's header how its pixels are stored, and refuse what is not supported.

Tags and values are from TIFF 6.0, its technical notes, and libtiff's list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clipindex.errors import FileFault
from clipindex.pictures.tiff.directory import COMPRESSION, PHOTOMETRIC, Directory

NO_COMPRESSION, LZW, JPEG, DEFLATE, OLD_DEFLATE = 1, 5, 7, 8, 32946
PACKBITS, LZMA, ZSTD = 32773, 34925, 50000
CCITT, OLD_JPEG = (2, 3, 4), 6
DECODED_HERE = {NO_COMPRESSION, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA, ZSTD, *CCITT}
_COMPRESSIONS = {
    32766: "NeXT",
    32809: "ThunderScan",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "LogLuv",
    34677: "LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy DNG",
    34933: "PNG",
    34934: "JPEG XR",
    22610: "JPEG XR",
    48129: "Windows Media Photo",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
LAB, ICC_LAB = 8, 9
COLOURS = {  # how many samples make a colour
    WHITE_IS_ZERO: 1,
    BLACK_IS_ZERO: 1,
    RGB: 3,
    PALETTE: 1,
    CMYK: 4,
    YCBCR: 3,
    LAB: 3,
    ICC_LAB: 3,
}
_PHOTOMETRICS = {
    WHITE_IS_ZERO: "grey",
    BLACK_IS_ZERO: "grey",
    RGB: "RGB",
    PALETTE: "palette",
    4: "mask",
    CMYK: "CMYK",
    YCBCR: "YCbCr",
    LAB: "LAB",
    ICC_LAB: "LAB",
    10: "ITU LAB",
    32844: "LogL",
    32845: "LogLuv",
    51177: "depth map",
}

_ASSOCIATED, _UNASSOCIATED, _COREL_ALPHA = 1, 2, 999
_INTEGER, _SIGNED, _FLOAT, _VOID = 1, 2, 3, 4
_MOST_SAMPLES = 1024
_UNCLEAN = 2  # value of CleanFaxData

Kind = Literal["unsigned", "signed", "float"]
Alpha = Literal["none", "plain", "associated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a page's pixels lie in the file.

    A piece is a strip or a tile: `piece_width` x `piece_height` pixels of all samples, or of one
    where they lie in `planes`. Pieces follow each other row by row, then plane by plane;
    `places` has the offset and length in bytes of each.
    """

    width: int
    height: int
    bits: int  # a sample's
    samples: int  # a pixel's
    kind: Kind
    photometric: int
    compression: int
    predictor: int
    planes: bool
    bits_reversed: bool
    alpha: Alpha
    order: str
    tiled: bool
    piece_width: int
    piece_height: int
    places: tuple[tuple[int, int], ...]
    subsampling: tuple[int, int]  # across and down; (1, 1) but for uncompressed YCbCr
    fax_options: int
    has_bad_lines: bool  # a fax that says so: it came over a noisy line

    @property
    def colours(self) -> int:
        """Samples that make a pixel's colour; they come first, alpha next."""
        return COLOURS[self.photometric]

    @property
    def samples_used(self) -> int:
        """The samples of colour and alpha; those behind them are ignored."""
        return self.colours + (self.alpha != "none")

    @property
    def across(self) -> int:
        """Pieces side by side."""
        return -(-self.width // self.piece_width)

    @property
    def down(self) -> int:
        """Pieces from top to bottom."""
        return -(-self.height // self.piece_height)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a piece.

        If colours are subsampled, of the rows that share them: such data has the brightness of
        each pixel of a block, then the block's Cb and Cr.
        """
        across, down = self.subsampling
        if (across, down) != (1, 1):
            return -(-self.piece_width // across) * (across * down + 2)
        bits = self.bits * (1 if self.planes else self.samples)
        return -(-self.piece_width * bits // 8)

    def piece_rows(self, row: int) -> int:
        """Rows of `row_bytes` in each piece of a row of pieces; the last strip may be shorter."""
        whole = self.piece_height
        rows = whole if self.tiled else min(whole, self.height - row * whole)
        return -(-rows // self.subsampling[1])

    @property
    def name(self) -> str:
        """As a person would call it: "16-bit LAB TIFF"."""
        kind = {"unsigned": "", "signed": " signed", "float": " float"}[self.kind]
        return f"{self.bits}-bit{kind} {_PHOTOMETRICS.get(self.photometric, 'RGB')} TIFF"


def unsupported(what: str) -> FileFault:
    """The fault of a sound file of a kind that clipindex does not decode."""
    return FileFault(f"{what} is not supported")


def layout_of(page: Directory) -> Layout:
    """A page's layout. Raises FileFault where it makes no sense or is not supported."""
    width, height = page.size
    if min(width, height) < 1:
        raise FileFault("damaged: a TIFF without a picture in it")
    compression = page.number(COMPRESSION, NO_COMPRESSION)
    _refuse_compression(compression)
    bits, samples = _depth(page, compression)
    photometric = _photometric(page, bits, samples)
    tiled = 324 in page.entries or 322 in page.entries
    piece_width, piece_height = _piece_size(page, width, height, tiled=tiled)
    subsampled = photometric == YCBCR and compression != JPEG
    subsampling = page.numbers(530)[:2] if 530 in page.entries else (2, 2)
    layout = Layout(
        width=width,
        height=height,
        bits=bits,
        samples=samples,
        kind=_kind(page, photometric),
        photometric=photometric,
        compression=compression,
        predictor=page.number(317, 1),
        planes=page.number(284, 1) == 2 and samples > 1,
        bits_reversed=page.number(266, 1) == 2,
        alpha=_alpha(page, photometric, samples),
        order=page.order,
        tiled=tiled,
        piece_width=piece_width,
        piece_height=piece_height,
        places=_places(page, tiled=tiled),
        fax_options=page.number(292),
        has_bad_lines=page.number(326) > 0 or page.number(327) == _UNCLEAN,
        subsampling=(subsampling[0], subsampling[-1]) if subsampled and subsampling else (1, 1),
    )
    _refuse_combination(page, layout)
    return layout


def _refuse_compression(compression: int) -> None:
    if compression not in DECODED_HERE | {OLD_JPEG}:
        name = _COMPRESSIONS.get(compression, f"compression {compression}")
        raise unsupported(f"TIFF with {name}" if name[0] == "c" else f"{name} compressed TIFF")


def _depth(page: Directory, compression: int) -> tuple[int, int]:
    """Bits a sample and samples a pixel."""
    samples = page.number(277, 3 if compression == OLD_JPEG else 1)
    depths = page.numbers(258, _MOST_SAMPLES) or (1,)
    if not 1 <= samples <= _MOST_SAMPLES:
        raise FileFault(f"damaged: {samples} samples a pixel")
    used = depths[:samples]
    if len(set(used)) > 1:
        raise unsupported(f"TIFF with samples of {', '.join(map(str, used))} bits")
    return (8 if compression == OLD_JPEG else used[0]), samples


def _photometric(page: Directory, bits: int, samples: int) -> int:
    """A page without the tag gets what its samples suggest, as in libtiff."""
    guess = RGB if samples >= COLOURS[RGB] else BLACK_IS_ZERO if bits > 1 else WHITE_IS_ZERO
    photometric = page.number(PHOTOMETRIC, guess)
    if photometric not in COLOURS:
        name = _PHOTOMETRICS.get(photometric, f"photometric interpretation {photometric}")
        raise unsupported(f"TIFF with {name}" if name[0] == "p" else f"{bits}-bit {name} TIFF")
    if samples < COLOURS[photometric]:
        name = _PHOTOMETRICS[photometric]
        raise unsupported(f"{name} TIFF with {samples} sample{'s' * (samples > 1)} a pixel")
    return photometric


def _kind(page: Directory, photometric: int) -> Kind:
    formats = set(page.numbers(339, _MOST_SAMPLES)) or {_INTEGER}
    if photometric in (LAB, ICC_LAB) and formats <= {_INTEGER, _SIGNED, _VOID}:
        return "unsigned"  # which of its samples are signed, the photometric interpretation says
    if formats == {_FLOAT}:
        return "float"
    if formats == {_SIGNED}:
        return "signed"
    if formats <= {_INTEGER, _VOID}:
        return "unsigned"
    raise unsupported("TIFF with samples of complex numbers or of mixed formats")


def _alpha(page: Directory, photometric: int, samples: int) -> Alpha:
    """What the first extra sample means. By default RGB's fourth is alpha, as in Pillow."""
    extra = page.numbers(338, 1)
    if samples == COLOURS[photometric]:
        return "none"
    if not extra:
        return "plain" if photometric == RGB and samples == 4 else "none"
    if extra[0] == _ASSOCIATED:
        return "associated"
    return "plain" if extra[0] in (_UNASSOCIATED, _COREL_ALPHA) else "none"


def _piece_size(page: Directory, width: int, height: int, *, tiled: bool) -> tuple[int, int]:
    if tiled:
        size = page.number(322), page.number(323)
        if min(size) < 1 or max(size) > 1 << 20:
            raise FileFault(f"damaged: tiles of {size[0]}x{size[1]} pixels")
        return size
    rows = page.number(278, height)
    if rows < 1:
        raise FileFault("damaged: strips of no rows")
    return width, min(rows, height)


def _places(page: Directory, *, tiled: bool) -> tuple[tuple[int, int], ...]:
    """Offsets and lengths: tags 324 and 325, or 273 and 279 (some writers use these for tiles)."""
    tiles = tiled and 324 in page.entries
    offsets = page.numbers(324 if tiles else 273)
    lengths = page.numbers(325 if tiles else 279)
    if len(lengths) < len(offsets):  # 0: unknown, up to the end of the file
        lengths += (0,) * (len(offsets) - len(lengths))
    return tuple(zip(offsets, lengths, strict=False))


def _refuse_combination(page: Directory, layout: Layout) -> None:
    """Refuse combinations that the decoder does not handle."""
    bits, kind = layout.bits, layout.kind
    deep = layout.photometric in (CMYK, LAB, ICC_LAB)
    if (
        not 1 <= bits <= 64
        or (bits > 31 and bits not in (32, 64))
        or (kind == "float" and bits not in (16, 32, 64))
        or (kind == "signed" and bits not in (8, 16, 32, 64))
        or (layout.photometric == PALETTE and (bits > 16 or kind != "unsigned"))
        or (layout.photometric == YCBCR and (bits != 8 or layout.planes))
        or (deep and bits not in (8, 16))
        or (deep and kind != "unsigned")
        or (layout.compression in (JPEG, OLD_JPEG) and bits != 8)
        or (layout.compression in CCITT and (bits != 1 or layout.samples > 1))
    ):
        how = " compressed as JPEG" if layout.compression in (JPEG, OLD_JPEG) else ""
        how = " compressed as a fax" if layout.compression in CCITT else how
        planes = " in planes" if layout.planes else ""
        raise unsupported(f"{layout.name}{planes}{how}")
    if layout.photometric == CMYK and page.number(332, 1) != 1:
        raise unsupported("TIFF with inks other than CMYK")
    predictor, fits = layout.predictor, {1: True, 2: bits in (8, 16, 32, 64), 3: kind == "float"}
    if layout.compression not in (NO_COMPRESSION, JPEG, PACKBITS) and not fits.get(predictor):
        raise unsupported(f"{layout.name} with predictor {predictor}")
    across, down = layout.subsampling
    if not {across, down} <= {1, 2, 4}:
        raise FileFault(f"damaged: colours subsampled by {across} and {down}")
