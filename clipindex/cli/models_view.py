"""Models, as people and programs see them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from clipindex.cli.output import Output
from clipindex.cli.status_view import show_rows
from clipindex.cli.words import count_of, megabytes
from clipindex.model.installed import Installed
from clipindex.model.missing import how_to_get
from clipindex.model.registry import RECOMMENDED, ModelDescription

if TYPE_CHECKING:
    from clipindex.model.pulling import Arrived

COLUMNS = ("model", "here", "numbers", "pixels", "IN-1k", "COCO", "licence")
LEFT_OUT_FIRST = ("IN-1k", "pixels", "licence", "COCO", "numbers")
GETTING = {"convert": "convert it", "own": "bring your own"}
BENCHMARKS = ("IN-1k", "COCO")


def show_models(
    known: Mapping[str, ModelDescription], here: Mapping[str, Installed], output: Output
) -> None:
    """A line for each model that is known, or here."""
    names = [*known, *(name for name in here if name not in known)]
    if output.json:
        for name in names:
            output.record(record_of(name, known.get(name), here.get(name)))
        return
    rows = [_row(name, known.get(name), here.get(name)) for name in names]
    _show_table([COLUMNS, *rows], output)
    if RECOMMENDED in known and RECOMMENDED not in here:
        output.say(f"for a collection that is to last: clipindex models pull {RECOMMENDED}")


def record_of(
    name: str, description: ModelDescription | None, model: Installed | None
) -> dict[str, object]:
    """The fields of a model, for `--json`."""
    facts = _facts(description, model)
    return {
        "type": "model",
        "model": name,
        "title": description.title if description else "",
        "installed": model is not None,
        "folder": str(model.folder) if model else None,
        "fault": model.fault or None if model else None,
        "origin": description.origin if description else None,
        "repository": description.repository if description else None,
        "revision": description.revision if description else None,
        "download_bytes": description.bytes if description else None,
        **facts,
        "commercial_use": description.commercial_use if description else None,
        "towers": _towers(description, model),
        "languages": description.languages if description else None,
        "mate": description.mate or None if description else None,
        "figures": [asdict(figure) for figure in description.figures] if description else [],
        "note": description.note if description else "",
        "files": [asdict(file) for file in description.files] if description else [],
    }


def _facts(description: ModelDescription | None, model: Installed | None) -> dict[str, Any]:
    """What the bundle says, where there is one, and otherwise what is known."""
    if model is not None and model.bundle is not None:
        manifest = model.bundle.manifest
        return {
            "dimension": manifest.dimension,
            "image_size": manifest.image.size if manifest.image is not None else None,
            "precision": manifest.precision,
            "licence": manifest.licence,
        }
    image = description.image if description else None
    return {
        "dimension": description.dimension if description else None,
        "image_size": image.size if image else None,
        "precision": None,
        "licence": description.licence if description else None,
    }


def _towers(description: ModelDescription | None, model: Installed | None) -> list[str]:
    if description is not None:
        return list(description.towers)
    if model is None or model.bundle is None:
        return []
    manifest = model.bundle.manifest
    specs = {"vision": manifest.image, "text": manifest.text}
    return [tower for tower, spec in specs.items() if spec is not None]


def _row(
    name: str, description: ModelDescription | None, model: Installed | None
) -> tuple[str, ...]:
    facts = _facts(description, model)
    figures = {figure.name: figure.value for figure in description.figures} if description else {}
    return (
        name,
        _whereabouts(description, model),
        str(facts["dimension"] or ""),
        str(facts["image_size"] or ""),
        *(f"{figures[benchmark]:.1f}" if benchmark in figures else "" for benchmark in BENCHMARKS),
        str(facts["licence"] or "").partition(" (")[0].partition(":")[0],
    )


def _whereabouts(description: ModelDescription | None, model: Installed | None) -> str:
    if model is not None:
        return "damaged" if model.bundle is None else "here"
    if description is None or description.origin in GETTING:
        return GETTING[description.origin] if description else ""
    return f"pull, {megabytes(description.bytes)}" if description.bytes else "pull"


def _show_table(rows: Sequence[Sequence[str]], output: Output) -> None:
    """Aligned columns; on a narrow terminal only the more important ones."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    shown = list(range(len(columns)))
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns
        for name in LEFT_OUT_FIRST:
            if sum(widths[number] + 2 for number in shown) - 2 > room:
                shown.remove(COLUMNS.index(name))
    for row in rows:
        output.result("  ".join(f"{row[n]:<{widths[n]}}" for n in shown).rstrip())


