"""An exported graph as it was downloaded: what goes in, what comes out, and what it computes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from clipindex.errors import ModelError
from clipindex.model.onnx_file import external_files
from clipindex.model.onnx_graph.graph import BOOL, FLOAT, FLOAT16, INT32, INT64, UINT8, Array
from clipindex.model.onnxruntime_tower import load, session_options

KINDS = {
    "tensor(float)": FLOAT,
    "tensor(float16)": FLOAT16,
    "tensor(uint8)": UINT8,
    "tensor(int32)": INT32,
    "tensor(int64)": INT64,
    "tensor(bool)": BOOL,
}
DTYPES: dict[int, Any] = {
    FLOAT: np.float32,
    FLOAT16: np.float16,
    UINT8: np.uint8,
    INT32: np.int32,
    INT64: np.int64,
    BOOL: np.bool_,
}
DECLARED = {"float32": FLOAT, "uint8": UINT8, "int32": INT32, "int64": INT64}
# What exporters call an embedding, the likeliest first.
EMBEDDINGS = ("embeds", "pooler_output", "embedding", "last_hidden_state")
ANY = 2  # stands for a length that a graph leaves open, where nothing depends on it


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph. In its shape a length that is left open is None."""

    name: str
    kind: int  # ONNX's number of the element type
    shape: tuple[int | None, ...]


class Export:
    """A downloaded graph in a session."""

    def __init__(self, path: Path, size: int) -> None:
        """`size`: of its pictures, where it has the vision tower as well.

        Raises ModelError when onnxruntime cannot load it, or it takes or gives what no tower does.
        """
        self.path = path
        self._picture: tuple[int, ...] = (1, 3, size, size)
        self._session = load(path, session_options())
        self.inputs = _ports(path, self._session.get_inputs())
        self.outputs = _ports(path, self._session.get_outputs())

    def input(self, wanted: str | None, kind: str, rank: int) -> Port:
        """The input of this name, or the only one of this rank, which must take this kind."""
        chosen = self._named(self.inputs, wanted, rank, "input")
        if chosen.kind != DECLARED[kind]:
            names = {number: name for name, number in DECLARED.items()}
            actual = names.get(chosen.kind, str(chosen.kind))
            raise refused(self.path, f"its input '{chosen.name}' takes {actual}, not {kind}")
        return chosen

    def output(self, wanted: str | None, rank: int, dimension: int | None, tower: str) -> Port:
        """The output of this name, or the one of this rank that is called like the embedding of
        this tower."""
        if wanted is not None:
            return self._named(self.outputs, wanted, rank, "output")
        fitting = [
            port
            for port in self.outputs
            if len(port.shape) == rank and port.shape[-1] in (None, dimension or port.shape[-1])
        ]
        if len(fitting) == 1:
            return fitting[0]
        for name in (f"{tower}_embeds", *EMBEDDINGS):
            for port in fitting:
                if port.name == name:
                    return port
        raise self._lacks("output", f"that is surely the {tower} embedding", self.outputs)

    def _named(self, ports: Sequence[Port], wanted: str | None, rank: int, what: str) -> Port:
        named = [port for port in ports if wanted in (None, port.name)]
        if wanted is None:
            named = [port for port in named if len(port.shape) == rank]
        if len(named) != 1:
            description = f"named '{wanted}'" if wanted is not None else f"of {rank} axes alone"
            raise self._lacks(what, description, ports)
        if len(named[0].shape) != rank:
            axes = len(named[0].shape)
            raise refused(self.path, f"its {what} '{named[0].name}' has {axes} axes, not {rank}")
        return named[0]

    def _lacks(self, what: str, description: str, ports: Sequence[Port]) -> ModelError:
        names = ", ".join(f"{port.name} {list(port.shape)}" for port in ports)
        return refused(self.path, f"it has no {what} {description}; it has {names}")

    def run(self, output: Port, feeds: Mapping[str, Array]) -> Array:
        """One output for these inputs; those that it does not depend on are filled up.

        A graph with a fixed batch is run as often as needed.
        """
        count = len(next(iter(feeds.values())))
        (first, *_) = (port for port in self.inputs if port.name in feeds)
        at_once = first.shape[0] or count
        results = []
        for start in range(0, count, at_once):
            index = np.arange(start, start + at_once) % count  # the last repeats some
            part = {name: array[index] for name, array in feeds.items()}
            others: dict[str, Array] = {
                port.name: np.zeros(self._length_of(port, at_once), DTYPES[port.kind])
                for port in self.inputs
                if port.name not in feeds
            }
            try:
                results.append(self._session.run([output.name], {**others, **part})[0])
            except Exception as error:  # onnxruntime's exceptions share no base of their own
                raise refused(self.path, f"it does not run: {str(error)[:400]}") from error
        embeddings: Array = np.concatenate(results)[:count].astype(np.float32)
        return embeddings

    def _length_of(self, port: Port, count: int) -> list[int]:
        """A shape for an input that does not matter."""
        usual = self._picture if len(port.shape) == 4 else (count, ANY, ANY, ANY, ANY)
        usual = usual[: len(port.shape)]
        return [size or length for size, length in zip(port.shape, usual, strict=True)]


def _ports(path: Path, described: Sequence[Any]) -> list[Port]:
    for port in described:
        if port.type not in KINDS:
            raise refused(path, f"'{port.name}' is of type {port.type}, which no tower takes")
    return [
        Port(
            port.name,
            KINDS[port.type],
            tuple(size if isinstance(size, int) and size > 0 else None for size in port.shape),
        )
        for port in described
    ]


def refused(path: Path, why: str) -> ModelError:
    """The error for a graph that cannot become a tower."""
    return ModelError(
        f"{path.name} cannot be adapted: {why}",
        path=str(path),
        hint="nothing was installed. Its description may be wrong, or the export is of another"
        " kind: `clipindex models info NAME` shows what was expected",
    )


@contextmanager
def laid_out(downloaded: Mapping[str, Path], graph: str) -> Iterator[Path]:
    """The path of a downloaded graph, with the files of its weights beside it by their own names.

    `downloaded`: path in the repository -> where it arrived.
    """
    needed = weights_of(downloaded, graph)
    if not needed:
        yield downloaded[graph]
        return
    with TemporaryDirectory(dir=downloaded[graph].parent, prefix=".laid-out-") as folder:
        for name in (graph, *needed):
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(downloaded[name].resolve(), target)
        yield Path(folder) / graph


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def weights_of(downloaded: Mapping[str, Path], graph: str) -> list[str]:
    """Paths in the repository of the files that hold a graph's weights; none where it holds them
    itself. Raises ModelError when one was not downloaded."""
    path = downloaded[graph]
    try:
        locations = sorted(external_files(path))
    except (OSError, ValueError) as error:
        raise refused(path, str(getattr(error, "strerror", None) or error)) from error
    names = [str(PurePosixPath(graph).parent / location) for location in locations]
    for name in names:
        if name not in downloaded:
            raise refused(path, f"its weights are in {name}, which was not downloaded")
    return names
