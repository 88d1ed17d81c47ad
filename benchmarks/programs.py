"""What is compared: clipindex in each precision, the bare work of each, and the peers."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from benchmarks import environments, machine, measure, pictures
from clipindex.pictures.preprocessing import Preprocessing

WORK = Path(platformdirs.user_cache_dir("clipindex")) / "benchmarks"
HERE = Path(__file__).parent
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Files to run over, as a list on disk too: a whole set, or the first picture of one."""

    name: str
    files: tuple[Path, ...]
    listed: Path
    of: str = ""  # the set that this is the first picture of
    roofed: bool = False  # roofline and floor are measured on this set
    previews: bool = False  # it has HEICs, whose previews clipindex can be told to take


def listed(name: str, files: Sequence[Path], work: Path, **more: Any) -> Pictures:
    """With the list written."""
    path = work / "lists" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{file}\n" for file in files), "utf-8")
    return Pictures(name=name, files=tuple(files), listed=path, **more)


@dataclass(frozen=True, kw_only=True)
class Program:
    """Something that is run over a set; its vectors, if any, can be asked for afterwards."""

    name: str
    command: Callable[[Pictures, Path], list[str]]  # the folder is for what the run leaves
    precision: str | None = None  # of clipindex and its roofs
    version: Callable[[], dict[str, str]] | None = None
    suits: Callable[[Pictures], bool] = lambda _: True


def ours(options: argparse.Namespace, work: Path, left_out: dict[str, str]) -> list[Program]:
    """clipindex in each precision, each followed by its roof; in the end with previews."""
    bundle = options.fp32_bundle or weights(work) / "bundle"
    columns: dict[str, tuple[Path, list[str]]] = {
        "fp32": (bundle, []),
        "bf16": (bundle, ["--provider", "openvino"]),
    }
    if not options.only or any(name.startswith("clipindex int8") for name in options.only):
        try:
            columns["int8"] = (options.int8_bundle or int8_bundle(work), [])
        except environments.Unavailable as error:
            left_out["clipindex int8"] = str(error)
    programs = []
    for precision, (model, extra) in columns.items():
        programs.append(_clipindex(precision, "", model, extra))
        if not options.no_floor:
            roof = _roof(model, extra)
            programs.append(
                Program(name=f"roof {precision}", command=roof, precision=precision, suits=_roofed)
            )
    if "previews" in list(Preprocessing):
        for precision, (model, extra) in columns.items():
            how = [*extra, "--preprocessing", "previews"]
            programs.append(_clipindex(precision, ", previews", model, how))
    return [program for program in programs if _wanted(program.name, options)]


def _clipindex(precision: str, how: str, bundle: Path, extra: Sequence[str]) -> Program:
    return Program(
        name=f"clipindex {precision}{how}",
        command=_ingest(bundle, extra),
        precision=precision,
        version=machine.our_versions,
        suits=(lambda chosen: chosen.previews) if how else (lambda _: True),
    )


def _roofed(chosen: Pictures) -> bool:
    return chosen.roofed


def _ingest(bundle: Path, extra: Sequence[str]) -> Callable[[Pictures, Path], list[str]]:
    def command(chosen: Pictures, leavings: Path) -> list[str]:
        where = ["--store", str(leavings), "--model", str(bundle.resolve()), "--json"]
        files = ["--files-from", str(chosen.listed)]
        return [sys.executable, "-m", "clipindex", "ingest", *files, *where, *extra]

    return command


def _roof(bundle: Path, extra: Sequence[str]) -> Callable[[Pictures, Path], list[str]]:
    def command(chosen: Pictures, _: Path) -> list[str]:
        script = [sys.executable, "-m", "benchmarks.roof", str(chosen.listed)]
        return [*script, str(bundle.resolve()), *extra]

    return command


def int8_bundle(work: Path) -> Path:
    """The same weights as static int8, calibrated on pictures of no other use; made once.

    Raises Unavailable where the converter refuses.
    """
    folder, calibration = work / "weights-int8", work / "pictures" / "calibration"
    if not (folder / "model.json").exists():
        print("making the int8 bundle...", file=sys.stderr, flush=True)
        pictures.make("calibration", calibration)
        script = [sys.executable, "scripts/convert_to_onnx.py", "--random-weights", "--seed", "0"]
        int8 = ["--precision", "int8", "--calibrate", str(calibration), "--output", str(folder)]
        done = subprocess.run(
            [*script, *int8], cwd=measure.ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise environments.Unavailable(done.stderr.strip().splitlines()[-1])
    return folder


def peers(options: argparse.Namespace, work: Path, left_out: dict[str, str]) -> list[Program]:
    """The peers whose environments are there or can be made."""
    programs = []
    for name in environments.PEERS:
        if not _wanted(name, options):
            continue
        try:
            python = environments.python_of(name, work / "environments")
        except environments.Unavailable as error:
            left_out[name] = str(error)
            continue
        programs.append(_peer(name, python, weights(work)))
    return programs


def _peer(name: str, python: Path, folder: Path) -> Program:
    def command(chosen: Pictures, leavings: Path) -> list[str]:
        script = [str(python), "-P", str(HERE / "peer.py"), name, "--weights", str(folder)]
        out = ["--files", str(chosen.listed), "--out", str(leavings / "vectors.npy")]
        return [*script, *out, "--threads", str(machine.cores())]

    return Program(name=name, command=command, version=lambda: environments.versions(python, name))


def _wanted(name: str, options: argparse.Namespace) -> bool:
    return not options.only or name in options.only


def weights(work: Path) -> Path:
    """The folder of all layouts of one set of weights, made once."""
    folder = work / "weights"
    if not (folder / "bundle" / "model.json").exists():
        print("making weights...", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        made = [sys.executable, "-m", "benchmarks.weights", str(folder)]
        subprocess.run(made, cwd=measure.ROOT, check=True, stdout=sys.stderr)
    return folder


def leavings_of(name: str, chosen: Pictures, work: Path) -> Path:
    """Where a run leaves its store or its vectors."""
    return work / "runs" / chosen.name / name.replace(" ", "-")
