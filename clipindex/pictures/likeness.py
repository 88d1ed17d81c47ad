"""A perceptual hash: whether two files show the same picture, resized, re-encoded or cropped.

A difference hash (`dhash`, which needs no further library) says for each pixel of a tiny grey
picture whether the next one is brighter. It does not survive a crop: so a picture is hashed whole
and in 22 windows that leave out 5 to 10 % of it. Of two pictures, one whole is compared with every
window of the other, and the other way round. A last hash is that of the picture mirrored.
"""

from __future__ import annotations

import numpy as np
from dhash import dhash_int
from PIL import Image

from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Geometry, Preprocessing

VERSION = 1  # rises with any change of a bit
SIDE = 96  # pixels of the square that a picture is decoded to
SIZE = 12  # 12 x 12 comparisons to the right, and as many downwards
BITS = 2 * SIZE * SIZE
BYTES = BITS // 8
AT_ONCE = 1024  # pairs: 2 MB for each step of a comparison

Hashes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]  # [pictures, WINDOWS + 1, BYTES]
Pairs = np.ndarray[tuple[int, ...], np.dtype[np.int64]]  # [pairs, 2]
Shares = np.ndarray[tuple[int, ...], np.dtype[np.float32]]  # [pairs], 0 to 1
Counts = np.ndarray[tuple[int, ...], np.dtype[np.uint16]]
Box = tuple[float, float, float, float]


def _boxes() -> list[Box]:
    """The whole square, then its windows: of 95 % and of 90 % of each side at nine places, and
    what is left where one side loses a tenth."""
    boxes = [(0.0, 0.0, 1.0, 1.0)]
    for cut in (0.05, 0.1):
        places = (0.0, cut / 2, cut)
        boxes += [(x, y, 1 - cut + x, 1 - cut + y) for x in places for y in places]
    return [*boxes, (0.1, 0, 1, 1), (0, 0.1, 1, 1), (0, 0, 0.9, 1), (0, 0, 1, 0.9)]


BOXES = _boxes()
WINDOWS = len(BOXES)  # 23, the whole picture the first
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)


def perceptual_hash(data: bytes) -> bytes:
    """The hashes of a picture file's bytes: WINDOWS + 1 of BYTES bytes, the mirrored one last.

    Raises FileFault when it is not decodable. A large JPEG is decoded at a reduced scale.
    """
    pixels, _ = decode(data, Geometry(SIDE, "squash"), Preprocessing.DCT_SCALED)
    grey = Image.fromarray(pixels).convert("L")
    mirrored = grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return b"".join([*(_hash(grey, box) for box in BOXES), _hash(mirrored, BOXES[0])])


def _hash(grey: Image.Image, box: Box) -> bytes:
    left, top, right, bottom = (SIDE * edge for edge in box)
    side = SIZE + 1
    small = grey.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, right, bottom))
    return int(dhash_int(list(small.tobytes()), SIZE)).to_bytes(BYTES, "big")


def unpacked(hashes: list[bytes]) -> Hashes:
    """Hashes of pictures as one array."""
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), WINDOWS + 1, BYTES)


def is_valid(hashes: bytes) -> bool:
    """Whether stored bytes are hashes of this version."""
    return len(hashes) == (WINDOWS + 1) * BYTES


def differences(hashes: Hashes, pairs: Pairs, *, mirrored: bool = False) -> Shares:
    """The share of bits that differ in the best alignment of each pair of pictures; `mirrored`:
    of the one and the mirror image of the other."""
    whole = hashes[:, -1 if mirrored else 0]
    shares = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), AT_ONCE):
        one, other = pairs[start : start + AT_ONCE].T
        least = np.minimum(
            _bits(hashes[one, :WINDOWS] ^ whole[other, None]).min(axis=1),
            _bits(hashes[other, :WINDOWS] ^ whole[one, None]).min(axis=1),
        )
        shares[start : start + AT_ONCE] = least / BITS
    return shares


def _bits(values: Hashes) -> Counts:
    """How many bits are set, over the last axis."""
    counts: Counts = np.take(_ONES, values).sum(axis=-1, dtype=np.uint16)
    return counts
