"""Stores that another version of the embedded engine made, opened by the installed one.

    python -m benchmarks.engine_versions 0.8.0 0.6.1 [--keep FOLDER]

Each version is installed with pip into a folder of its own, beside the installed one, and makes a
store: pictures, tags, an edited picture, a deleted one. The installed engine opens it: each picture
finds itself, `verify` embeds all of them again, the next run has nothing to do, the store is
compacted, and the backup that the other engine made is restored. Then the way back, which nothing
promises. `--keep` packs the stores for the tests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import benchmarks.engine_versions
from benchmarks.crashes.photographs import picture
from benchmarks.crashes.processes import environment
from benchmarks.report import rows_table

PACKAGE = "qdrant-edge-py"
REPOSITORY = Path(__file__).parents[1]
TINY = REPOSITORY / "tests" / "data" / "tiny"
PICTURES = 6

# What clipindex asks of the engine and versions before 0.9 call otherwise.
PROGRAM = """
import types
import qdrant_edge as engine

if not hasattr(engine, "Memory"):
    params = engine.EdgeVectorParams
    engine.Memory = types.SimpleNamespace(Cold=None)
    engine.EdgeVectorParams = lambda memory, **others: params(**others, on_disk=True)
from clipindex.cli.app import main

main()
"""


@dataclass(frozen=True)
class Program:
    """clipindex with one version of the engine; None: the installed one."""

    version: str | None
    folder: Path  # where the other version is installed

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command; its exit code is the caller's."""
        places = [str(REPOSITORY), *([] if self.version is None else [str(self.folder)])]
        variables = environment(self.folder) | {"PYTHONPATH": os.pathsep.join(reversed(places))}
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def must(self, *arguments: str) -> str:
        """Run a command. Raises RuntimeError where it fails."""
        done = self.run(*arguments)
        if done.returncode:
            raise RuntimeError(f"{arguments}: exit code {done.returncode}: {done.stderr[-600:]}")
        return done.stdout


def main() -> None:
    """Exit code 1 when a store of another version is not as good as one's own."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine_versions",
        description=benchmarks.engine_versions.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("versions", nargs="+")
    parser.add_argument("--keep", type=Path, help="a folder for engine-VERSION.tar.xz")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="engines-") as name:
        rows = [
            tried(version, Path(name).resolve() / version, options.keep)
            for version in options.versions
        ]
    print(rows_table(rows))
    sys.exit(any(row["opened here"] != "yes" for row in rows))


def tried(version: str, folder: Path, keep: Path | None) -> dict[str, object]:
    """One line of the table."""
    side = folder / "engine"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(side)]
    subprocess.run([*pip, f"{PACKAGE}=={version}"], check=True)
    other, installed = Program(version, side), Program(None, folder)
    opened, back = "yes", "yes"
    try:
        make_store(other, folder / "made")
        if keep is not None:
            pack(folder / "made", keep / f"engine-{version}.tar.xz")
        for step in opened_by(installed, folder / "made"):
            print(f"{version}: {step}", file=sys.stderr)
        make_store(installed, folder / "back")
    except RuntimeError as error:
        opened = str(error)
    done = other.run("verify", "--store", str(folder / "back" / "store"))
    if done.returncode:
        back = f"exit code {done.returncode}: {done.stderr.splitlines()[0]}"
    return {
        "made by": version,
        "opened here": opened,
        "with": metadata.version(PACKAGE),
        "and back": back,
    }


def make_store(program: Program, folder: Path) -> None:
    """A store with a past, its pictures and a backup. Raises RuntimeError."""
    photos, store = folder / "photos", ["--store", str(folder / "store")]
    for number in range(PICTURES):
        picture(photos / f"{number}.jpg", number)
    program.must("ingest", str(photos), "--model", str(TINY), "--batch-size", "2", *store)
    program.must("tag", "owner=ann", str(photos), *store)
    picture(photos / "0.jpg", 100)
    (photos / "1.jpg").unlink()
    program.must("reindex", *store)
    program.must("prune", "--yes", *store)
    program.must("backup", str(folder / "backups"), *store)


def opened_by(program: Program, folder: Path) -> Iterator[str]:
    """Whatever one does with a store, step by step. Raises RuntimeError."""
    store, restored = (["--store", str(folder / name)] for name in ("store", "restored"))
    program.must("restore", str(folder / "backups"), *restored)
    yield "its backup is restored"
    for place in (store, restored):
        check(program, folder / "photos", place)
    yield "all pictures find themselves, and are embedded to the same bits"
    program.must("compact", *store)
    check(program, folder / "photos", store)
    yield "compacted, it is the same"


def check(program: Program, photos: Path, store: list[str]) -> None:
    """The store is as good as one's own. Raises RuntimeError where it is not."""
    for path in sorted(photos.iterdir()):
        first = program.must("query", str(path), "--limit", "1", "--min-score", "0.9999", *store)
        if str(path) not in first:
            raise RuntimeError(f"{path.name} does not find itself: {first!r}")
    checked = program.must("verify", "--files", "--embed", *store)
    if "none wrong" not in checked:
        raise RuntimeError(f"verify: {checked}")
    done = program.must("reindex", *store)
    if "0 written and verified, 0 embedded" not in done:
        raise RuntimeError(f"the next run has something to do: {done}")


def pack(folder: Path, target: Path) -> None:
    """The store and its pictures, small."""
    with tarfile.open(target, "w:xz", preset=9) as tar:
        for name in ("store", "photos"):
            tar.add(folder / name, name)


if __name__ == "__main__":
    main()
