"""Pure: which picture format a file's bytes announce, and the names that promise a picture."""

from __future__ import annotations

from clipindex.pictures.tiff.directory import (
    COMPRESSION,
    PHOTOMETRIC,
    Directory,
    below,
    first_directory,
)

HEAD = 4096  # enough for every signature below and for most cameras' first directory

# Names that promise a picture: content that breaks the promise is a damaged file to be told
# of (quarantined), not one of the many other files that lie in a folder (skipped).
PICTURE_NAMES = (
    b".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .gif .bmp .dib .tif .tiff .avif .heic .heif .hif"
    b" .jxl .cr3 .raf .orf .rw2 .dng .nef .nrw .arw .sr2 .cr2 .pef .srw .3fr .iiq"
).split()

# Camera raw files that are TIFFs: their first picture is often a thumbnail of 160x120. Some of
# these names are used by other programs as well, and promise nothing.
TIFF_RAW_NAMES = (
    b".dng .nef .nrw .arw .sr2 .srf .cr2 .pef .srw .3fr .iiq .fff .mos .mef .erf .kdc .dcr .rwl"
).split()

# Formats that other programs read; skipped as well, but with a reason that says more.
OTHER_PICTURE_NAMES = (
    b".psd .psb .xcf .svg .eps .pdf .ico .icns .cur .tga .dds .jp2 .j2k .jpf .jxr .jls .ppm .pgm"
    b" .pbm .pnm .pfm .sgi .pcx .fli .flc .qoi .xpm .wmf .emf .exr .hdr .x3f .mrw"
).split()

UNREADABLE_FORMATS = {  # recognised, so that the reason can say what it is
    "HEIF": "a HEIF picture that is not coded as HEVC, which clipindex cannot read",
}

# The size of a bitmap's second header tells it from any text that begins with "BM".
BMP_HEADER_SIZES = {size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124)}

HEVC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"MiHE"}
AV1_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"mif1", b"mif2", b"mif3", b"msf1", b"miaf", b"1pic"}  # whatever the codec

RAW_SIGNATURES = {
    b"FUJIFILMCCD-RAW ": "RAF",
    b"IIRO": "ORF",
    b"IIRS": "ORF",
    b"MMOR": "ORF",
    b"IIU\0": "RW2",
}
RAW_MAKERS = {b"NIKON": "NEF", b"SONY": "ARW", b"PENTAX": "PEF", b"SAMSUNG": "SRW"}
RAW_FORMATS = {"CR2", "CR3", "DNG", "IIQ", "RAW", *RAW_SIGNATURES.values(), *RAW_MAKERS.values()}


def picture_format(data: bytes) -> str | None:
    """The picture format that a file's bytes announce, or None; its first HEAD bytes may do.

    Signatures: ITU-T T.81 (JPEG), RFC 2083 (PNG), TIFF 6.0, TIFF/EP and BigTIFF, GIF89a, ISO
    14496-12 brands (AVIF, HEIC, CR3), the RIFF container (WebP), ISO 18181 (JPEG XL).
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return _tiff_format(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM") and data[14:18] in BMP_HEADER_SIZES:
        return "BMP"
    if data[4:8] == b"ftyp":
        return _brand(data)
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JXL"
    return RAW_SIGNATURES.get(data[:16]) or RAW_SIGNATURES.get(data[:4])


def _brand(data: bytes) -> str | None:
    """By the major brand, and by the compatible ones where the major says only 'a picture'."""
    major, minor = data[8:12], data[12:16]
    end = min(int.from_bytes(data[:4], "big"), HEAD, len(data))
    brands = {major, *(data[at : at + 4] for at in range(16, end - 3, 4))}
    if major == b"mif3":  # the minimised layout has the codec's brand in the version's place
        brands.add(minor)
    if brands & AV1_BRANDS:
        return "AVIF"
    if major in HEVC_BRANDS:
        return "HEIC"
    if brands & HEIF_BRANDS:
        return "HEIC" if brands & HEVC_BRANDS else "HEIF"
    return "CR3" if major == b"crx " else None


# --- TIFF ------------------------------------------------------------------------------------

_MAKE, _DNG_VERSION = 271, 50706
_SENSOR_PHOTOMETRICS = {32803, 34892}  # colour filter array, LinearRaw
_RAW_COMPRESSIONS = {32767, 34713, 65535}  # Sony's, Nikon's, Pentax's


def _tiff_format(data: bytes) -> str:
    """TIFF, or the format of the camera raw file that is built as one.

    By content alone, so that the same bytes are the same picture under any name: a picture
    made of sensor pixels, or a first picture that calls itself a smaller copy of another that
    lies beyond `data`.
    """
    if data[8:10] == b"CR" and data[2:3] != b"+":
        return "CR2"
    if data[8:12] in (b"IIII", b"MMMM") and b"Raw" in (data[12:15], data[13:16][::-1]):
        return "IIQ"
    first = first_directory(data)
    if _DNG_VERSION in first.entries:
        return "DNG"
    pages = [first, *below(first)]
    unseen = any(not page.entries for page in pages[1:])
    if not (unseen and first.is_reduced) and not any(map(_is_sensor, pages)):
        return "TIFF"
    maker = bytes(value & 0xFF for value in first.numbers(_MAKE, 16)).upper()
    return next((raw for name, raw in RAW_MAKERS.items() if maker.startswith(name)), "RAW")


def _is_sensor(page: Directory) -> bool:
    return (
        page.number(PHOTOMETRIC) in _SENSOR_PHOTOMETRICS
        or page.number(COMPRESSION) in _RAW_COMPRESSIONS
    )
