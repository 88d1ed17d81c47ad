"""What a picture's file and its sidecars say of it, in its payload.

`file_KEY` is what the picture's own bytes say, `sidecar_KEY` what the XMP files beside it say.
Filters use `meta_KEY`: what people joined by `clipindex metadata`, else what a sidecar says, else
what the file says. All three are kept, so that a change of one needs none of the others read.
"""

from __future__ import annotations

from collections.abc import Mapping

from clipindex.stores.payload import META, Payload, meta_fields

FILE, SIDECAR = "file_", "sidecar_"
READ_BY = "described"  # the field that says by which VERSION the file's bytes were read
VERSION = 1
UNRATED = 0  # stars: none were given, as XMP says it

Said = Mapping[str, object]  # by key: text, number or list of texts; an empty one says "none"


def described(
    payload: Payload, *, file: Said | None = None, sidecar: Said | None = None
) -> Payload:
    """A payload with what its file and its sidecars say now; None: as before."""
    own = own_fields(payload)
    fields = {name: value for name, value in payload.items() if own.get(name) != value}
    if file is not None:
        fields = {**_without(fields, FILE), **_prefixed(FILE, file), READ_BY: VERSION}
    if sidecar is not None:
        fields = {**_without(fields, SIDECAR), **_prefixed(SIDECAR, sidecar)}
    return {**own_fields(fields), **fields}


def own_fields(payload: Payload) -> Payload:
    """The metadata that file and sidecars bring, as `meta_KEY`."""
    said = {
        META + name.removeprefix(prefix): value
        for prefix in (FILE, SIDECAR)
        for name, value in payload.items()
        if name.startswith(prefix)
    }
    return {name: value for name, value in said.items() if value not in ("", [], UNRATED)}


def kept_fields(payload: Payload) -> Payload:
    """What a point keeps when its picture is read anew: metadata that people joined, and what
    sidecars said, until these are read too."""
    own = own_fields(payload)
    joined = {n: value for n, value in meta_fields(payload).items() if own.get(n) != value}
    return joined | {n: value for n, value in payload.items() if n.startswith(SIDECAR)}


def version_read(payload: Payload) -> int:
    """By which version the file's bytes were read for this; 0: by none."""
    value = payload.get(READ_BY)
    return value if isinstance(value, int) else 0


def _prefixed(prefix: str, said: Said) -> Payload:
    return {prefix + key: value for key, value in said.items()}


def _without(payload: Payload, prefix: str) -> Payload:
    return {name: value for name, value in payload.items() if not name.startswith(prefix)}
