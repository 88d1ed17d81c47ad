"""A bundle is closed: nothing is loaded from it but what model.json lists, and that is sound."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipindex.errors import ModelError
from clipindex.model.bundle import MANIFEST, open_bundle
from clipindex.model.onnx_file import external_files
from conftest import TINY, make_pictures, run_clipindex

# --- ONNX by hand, field by field --------------------------------------------------------------


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    """A field of variable length: a message, a text or bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(location: str, key: str = "location") -> bytes:
    """A tensor whose numbers lie in another file."""
    entry = field(1, key.encode()) + field(2, location.encode())
    return field(8, b"weights") + field(13, entry) + varint(14 << 3) + varint(1)


def attribute(location: str) -> bytes:
    return field(1, b"value") + field(5, tensor(location))


def graph(location: str) -> bytes:
    return field(5, tensor(location))


GRAPHS: dict[str, Callable[[str], bytes]] = {
    "an initialiser": lambda path: field(7, graph(path)),
    "one of two graphs": lambda path: field(7, graph("listed")) + field(7, graph(path)),
    "a constant": lambda path: field(7, field(1, field(5, attribute(path)))),
    "a list of constants": lambda path: field(7, field(1, field(5, field(10, tensor(path))))),
    "a branch": lambda path: field(7, field(1, field(5, field(6, graph(path))))),
    "one of several branches": lambda path: field(7, field(1, field(5, field(11, graph(path))))),
    "a sparse initialiser": lambda path: field(7, field(15, field(1, tensor(path)))),
    "its indices": lambda path: field(7, field(15, field(2, tensor(path)))),
    "a sparse constant": lambda path: field(
        7, field(1, field(5, field(22, field(1, tensor(path)))))
    ),
    "sparse constants": lambda path: field(
        7, field(1, field(5, field(23, field(2, tensor(path)))))
    ),
    "a function": lambda path: field(25, field(7, field(5, attribute(path)))),
    "a function's default": lambda path: field(25, field(11, attribute(path))),
    "training": lambda path: field(20, field(1, graph(path))),
}


@pytest.mark.parametrize("where", GRAPHS)
def test_weights_in_another_file_are_found_wherever_a_graph_can_name_them(
    tmp_path: Path, where: str
) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(GRAPHS[where]("w.bin"))
    assert external_files(path) - {"listed"} == {"w.bin"}


def test_what_a_tensor_says_beside_the_location_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(field(7, field(5, tensor("1024", key="offset"))))
    assert not external_files(path)


def test_the_towers_of_the_tests_refer_to_no_other_file() -> None:
    for name in ("vision.onnx", "text.onnx"):
        assert not external_files(TINY / name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"ORTM" * 9,
        b"\x3a",  # a length is missing
        b"\x3a\x05abcd",  # a length beyond the end
        b"\x3a" + b"\xff" * 11,
        b"\xff" * 9 + b"\x01\x01",  # a tag of 64 bits
        b"\x3b\x3c",  # a group, which ONNX has none of
        b"\x3d\0\0",  # half a number
    ],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(content)
    if content != b"\0":  # a field of its own, empty, which any protobuf reader skips
        with pytest.raises(ValueError, match=r"not an ONNX graph|empty"):
            external_files(path)


def test_graphs_in_graphs_without_end_are_refused(tmp_path: Path) -> None:
    inner = graph("w.bin")
    for _ in range(100):
        inner = field(1, field(5, field(6, inner)))
    path = tmp_path / "graph.onnx"
    path.write_bytes(field(7, inner))
    with pytest.raises(ValueError, match="deeper"):
        external_files(path)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.integers(0, 2000))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    whole = (TINY / "vision.onnx").read_bytes()
    path = tmp_path_factory.mktemp("noise") / "graph.onnx"
    for content in (noise, whole[:at] + noise + whole[at + len(noise) : 40_000]):
        path.write_bytes(content)
        with suppress(ValueError):
            external_files(path)


# --- bundles ---------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return shutil.copytree(TINY, tmp_path / "bundle")


