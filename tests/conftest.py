"""What the tests share: the tiny model, pictures made on the fly, the program as a process.

Everything runs on the real engine and a real (tiny) ONNX model. Tests that need the real
photographs read CLIPINDEX_TEST_DATA and are skipped when it is unset.
"""

from __future__ import annotations

import codecs
import hashlib
import importlib
import io
import itertools
import json
import os
import pkgutil
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

import clipindex
from clipindex.collection import label
from clipindex.index.held import Held
from clipindex.ingest.events import FileDone, RunFinished, Summary
from clipindex.model.bundle import open_bundle
from clipindex.model.encoder import Model
from clipindex.stores import connection
from qdrant_double import Cluster, Double

# The same examples at each run, so that a change breaks the suite and chance does not. New ones:
# `pytest --hypothesis-profile=default`, a few times before a release and after touching a parser.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

# Whoever asks for no bytecode gets some here: the workers would rewrite every assertion again, and
# hundreds of processes compile clipindex again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

NUMBERS = itertools.count()
TINY = Path(__file__).parent / "data" / "tiny"
OTHER_DIMENSION = 128  # of a second model, made of the first


def unpack(tar: tarfile.TarFile, folder: Path) -> None:
    """Everything in it, nothing outside the folder; before 3.11.4 Python has no such filter."""
    if hasattr(tarfile, "data_filter"):
        tar.extraction_filter = tarfile.data_filter
    tar.extractall(folder)


