"""How a checkpoint wants its pictures, as its own configuration says.

What clipindex cannot do is refused: a picture prepared in another way has another vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clipindex.model.manifest import ImageSpec
from exporter.bundle import BundleRefused

BICUBIC = 3
# Pillow's numbers, as transformers writes them
INTERPOLATIONS = {1: "lanczos", 2: "bilinear", BICUBIC: "bicubic"}

# transformers' own defaults, where preprocessor_config.json leaves a value out
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CLIP_DEFAULTS = {
    "size": {"shortest_edge": 224},
    "resample": BICUBIC,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
}
SIGLIP_DEFAULTS = {
    "size": {"height": 224, "width": 224},
    "resample": BICUBIC,
    "do_center_crop": False,
    "image_mean": (0.5, 0.5, 0.5),
    "image_std": (0.5, 0.5, 0.5),
}


def from_transformers(
    stated: Mapping[str, Any], defaults: Mapping[str, Any], *, model_size: int | None
) -> ImageSpec:
    """From a preprocessor_config.json. `model_size`: the one that the tower takes, where it takes
    only one. Raises BundleRefused for a preparation that clipindex does not have."""
    if not stated and model_size is not None:  # an old checkpoint that leaves all to its library
        crop = {"height": model_size, "width": model_size}
        shape = {"crop_size": crop} if "crop_size" in defaults else {}
        edge = {"shortest_edge": model_size} if "crop_size" in defaults else crop
        stated = {"size": edge, **shape}
    values = {**defaults, **stated}
    for name in ("do_resize", "do_rescale", "do_normalize"):
        if not values.get(name, True):
            raise BundleRefused(f"the checkpoint's pictures are prepared with {name} off")
    if abs(values.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        raise BundleRefused(f"rescale_factor {values['rescale_factor']} instead of 1/255")
    size, crop = edges(values["size"]), edges(values.get("crop_size") or {})
    shortest = size.get("shortest_edge")
    if values.get("do_center_crop", False) and shortest and "height" in crop:
        fit, side, resize = "crop", square(crop), shortest
    elif not values.get("do_center_crop", False) and "height" in size:
        fit, side, resize = "squash", square(size), square(size)
    else:
        raise BundleRefused(
            "the checkpoint resizes its pictures in another way than to a square, or to a short"
            f" side and a centre crop: size {values['size']}"
        )
    if model_size is not None and side != model_size:
        raise BundleRefused(f"pictures of {side} pixels; the vision tower takes {model_size}")
    return image_spec(
        side=side,
        resize=resize,
        fit=fit,
        interpolation=INTERPOLATIONS.get(values["resample"], str(values["resample"])),
        mean=values["image_mean"],
        std=values["image_std"],
    )


def from_open_clip(preprocess: Mapping[str, Any]) -> ImageSpec:
    """From what open_clip made of the checkpoint's `preprocess_cfg`."""
    size = preprocess["size"]
    height, width = (size, size) if isinstance(size, int) else size
    side = square({"height": height, "width": width})
    fits = {"shortest": "crop", "squash": "squash"}
    if preprocess["resize_mode"] not in fits:
        raise BundleRefused(f"resize_mode {preprocess['resize_mode']!r}: only {' and '.join(fits)}")
    return image_spec(
        side=side,
        resize=side,
        fit=fits[preprocess["resize_mode"]],
        interpolation=preprocess["interpolation"],
        mean=preprocess["mean"],
        std=preprocess["std"],
    )


def image_spec(
    *,
    side: int,
    resize: int,
    fit: str,
    interpolation: str,
    mean: Sequence[float],
    std: Sequence[float],
) -> ImageSpec:
    try:
        return ImageSpec(
            size=side,
            resize=None if resize == side else resize,
            mean=tuple(map(float, mean)),
            std=tuple(map(float, std)),
            interpolation=interpolation,  # type: ignore[arg-type]  # checked by ImageSpec
            fit=fit,  # type: ignore[arg-type]
        )
    except ValueError as error:
        raise BundleRefused(f"how the checkpoint's pictures are prepared: {error}") from error


def edges(size: Any) -> dict[str, int]:
    """A size, which old checkpoints give as one number: the short side, or a square's side."""
    if isinstance(size, int):
        return {"shortest_edge": size, "height": size, "width": size}
    return {name: int(value) for name, value in dict(size).items() if value is not None}


def square(size: Mapping[str, int]) -> int:
    if size["height"] != size["width"]:
        raise BundleRefused(f"pictures of {size['width']} x {size['height']} are no square")
    return size["height"]