def change_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text("utf-8"))
    change(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def listed(path: Path) -> dict[str, int | str]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def refused(bundle: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        open_bundle(bundle).verify()
    assert caught.value.hint
    return caught.value


def move_weights(bundle: Path, location: str) -> None:
    """Let the vision tower name a file with more weights; it is 4 bytes long and exists."""
    (bundle / "w.bin").write_bytes(b"1234")
    with open(bundle / "vision.onnx", "ab") as file:
        file.write(field(7, graph(location)))
    change_manifest(bundle, lambda m: m["files"].update({"vision.onnx": listed(file_of(bundle))}))


def file_of(bundle: Path) -> Path:
    return bundle / "vision.onnx"


@pytest.mark.parametrize("location", ["w.bin", "../w.bin", "/etc/hostname", "./w.bin", "sub/w.bin"])
def test_weights_that_model_json_does_not_list_are_refused(bundle: Path, location: str) -> None:
    move_weights(bundle, location)
    assert f"{location!r}, which model.json does not list" in refused(bundle).message


def test_weights_in_a_listed_file_are_part_of_the_bundle(bundle: Path) -> None:
    move_weights(bundle, "w.bin")
    change_manifest(bundle, lambda m: m["files"].update({"w.bin": listed(bundle / "w.bin")}))
    open_bundle(bundle).verify()
    (bundle / "w.bin").write_bytes(b"4321")
    assert "w.bin: its content differs" in refused(bundle).message


def test_a_graph_that_is_none_is_refused_before_it_is_loaded(bundle: Path) -> None:
    file_of(bundle).write_bytes(b"\xff" * 100)
    change_manifest(bundle, lambda m: m["files"].update({"vision.onnx": listed(file_of(bundle))}))
    assert "vision.onnx: it is not an ONNX graph" in refused(bundle).message


def test_a_file_beside_the_bundle_that_nothing_names_does_no_harm(bundle: Path) -> None:
    (bundle / "README.md").write_text("notes")
    (bundle / "saturation.onnx").write_text("not listed, so not loaded")
    opened = open_bundle(bundle)
    opened.verify()
    assert opened.probe is None


@pytest.mark.parametrize(
    "name",
    [
        "../w.bin",
        "/etc/hostname",
        "sub/w.bin",
        "..",
        ".",
        "",
        "a\\b",
        "a\0b",
        "a\nb",
        "C:w",
        "x" * 300,
    ],
)
def test_a_listed_name_is_no_path(bundle: Path, name: str) -> None:
    change_manifest(bundle, lambda m: m["files"].update({name: {"bytes": 1, "sha256": "0" * 64}}))
    assert "is not a file name" in refused(bundle).message


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def put_socket(path: Path) -> None:
    os.chdir(path.parent)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


def put_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and device files")
@pytest.mark.parametrize("put", [put_pipe, put_device, put_socket, put_folder])
@pytest.mark.parametrize("name", [MANIFEST, "vision.onnx", "tokenizer.json"])
def test_devices_pipes_sockets_and_folders_are_refused_unread(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[Path], None], name: str
) -> None:
    """Reading them might never end."""
    monkeypatch.chdir(bundle)
    (bundle / name).unlink()
    put(bundle / name)
    assert f"{name}: it is not a regular file" in refused(bundle).message


def test_an_endless_file_ends_an_ingest_with_exit_4(bundle: Path, tmp_path: Path) -> None:
    (bundle / "endless").symlink_to("/dev/zero")
    change_manifest(
        bundle, lambda m: m["files"].update({"endless": {"bytes": 1, "sha256": "0" * 64}})
    )
    make_pictures(tmp_path / "in", 1)
    ended = run_clipindex("ingest", tmp_path / "in", "--model", bundle, "--store", tmp_path / "s")
    assert ended.code == 4
    assert "endless: it is not a regular file" in ended.err


def test_links_to_regular_files_are_fine(bundle: Path, tmp_path: Path) -> None:
    """Caches of downloads keep the files elsewhere."""
    (tmp_path / "blobs").mkdir()
    for number, path in enumerate(sorted(bundle.iterdir())):
        path.rename(tmp_path / "blobs" / str(number))
        path.symlink_to(tmp_path / "blobs" / str(number))
    open_bundle(bundle).verify()


def test_a_link_to_nothing_is_a_missing_file(bundle: Path) -> None:
    file_of(bundle).unlink()
    file_of(bundle).symlink_to("gone")
    assert "vision.onnx: it is missing" in refused(bundle).message


def test_an_enormous_model_json_is_not_read(bundle: Path) -> None:
    os.truncate(bundle / MANIFEST, 2**34)
    assert "model.json: it has more than" in refused(bundle).message


def test_a_deeply_nested_model_json_is_refused(bundle: Path) -> None:
    (bundle / MANIFEST).write_text("[" * 200_000)
    assert "model.json" in refused(bundle).message


# --- values ------------------------------------------------------------------------------------

UNKNOWN: list[tuple[str, str, object]] = [
    ("", "precision", "fp16"),
    ("", "precision", None),
    ("", "dimension", 0),
    ("", "dimension", -512),
    ("", "dimension", 10**9),
    ("", "dimension", 512.0),
    ("", "dimension", "512"),
    ("", "dimension", True),
    ("", "opset", "17"),
    ("", "model", 5),
    ("", "model", "x" * 5000),
    ("", "revision", None),
    ("", "licence", ["MIT"]),
    ("", "schema", True),
    ("", "schema", "1"),
    ("image", "size", 0),
    ("image", "size", 10**6),
    ("image", "size", 224.5),
    ("image", "size", [224, 224]),
    ("image", "mean", [0.5, 0.5]),
    ("image", "mean", [0.5] * 4),
    ("image", "mean", 0.5),
    ("image", "mean", "0.5"),
    ("image", "mean", ["0.5"] * 3),
    ("image", "mean", [123.7, 116.3, 103.5]),
    ("image", "std", [0.2, 0.2, 0]),
    ("image", "std", [-0.2] * 3),
    ("image", "std", [float("nan")] * 3),
    ("image", "std", [float("inf")] * 3),
    ("image", "interpolation", "nearest"),
    ("image", "interpolation", "nearest"),
    ("image", "interpolation", 3),
    ("image", "fit", "pad"),
    ("image", "fit", None),
    ("image", "fit", {}),
    ("text", "context_length", 1),
    ("text", "context_length", "77"),
    ("text", "context_length", 77.0),
    ("text", "context_length", 10**8),
    ("text", "pad_id", -1),
    ("text", "pad_id", 2**70),
    ("text", "pad_id", None),
    ("text", "pad", "max_length"),
    ("text", "cleaning", "other"),
    ("text", "cleaning", ["openai"]),
]


@pytest.mark.parametrize(("part", "name", "value"), UNKNOWN)
def test_a_value_that_clipindex_would_not_act_on_is_refused(
    bundle: Path, part: str, name: str, value: object
) -> None:
    change_manifest(bundle, lambda m: (m[part] if part else m).update({name: value}))
    error = refused(bundle)
    assert "model.json" in error.message
    assert name in error.message or name in ("mean", "std")


@pytest.mark.parametrize("part", ["", "image", "text"])
def test_a_field_that_is_unknown_or_missing_is_refused(bundle: Path, part: str) -> None:
    whole = (bundle / MANIFEST).read_text("utf-8")
    change_manifest(bundle, lambda m: (m[part] if part else m).update(colours="BGR"))
    assert "colours" in refused(bundle).message
    fields = json.loads(whole)
    for name in list(fields[part] if part else fields):
        (bundle / MANIFEST).write_text(whole, "utf-8")
        change_manifest(bundle, lambda m, name=name: (m[part] if part else m).pop(name))
        assert name in refused(bundle).message


@pytest.mark.parametrize(
    "spec",
    [
        {"bytes": 0, "sha256": "0" * 64},
        {"bytes": -1, "sha256": "0" * 64},
        {"bytes": 2**50, "sha256": "0" * 64},
        {"bytes": "5", "sha256": "0" * 64},
        {"bytes": 5.0, "sha256": "0" * 64},
        {"bytes": 5, "sha256": "0" * 63},
        {"bytes": 5, "sha256": "G" * 64},
        {"bytes": 5, "sha256": None},
        {"bytes": 5},
        [],
        None,
    ],
    ids=str,
)
def test_a_size_or_digest_that_is_none_is_refused(bundle: Path, spec: object) -> None:
    change_manifest(bundle, lambda m: m["files"].update({"vision.onnx": spec}))
    assert "model.json" in refused(bundle).message