def picture(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A smooth coloured picture, different for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def picture_bytes(seed: int, kind: str = "JPEG", **options: object) -> bytes:
    """An encoded picture, different for each seed."""
    out = io.BytesIO()
    picture(seed).save(out, kind, **options)
    return out.getvalue()


def make_pictures(folder: Path, count: int, first_seed: int = 0) -> list[Path]:
    """`count` different JPEGs, named 000.jpg and on."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(picture_bytes(first_seed + number))
    return paths


@dataclass
class Run:
    """A finished ingest: its files by path, its summary."""

    files: dict[str, FileDone]
    summary: Summary
    events: list[clipindex.Event]

    def status(self, path: Path) -> str:
        return self.files[str(path)].status.value


def ingest(index: clipindex.Index, *paths: Path, **options: object) -> Run:
    """Ingest to the end."""
    events = list(index.ingest_events(paths, clipindex.IngestOptions(**options)))  # type: ignore[arg-type]
    files = {event.path: event for event in events if isinstance(event, FileDone)}
    (summary,) = [event.summary for event in events if isinstance(event, RunFinished)]
    return Run(files, summary, events)


def reconciles(summary: Summary) -> bool:
    """Promise 5: every file found has exactly one status."""
    parts = ("new", "changed", "duplicate", "moved", "unchanged", "quarantined", "skipped")
    return summary.found == summary.deferred + sum(getattr(summary, part) for part in parts)


@pytest.fixture(autouse=True)
def _own_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No setting of the person who runs the tests reaches them, nor does what another test left
    in the state folder; it is made when something is put there."""
    state = tmp_path_factory.getbasetemp() / f"state-{next(NUMBERS)}"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    for name in list(os.environ):
        if name.startswith("CLIPINDEX_") and not name.startswith("CLIPINDEX_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def tmp_path(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Emptied after a test that passed; its name stays taken, for what is cached by path."""
    failed = request.session.testsfailed
    yield tmp_path
    if request.session.testsfailed == failed:
        for entry in tmp_path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def tiny_model() -> Model:
    """The tiny random CLIP of tests/data/tiny, loaded."""
    return Model(open_bundle(TINY))


def varint(number: int) -> bytes:
    out = b""
    while number >= 128:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number: int, value: bytes | int) -> bytes:
    """A field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def narrowed(graph: bytes, output: bytes, seed: int) -> bytes:
    """An ONNX graph with one more matrix at its end. Protobuf's messages are merged when they are
    joined: what is appended adds a node, its weights [512, 128] and an output to the graph."""
    hidden = output[:-6] + b"hidden"
    weights = (
        np.random.default_rng(seed).standard_normal((512, OTHER_DIMENSION)).astype("<f4").tobytes()
    )
    node = field(1, hidden) + field(1, b"narrow") + field(2, output) + field(4, b"MatMul")
    tensor = field(1, 512) + field(1, OTHER_DIMENSION) + field(2, 1) + field(8, b"narrow")
    shape = field(1, field(2, b"batch")) + field(1, field(1, OTHER_DIMENSION))
    kind = field(1, field(1, 1) + field(2, shape))
    added = field(1, node) + field(5, tensor + field(9, weights))
    added += field(12, field(1, output) + field(2, kind))
    return graph.replace(output, hidden) + field(7, added)


def make_other(folder: Path, name: str = "other-clip", seed: int = 7) -> Path:
    """A bundle like the tiny one, with other weights and a quarter of the dimensions."""
    shutil.copytree(TINY, folder)
    manifest = json.loads((folder / "model.json").read_text())
    for tower in ("vision", "text"):
        kind = "image" if tower == "vision" else "text"
        data = narrowed((folder / f"{tower}.onnx").read_bytes(), f"{kind}_embeds".encode(), seed)
        (folder / f"{tower}.onnx").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        manifest["files"][f"{tower}.onnx"] = {"bytes": len(data), "sha256": digest}
    manifest |= {"model": name, "dimension": OTHER_DIMENSION}
    (folder / "model.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_other(tmp_path_factory.mktemp("models") / "other"))


@cache
def loaded(folder: Path) -> Model:
    """A model, loaded once for all tests of a process."""
    return Model(open_bundle(folder))


@pytest.fixture
def one_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model is loaded once, by whichever index."""
    monkeypatch.setattr(Held, "_loaded", lambda _self, bundle: loaded(bundle.folder))


@pytest.fixture
def _impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder of the test's own, short pauses before a server is asked again, and no
    warning (an error here) of an answer that takes seconds on a busy machine."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(connection, "SILENT_FOR", 60.0)
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(label, "LOOKS", (0.0, 0.05, 0.2))
    monkeypatch.setattr(label, "SETTLED", 0.2)


@pytest.fixture
def double(tmp_path: Path, _impatient: None) -> Iterator[Double]:
    """A Qdrant server on this machine."""
    with Double(tmp_path / "qdrant") as running:
        yield running


@pytest.fixture
def cluster(tmp_path: Path, _impatient: None) -> Iterator[Cluster]:
    """Three nodes of a Qdrant cluster on this machine."""
    with Cluster(tmp_path / "cluster", 3) as running:
        yield running


@pytest.fixture
def index(tmp_path: Path) -> clipindex.Index:
    """A collection that does not exist yet, to be made with the tiny model."""
    return clipindex.Index(tmp_path / "store", model=str(TINY))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real photographs, golden tensors and damaged files."""
    place = os.environ.get("CLIPINDEX_TEST_DATA")
    if not place:
        pytest.skip("CLIPINDEX_TEST_DATA is not set")
    return Path(place)


@pytest.fixture(scope="session")
def captioned(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 500 photographs of captioned-500.tar, unpacked."""
    folder = tmp_path_factory.mktemp("captioned")
    with tarfile.open(test_data / "captioned-500.tar") as tar:
        unpack(tar, folder)
    return folder


@dataclass
class Ended:
    """A process that ran to its end."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, object]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def run_clipindex(*args: object, env: dict[str, str] | None = None, **options: object) -> Ended:
    """`clipindex ARGS` as a process of its own, without a terminal, as cron would run it."""
    done = subprocess.run(
        [sys.executable, "-m", "clipindex", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(env or {})},
        check=False,
        **options,  # type: ignore[call-overload]
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def start_clipindex() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `clipindex ARGS` and lets the test go on beside it; what still runs is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: object, stdin: int | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "clipindex", *map(str, args)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


NOBODY = 65534


def import_everything() -> None:
    """What a test may import only later: another user may be unable to read this Python.

    A codec or a plugin whose import fails once counts as missing until the process ends.
    """
    for codec in ("ascii", "latin-1", "idna", "utf-16"):
        codecs.lookup(codec)
    for module in pkgutil.walk_packages(clipindex.__path__, "clipindex."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # an extra that is not installed
                importlib.import_module(module.name)


@contextmanager
def unprivileged() -> Iterator[None]:
    """For a while without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    import_everything()
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that another user can reach, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp()).resolve()
    folder.chmod(0o755)
    with unprivileged():
        reached = os.access(folder, os.X_OK, effective_ids=True)
    if not reached:  # pragma: no cover
        pytest.skip("the temporary folder cannot be reached by another user")
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)
