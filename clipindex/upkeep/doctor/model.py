"""The model: its files, the vectors it gives, and the decoders before it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import numpy as np

from clipindex.errors import ClipIndexError, FileFault
from clipindex.model.bundle import TEXT, VISION, Bundle
from clipindex.model.encoder import Encoder
from clipindex.pictures import heic, jxl, raw
from clipindex.pictures.decode import Pixels, decode, library_versions
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from clipindex.stores.points import Vector, is_unit
from clipindex.upkeep.doctor.checks import Check, guarded, note, of_error, ok, problem

Load = Callable[[Bundle], Encoder]

ANEW = "download or convert the bundle again"
WRONG_HERE = (
    "update onnxruntime, or try another version of it; do not index with it: its vectors would "
    "not meet those of other machines"
)
CLOSE = 1e-4  # to a known vector; processors differ by 1e-6
SAME = 1e-6  # of one picture, alone and in a batch
TEXT_TRIED = "a cat"
# SHA-256 of a tower -> the first numbers of its vector of `made_picture` or TEXT_TRIED.
KNOWN = {
    "30e2b089b506f72300fc3ea046db9d1b8f7fcca74db16bdac26dffa446df05cc": (  # mini's vision.onnx
        *(0.0371005, -0.0052359, 0.0308470, -0.0160147),
        *(0.0339469, -0.0253627, -0.0239195, -0.0328587),
    ),
    "68ec66ed46180aa06f634dba86fd3e70915d257edc3e9dc7e7c4468693b22d8c": (  # mini's text.onnx
        *(0.0124923, -0.0214215, 0.1101301, 0.0033794),
        *(-0.0776993, -0.0347175, -0.0206755, -0.0336211),
    ),
}
# 48 by 32 pixels of one colour, in three formats.
COLOUR = (200, 100, 50)
PICTURES = {
    "JPEG": base64.b64decode(
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4R"
        "DgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
        "FBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBT/wAARCAAgADADASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAA"
        "AAT/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFgEBAQEAAAAAAAAAAAAAAAAAAAcI/8QAFBEBAAAAAAAAAAAAAAAA"
        "AAAAAP/aAAwDAQACEQMRAD8AkAQ9pAAAAAAAAAAB/9k="
    ),
    "PNG": base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAADAAAAAgCAIAAADbtmxLAAAAPklEQVR4nO3OMQHAIADAMEDSNCEWWfv39GRHoiDz7G"
        "f8ybod+BIqQkWoCBWhIlSEilARKkJFqAgVoSJUhMoLHU8Bnu/E5nEAAAAASUVORK5CYII="
    ),
    "WebP": base64.b64decode(
        "UklGRkYAAABXRUJQVlA4IDoAAABwAwCdASowACAAPm02l0ikIyIhJWgAgA2JZwB2APwAAFfvhuAA/q4X//5BcsLrka//"
        "+cSogk3mAAAA"
    ),
}


def check_model(find: Callable[[], Bundle], load: Load) -> Iterator[Check]:
    """The bundle that `find` finds: files, both towers, and that a batch changes no vector."""
    yield from guarded("picture formats", _decoders)
    try:
        bundle = find()
        bundle.verify()
    except ClipIndexError as error:
        yield of_error("model", error)
        return
    manifest = bundle.manifest
    names = f"{manifest.model}, revision {manifest.revision}, {manifest.precision}"
    yield ok("model", f"{names} ({bundle.folder}); all files as model.json says")
    if manifest.image is None:
        yield note("vision tower", "the model has none", "it is for texts only")
    else:
        yield from guarded("vision tower", lambda: _vision(bundle, load(bundle)))
    if bundle.text_bundle.manifest.text is None:
        yield note("text tower", "the model has none", "only pictures can search its pictures")
    else:
        yield from guarded("text tower", lambda: _text(bundle, load(bundle)))


def made_picture(size: int) -> Pixels:
    """The same pixels [size, size, 3] everywhere, by a formula."""
    y, x, colour = np.ogrid[:size, :size, :3]
    pixels: Pixels = ((x * (colour + 1) + y * (3 - colour)) % 256).astype(np.uint8)
    return pixels


def _vision(bundle: Bundle, encoder: Encoder) -> Iterator[Check]:
    pixels = made_picture(bundle.image.size)
    others = [255 - pixels, pixels[::-1], pixels[:, ::-1]]
    (alone,) = encoder.encode_images(pixels[None])
    first = encoder.encode_images(np.stack([pixels, *others]))[0]
    last = encoder.encode_images(np.stack([*others, pixels]))[-1]
    yield _known("vision tower", bundle, VISION, alone, f"on {encoder.provider_in_use}")
    largest = float(max(np.abs(alone - first).max(), np.abs(alone - last).max()))
    if not largest <= SAME:
        text = f"a picture's vector differs by {largest:.1e} alone and in a batch"
        yield problem("batches", text, WRONG_HERE)
    else:
        exactly = "to the bit" if largest == 0 else f"within {SAME:g}"
        yield ok("batches", f"a picture alone and in a batch has the same vector, {exactly}")


def _text(bundle: Bundle, encoder: Encoder) -> Check:
    (vector,) = encoder.encode_texts([TEXT_TRIED])
    return _known("text tower", bundle.text_bundle, TEXT, vector, "")


def _known(name: str, bundle: Bundle, file: str, vector: Vector, where: str) -> Check:
    """A vector beside the one that this tower gives elsewhere, where that is known."""
    if vector.shape != (bundle.manifest.dimension,) or not is_unit(vector):
        return problem(name, "it gives no vector of length 1", ANEW)
    known = KNOWN.get(bundle.manifest.files[file].sha256)
    if known is None:
        return ok(name, f"computes {where}".rstrip() + " (no vector is known to compare with)")
    difference = float(np.abs(vector[: len(known)] - np.asarray(known)).max())
    if difference > CLOSE:
        return problem(
            name, f"its vector differs from the known one by {difference:.1e}", WRONG_HERE
        )
    return ok(name, f"gives the known vector {where}".rstrip())


def _decoders() -> Iterator[Check]:
    """A picture of each common format, and which others can be read."""
    versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    more = {"HEIC": heic.version(), "camera raw": raw.version(), "JPEG XL": jxl.version()}
    names = [*PICTURES, *(name for name, version in more.items() if version)]
    hint = "python -m pip install --force-reinstall pillow"
    for name, data in PICTURES.items():
        try:
            pixels, _ = decode(data, Geometry(224, "crop"), Preprocessing.EXACT)
        except FileFault as fault:
            yield problem("picture formats", f"{name} cannot be decoded: {fault.reason}", hint)
            return
        if np.abs(pixels.astype(int) - COLOUR).max() > 4:
            yield problem("picture formats", f"{name} is decoded to wrong colours", hint)
            return
    yield ok("picture formats", f"{', '.join(names)} are decoded ({versions})")