def show_model(
    name: str, description: ModelDescription | None, model: Installed | None, output: Output
) -> None:
    """All that is known of one model."""
    if output.json:
        output.record(record_of(name, description, model))
        return
    rows = [("model", name), *_described(description), *_here(description, model)]
    show_rows(rows, output)


def _described(description: ModelDescription | None) -> Iterator[tuple[str, str]]:
    if description is None:
        return
    yield "what it is", description.title
    if description.note:
        yield "", description.note
    yield "vectors", f"{description.dimension} numbers"
    if description.image is not None:
        image = description.image
        yield "pictures", f"{image.size} pixels a side, {image.fit}, {image.interpolation}"
    if description.text is not None:
        yield "texts", f"{description.text.context_length} tokens; {description.text.tokenizer}"
    yield "languages", description.languages
    if description.mate:
        yield "searches", f"pictures that {description.mate} indexed"
    yield "licence", description.licence
    allowed = {True: "allowed by the licence", False: "not allowed", None: "not clear"}
    yield "commercial use", allowed[description.commercial_use]
    for number, figure in enumerate(description.figures):
        yield "" if number else "published", f"{figure.name} {figure.value} ({figure.source})"
    if description.checkpoint:
        yield "weights", description.checkpoint
    for number, file in enumerate(description.files):
        yield "" if number else "files", _file(file.path, file.bytes, file.sha256)
        if not number or file.repository != description.repository:
            yield "", f"  of {file.repository} at {file.revision or 'its newest revision'}"


def _file(path: str, size: int | None, sha256: str | None) -> str:
    known = megabytes(size) if size else "size not known before the download"
    digest = f"SHA-256 {sha256[:12]}..." if sha256 else "SHA-256 not known here: the hub's is used"
    return f"{path}, {known}, {digest}"


def _here(
    description: ModelDescription | None, model: Installed | None
) -> Iterator[tuple[str, str]]:
    if model is None:
        assert description is not None
        yield "here", f"no; {how_to_get(description)}"
        return
    yield "here", str(model.folder)
    if model.bundle is None:
        yield "fault", model.fault
        return
    manifest = model.bundle.manifest
    if description is None:
        yield "vectors", f"{manifest.dimension} numbers"
        yield "licence", manifest.licence
    yield "made from", f"{manifest.source}, revision {manifest.revision}, {manifest.precision}"
    size = sum(spec.bytes for spec in manifest.files.values())
    yield "on the disk", f"{megabytes(size)} in {count_of(len(manifest.files), 'file')}"


def show_pulled(
    description: ModelDescription, model: Installed, files: Sequence[Arrived], output: Output
) -> None:
    """What `models pull` did."""
    if output.json:
        output.record(
            {
                "type": "pulled",
                "model": model.name,
                "folder": str(model.folder),
                "downloaded": bool(files),
                "files": [_arrived(arrived) for arrived in files],
            }
        )
    elif files:
        output.say(f"installed in {model.folder}")
        use = f"clipindex ingest FOLDER --model {model.name}"
        if description.mate:
            use = f"clipindex query WORDS --model {model.name}, where {description.mate} indexed"
        output.say(f"  use it: {use}")
    else:
        output.say(f"{model.name} is here already: {model.folder}")


def _arrived(arrived: Arrived) -> dict[str, object]:
    return {
        "path": arrived.file.path,
        "repository": arrived.file.repository,
        "revision": arrived.commit,
        "bytes": arrived.bytes,
        "sha256": arrived.sha256,
        "pinned": arrived.file.sha256 is not None,
        "from_cache": arrived.was_cached,
    }
