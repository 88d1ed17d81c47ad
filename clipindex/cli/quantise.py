"""`clipindex models quantise`: the int8 form of a model that is here."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from clipindex.cli.output import Output
from clipindex.errors import UsageError
from clipindex.files.user_folders import expand_user
from clipindex.model.bundle import find_bundle
from clipindex.model.installed import folder_for
from clipindex.model.int8.bundle import quantise
from clipindex.model.int8.fidelity import report
from clipindex.model.int8.pictures import read_pictures


def quantise_model(name: str, calibrate: Path | None, weight_bits: int, output: Output) -> None:
    """Make and install NAME-int8, and print how close it comes.

    Raises UsageError without pictures or where it is here already, and as `quantise` does.
    """
    if calibrate is None:
        raise UsageError(
            "`quantise` needs pictures to calibrate with",
            hint=f"clipindex models quantise {name} --calibrate FOLDER (50 typical ones at least)",
        )
    bundle = find_bundle(name)
    new = f"{bundle.manifest.model}-int8"
    target = folder_for(new)
    if target.exists():
        raise UsageError(
            f"{new} is here already",
            path=str(target),
            hint=f"clipindex models remove {new}, to make it anew",
        )
    geometry = bundle.image.geometry
    output.say(f"reading pictures of {calibrate}")
    pictures = read_pictures(expand_user(calibrate), geometry)
    made = quantise(bundle, new, pictures, weight_bits, target, _Phases(output).show)
    figures = made.manifest.quantisation
    assert figures is not None  # it has just been made
    if output.json:
        record = {"type": "model_quantised", "model": new, "folder": str(target)}
        del (facts := asdict(figures))["made_from"]
        output.record({**record, **facts})
        return
    for line in report(figures).splitlines():
        output.result(line)
    output.say(f"installed: {new} ({target})")
    output.say(f"use it for a new collection: clipindex ingest FOLDER --model {new}")


class _Phases:
    """Says what is done now, once for each phase."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._phase = ""

    def show(self, phase: str, done: int, total: int) -> None:
        """So many of so many pictures are done in this phase."""
        self._output.done = f"{phase}: {done} of {total} pictures"
        if phase != self._phase:
            self._phase = phase
            self._output.say(f"{phase}: {total} pictures")
