"""`clipindex models`: a registry that can be trusted, and downloads that are whole or not there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import filelock
import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from clipindex.cli import download_bar
from clipindex.cli.app import app
from clipindex.errors import ModelError, UsageError
from clipindex.model import hub_requests, pulling, registry
from clipindex.model.bundle import find_bundle
from clipindex.model.missing import closest
from clipindex.model.registry import ModelDescription, RemoteFile, descriptions
from conftest import TINY, Ended, make_pictures
from hub_double import COMMIT, Fault, HubDouble
from tiny_exports import DESCRIPTION, Text, Vision, export

NAMES = ("model.json", "vision.onnx", "text.onnx", "tokenizer.json")


def clip(*args: object) -> Ended:
    """The command line in this process."""
    done = CliRunner().invoke(app, list(map(str, args)), catch_exceptions=False)
    return Ended(done.exit_code, done.stdout, done.stderr)


def entry(name: str = "small", *, pinned: bool = True, **changes: object) -> str:
    """A `models.toml` with one model: the tiny one, as a bundle on the hub."""
    files = []
    for path in NAMES:
        content = (TINY / path).read_bytes()
        file: dict[str, object] = {"role": "other", "path": path}
        if pinned:
            file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        files.append(file)
    fields: dict[str, object] = {
        "title": "A small one",
        "origin": "bundle",
        "repository": "someone/small",
        "revision": COMMIT if pinned else "",
        "dimension": 512,
        "towers": ["vision", "text"],
        "licence": "Apache-2.0",
        **changes,
    }
    lines = [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
    for file in files:
        lines += [f"[[{name}.files]]", *(f"{k} = {json.dumps(v)}" for k, v in file.items())]
    return "\n".join(lines) + "\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of this test's own, for clipindex and for the hub; no pauses between attempts."""
    for kind in ("cache", "config", "data", "state"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path / kind))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub_requests, "FIRST_PAUSE", 0.001)
    return tmp_path


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """A hub on this machine that holds the tiny model, and an entry for it."""
    write_list(home, entry())
    with HubDouble(files={path: (TINY / path).read_bytes() for path in NAMES}) as double:
        monkeypatch.setattr(constants, "ENDPOINT", double.url)
        yield double


def write_list(home: Path, text: str) -> Path:
    path = home / "config" / "clipindex" / "models.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def models_folder(home: Path) -> Path:
    return home / "cache" / "clipindex" / "models"


def arrived(home: Path, name: str = "vision.onnx") -> Path | None:
    """What is kept of a file whose download did not end well."""
    return next((models_folder(home) / ".downloads" / "small").glob(f"{name}.*"), None)


# --- the registry ------------------------------------------------------------------------------


def test_every_known_model_has_all_that_is_needed_to_get_and_use_it() -> None:
    for description in descriptions().values():
        assert description.title
        assert description.licence
        assert all(figure.source for figure in description.figures)
        if description.origin != "installed":
            assert description.checkpoint
        if description.origin == "export":
            assert ("vision" in description.towers) == (description.image is not None)
            assert description.revision, description.id
            assert {file.role for file in description.files} >= {*description.towers, "tokenizer"}
            assert (description.vision_graph is not None) == ("vision" in description.towers)
            assert description.text_graph is not None
        if description.mate:
            mate = descriptions()[description.mate]
            assert "vision" not in description.towers
            assert mate.dimension == description.dimension


def test_a_digest_and_a_size_stand_for_the_same_file_wherever_it_occurs() -> None:
    seen: dict[tuple[str, str, str], tuple[int | None, str | None]] = {}
    for description in descriptions().values():
        for file in description.files:
            key = (file.repository, file.revision, file.path)
            assert seen.setdefault(key, (file.bytes, file.sha256)) == (file.bytes, file.sha256)


def test_the_recommended_model_can_be_pulled_and_used_commercially() -> None:
    recommended = descriptions()[registry.RECOMMENDED]
    assert recommended.can_be_pulled
    assert recommended.commercial_use
    assert all(file.sha256 and file.bytes for file in recommended.files)


def test_a_model_of_ones_own_is_listed_beside_the_others(home: Path) -> None:
    write_list(home, entry("mine"))
    listed = {line["model"]: line for line in clip("models", "--json").lines}
    assert listed["mine"]["repository"] == "someone/small"
    assert listed["mine"]["installed"] is False
    assert listed["mini"]["installed"] is True
    assert list(listed)[-1] == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[x", "Expected"),
        ("[x]\ntitle = 'no more'\n", "towers"),
        (entry("mini"), "choose another id"),
        (entry("a/b".replace("/", "\\u002f")), "list of your own models"),
        (entry(revision="main"), "revision"),
        (entry(repository="no slash"), "repository"),
        (entry(origin="somewhere"), "origin"),
        (entry(colour="red"), "colour"),
        (entry().replace('path = "model.json"', 'path = "../model.json"'), "path"),
        (entry().replace("sha256 = ", "sha256 = 'x' #"), "sha256"),
    ],
)
def test_a_list_that_is_wrong_says_where_and_what(home: Path, text: str, said: str) -> None:
    path = write_list(home, text)
    with pytest.raises(UsageError, match=said) as caught:
        descriptions()
    assert caught.value.path == str(path)
    assert "docs/models.md" in caught.value.hint


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_the_pages_show_what_the_registry_says(page: str) -> None:
    text = (Path(__file__).parents[1] / page).read_text("utf-8")
    table = text.split("\n| model | numbers |")[1].split("\n\n")[0]
    head, _, *rows = f"| model | numbers |{table}".splitlines()
    names = [name.strip() for name in head.split("|")[1:-1]]
    shown = [dict(zip(names, map(str.strip, row.split("|")[1:-1]), strict=True)) for row in rows]
    known = descriptions()
    for row in shown:
        description = known[row["model"].strip("`")]
        figures = {figure.name: f"{figure.value:.1f}" for figure in description.figures}
        assert row["numbers"] == str(description.dimension)
        assert row["ImageNet"] == figures.get("IN-1k", "–")
        assert row["COCO"] == figures.get("COCO", "–")
        if description.image is not None:
            assert row["pixels"] == str(description.image.size)
        if "licence" in row:
            assert description.licence.startswith(row["licence"])
    missing = set(known) - {row["model"].strip("`") for row in shown}
    assert page == "README.md" or not missing


def test_the_example_of_a_list_of_ones_own_is_one(home: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text("utf-8")
    write_list(home, page.split("```toml\n")[1].split("```")[0])
    assert descriptions()["our-clip"].can_be_pulled


def test_every_field_of_a_model_in_json_is_documented() -> None:
    section = (Path(__file__).parents[1] / "docs" / "json.md").read_text("utf-8")
    table = section.split("\n## model\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.M)
    documented = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    for line in clip("models", "--json").lines:
        assert set(line) == documented


# --- what to type --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("vit-b-32", "'vit-b-32' is not on this machine", "clipindex models pull vit-b-32"),
        ("ViT-B/32", "no model", ""),
        ("ViT-B-32", "no model named 'ViT-B-32'", "did you mean 'vit-b-32'?"),
        ("vit-b-32-laion", "no model named", "clipindex models pull vit-b-32-laion2b"),
        ("minni", "no model named 'minni'; installed: mini", "did you mean 'mini'?"),
        ("vit-b-32-datacomp-xl", "not on this machine", "convert_to_onnx.py laion/CLIP-ViT-B-32-D"),
        ("mobileclip2-s0", "not on this machine", "research only"),
        ("openai/clip-vit-base-patch32", "not on this machine", "models pull vit-b-32"),
        ("Immich-App/ViT-B-32__laion2b-s34b-b79k", "not on this", "pull vit-b-32-laion2b"),
        ("zebra", "no model named 'zebra'; installed: mini", "`clipindex models`"),
        ("./zebra", "no model bundle there", "--model"),
    ],
)
def test_a_model_that_is_not_here_says_what_to_type(typed: str, message: str, hint: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        find_bundle(typed)
    assert hint in caught.value.hint


def test_a_name_is_close_in_spite_of_case_and_underscores() -> None:
    names = list(descriptions())
    assert closest("ViT_B_32_LAION2B", names) == "vit-b-32-laion2b"
    assert closest("siglip2-base", names) == "siglip2-b-32-256"
    assert closest("laion2b", names) == "vit-b-32-laion2b"
    assert closest("resnet", names) is None
    assert closest("ViT-Z", names) is None


def test_ingest_with_a_model_that_is_not_here_ends_with_the_models_exit_code(home: Path) -> None:
    make_pictures(home / "pictures", 1)
    ended = clip("ingest", home / "pictures", "--model", "vit-b-32")
    assert ended.code == 4
    assert "clipindex models pull vit-b-32" in ended.err
    assert "(608 MB)" in ended.err


@pytest.mark.parametrize("action", ["info", "pull", "path", "remove"])
def test_an_action_without_a_name_says_how_it_is_typed(action: str) -> None:
    ended = clip("models", action)
    assert ended.code == 2
    assert f"clipindex models {action} NAME" in ended.err


def test_a_model_without_an_export_says_how_it_is_converted() -> None:
    ended = clip("models", "pull", "vit-b-32-datacomp-xl")
    assert ended.code == 2
    assert "scripts/convert_to_onnx.py laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K" in ended.err


# --- pull ----------------------------------------------------------------------------------------


def test_a_pulled_model_indexes_and_answers(hub: HubDouble, home: Path) -> None:
    make_pictures(home / "pictures", 2)
    assert clip("models", "pull", "small").code == 0
    assert clip("models", "path", "small").out == f"{models_folder(home) / 'small'}\n"
    assert clip("models", "verify", "small").code == 0
    assert clip("ingest", home / "pictures", "--model", "small", "-q").code == 0
    assert len(clip("query", "a cat", "--json").lines) == 2
    assert not (models_folder(home) / ".downloads" / "small").exists()
    before = len(hub.requests)
    again = clip("models", "pull", "small", "--json")
    assert again.lines == [
        {
            "type": "pulled",
            "model": "small",
            "folder": str(models_folder(home) / "small"),
            "downloaded": False,
            "files": [],
        }
    ]
    assert len(hub.requests) == before


def test_what_came_is_told_to_programs(hub: HubDouble) -> None:
    (line,) = clip("models", "pull", "small", "--json").lines
    assert line["downloaded"] is True
    files = {file["path"]: file for file in line["files"]}  # type: ignore[attr-defined,index]
    assert set(files) == set(NAMES)
    content = hub.files["vision.onnx"]
    assert files["vision.onnx"] == {
        "path": "vision.onnx",
        "repository": "someone/small",
        "revision": COMMIT,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "pinned": True,
        "from_cache": False,
    }


def test_a_model_without_pins_is_pulled_and_its_digests_are_shown(
    hub: HubDouble, home: Path
) -> None:
    write_list(home, entry(pinned=False))
    ended = clip("models", "pull", "small")
    assert ended.code == 0
    digest = hashlib.sha256(hub.files["vision.onnx"]).hexdigest()
    assert f"vision.onnx: SHA-256 {digest} (of the hub" in ended.err
    assert any("/resolve/main/" in request.path for request in hub.requests)
    assert all(COMMIT in request.path for request in hub.fetched() if request.server == "hub")


def test_a_download_that_breaks_off_goes_on_by_itself(hub: HubDouble) -> None:
    hub.faults["vision.onnx"] = [Fault(times=3, cut=100_000)]
    assert clip("models", "pull", "small").code == 0
    ranges = [request.range for request in hub.fetched("vision.onnx") if request.server == "store"]
    assert ranges == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]


def test_a_download_that_always_breaks_off_is_kept_and_the_next_call_goes_on(
    hub: HubDouble, home: Path
) -> None:
    hub.faults["vision.onnx"] = [
        Fault(times=1, cut=100_000),
        Fault(times=hub_requests.ATTEMPTS, status=503),
    ]
    ended = clip("models", "pull", "small")
    assert ended.code == 4
    assert "status 503" in ended.err
    for way in ("HF_ENDPOINT", "--model FOLDER", "mini"):
        assert way in ended.err
    partial = arrived(home)
    assert partial is not None
    assert partial.stat().st_size == 100_000
    with pytest.raises(ModelError, match="not on this machine"):
        find_bundle("small")
    hub.requests.clear()
    assert clip("models", "pull", "small").code == 0
    assert hub.fetched("vision.onnx")[-1].range == "bytes=100000-"
    assert not hub.fetched("model.json"), "it had arrived before"


def test_a_server_that_knows_no_ranges_sends_the_file_from_its_start(
    hub: HubDouble,
) -> None:
    hub.faults["vision.onnx"] = [Fault(times=1, cut=100_000), Fault(times=1, whole=True)]
    assert clip("models", "pull", "small").code == 0


def test_other_bytes_of_the_right_size_are_refused_and_deleted(hub: HubDouble, home: Path) -> None:
    hub.faults["vision.onnx"] = [Fault(times=1, other=True)]
    ended = clip("models", "pull", "small")
    assert ended.code == 4
    assert "arrived with another content" in ended.err
    assert arrived(home) is None
    assert clip("models", "pull", "small").code == 0


@pytest.mark.parametrize("name", ["vision.onnx", "model.json"])
def test_without_a_pin_the_hubs_own_digest_is_held_to(
    hub: HubDouble, home: Path, name: str
) -> None:
    """A large file's etag is its SHA-256, a small one's is Git's SHA-1."""
    hub.files["model.json"] = json.dumps(json.loads(hub.files["model.json"])).encode()
    assert len(hub.files["model.json"]) < 1000
    write_list(home, entry(pinned=False))
    hub.faults[name] = [Fault(times=1, other=True)]
    ended = clip("models", "pull", "small")
    assert ended.code == 4
    assert f"{name} of someone/small arrived with another content" in ended.err


def test_another_file_than_the_pinned_one_is_refused_before_it_is_downloaded(
    hub: HubDouble,
) -> None:
    hub.files["vision.onnx"] = hub.files["vision.onnx"][::-1]
    ended = clip("models", "pull", "small")
    assert ended.code == 4
    assert "is another file" in ended.err
    assert not hub.fetched()


def test_a_mirror_whose_etags_say_nothing_is_held_to_the_pins(hub: HubDouble, home: Path) -> None:
    hub.as_mirror = True
    assert clip("models", "pull", "small").code == 0
    write_list(home, entry("loose", pinned=False))
    ended = clip("models", "pull", "loose")
    assert ended.code == 4
    assert "another content" in ended.err


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(head=True, status=401, code="GatedRepo"), "accepted its terms"),
        (Fault(head=True, status=403), "private, or gone"),
        (Fault(head=True, status=404, code="EntryNotFound"), "has no text.onnx at revision"),
        (Fault(head=True, status=500), "status 500"),
        (Fault(status=403), "private, or gone"),
    ],
)
def test_a_refusal_of_the_hub_says_what_to_do(hub: HubDouble, fault: Fault, said: str) -> None:
    hub.faults["text.onnx"] = [fault]
    ended = clip("models", "pull", "small")
    assert ended.code == 4
    assert said in ended.err
    assert len(ended.err.splitlines()) >= 2, "a hint follows"


def test_a_repository_that_is_gone_is_named(hub: HubDouble, home: Path) -> None:
    write_list(home, entry(repository="someone/else"))
    ended = clip("models", "pull", "small")
    assert ended.code == 4
    assert f"{hub.url}/someone/else" in ended.err
    assert "HF_TOKEN" in ended.err


def test_a_redirect_within_the_hub_is_followed_with_the_token(
    hub: HubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.moved = True
    assert clip("models", "pull", "small").code == 0
    moved = [request for request in hub.requests if request.path.startswith("/api/cache/")]
    assert {request.token for request in moved} == {"Bearer hf_secret"}


def test_a_mirror_that_is_no_url_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_list(home, entry())
    monkeypatch.setattr(constants, "ENDPOINT", "mirror.example")
    ended = clip("models", "pull", "small")
    assert ended.code == 2
    assert "HF_ENDPOINT is no URL: mirror.example" in ended.err


def test_without_a_network_three_ways_out_are_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_list(home, entry())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens there
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        ended = clip("models", "pull", "small")
    assert ended.code == 4
    assert "cannot be reached" in ended.err
    for way in ("HF_ENDPOINT", "--model FOLDER", "mini"):
        assert way in ended.err


def test_a_page_that_is_no_hub_is_not_taken_for_one(hub: HubDouble) -> None:
    hub.as_page = True
    ended = clip("models", "pull", "small")
    assert ended.code == 4
    assert f"what answers at {hub.url} is no hub" in ended.err
    assert "login page" in ended.err
    assert not hub.fetched()


def test_a_token_goes_to_the_hub_and_to_no_other_host(
    hub: HubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    ended = clip("models", "pull", "small", "--verbose")
    assert ended.code == 0
    assert {request.token for request in hub.requests if request.server == "hub"} == {
        "Bearer hf_secret"
    }
    assert {request.token for request in hub.requests if request.server == "store"} == {None}
    assert "hf_secret" not in ended.out + ended.err


def test_a_token_is_not_sent_in_the_clear_to_another_machine() -> None:
    plain = hub_requests.Requests("http://mirror.example", "hf_secret", 1)
    safe = hub_requests.Requests("https://mirror.example", "hf_secret", 1)
    assert plain._headers("http://mirror.example/a") == {}
    assert safe._headers("https://mirror.example/a") == {"authorization": "Bearer hf_secret"}
    assert safe._headers("https://elsewhere.example/a") == {}
    assert safe._headers("http://mirror.example/a") == {}


# --- an export, all the way ---------------------------------------------------------------------


def inline(value: object) -> str:
    """A value as TOML on one line; fields that are None are left out."""
    if isinstance(value, dict):
        pairs = (f"{name} = {inline(v)}" for name, v in value.items() if v is not None)
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


def toml(description: ModelDescription) -> str:
    fields = asdict(description)
    name = fields.pop("id")
    lines = (f"{key} = {inline(v)}" for key, v in fields.items() if v is not None)
    return "\n".join([f"[{name}]", *lines, ""])


def tiny_export(hub: HubDouble, model: str, **files: bytes) -> ModelDescription:
    """An export of tiny towers on the hub, pinned: role -> content."""
    remote = []
    for role, content in files.items():
        path = "tokenizer.json" if role == "tokenizer" else f"{model}/{role}.onnx"
        hub.files[path] = content
        remote.append(
            RemoteFile(
                role=role,  # type: ignore[arg-type]
                path=path,
                repository=hub.repository,
                revision=COMMIT,
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    return replace(DESCRIPTION, id=model, files=tuple(remote))


def test_exports_are_pulled_indexed_and_searched_and_none_are_mixed_up(
    hub: HubDouble, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = (TINY / "tokenizer.json").read_bytes()
    tower, texts, others = (
        export(what, seed=seed).SerializeToString()
        for seed, what in enumerate((Vision(), Text(), Text()))
    )
    eyes = tiny_export(hub, "eyes", vision=tower, text=texts, tokenizer=tokenizer)
    tongues = tiny_export(hub, "tongues", text=others, tokenizer=tokenizer)
    tongues = replace(tongues, towers=("text",), image=None, vision_graph=None, mate="eyes")
    write_list(home, toml(eyes) + toml(tongues))
    make_pictures(home / "pictures", 2)
    store = ("--store", home / "store")

    assert clip("models", "pull", "eyes", "tongues").code == 0
    assert clip("models", "verify", "eyes", "tongues").code == 0
    ingest = ("ingest", home / "pictures", "-q", *store)
    assert clip(*ingest, "--model", "eyes").code == 0
    own = clip("query", "a cat", "--json", *store).lines
    other = clip("query", "a cat", "--json", "--model", "tongues", *store).lines
    assert len(own) == len(other) == 2
    assert [line["score"] for line in own] != [line["score"] for line in other]
    assert clip(*ingest, "--model", "mini").code == 5
    assert clip(*ingest, "--collection", "second", "--model", "mini").code == 0
    mixed = clip("query", "a cat", "--model", "tongues", "--collection", "second", *store)
    assert mixed.code == 5

    first = contents(models_folder(home) / "eyes")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache of another machine"))
    assert clip("models", "pull", "eyes").code == 0
    assert contents(home / "cache of another machine" / "clipindex" / "models" / "eyes") == first
    assert clip(*ingest, "--model", "eyes").code == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_export_that_is_not_as_described_is_not_installed(hub: HubDouble, home: Path) -> None:
    tower = export(Vision(name="something")).SerializeToString()
    tokenizer = (TINY / "tokenizer.json").read_bytes()
    texts = export(Text(), seed=1).SerializeToString()
    write_list(home, toml(tiny_export(hub, "eyes", vision=tower, text=texts, tokenizer=tokenizer)))
    ended = clip("models", "pull", "eyes")
    assert ended.code == 4
    assert "something" in ended.err
    assert not list(models_folder(home).glob("*eyes*"))


# --- the hub's cache and its offline switch ------------------------------------------------------


def fill_hubs_cache(home: Path, *, damaged: str = "") -> None:
    """As `huggingface_hub` keeps files: blobs called by their etags, and links to them."""
    repository = home / "hub" / "models--someone--small"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for name in NAMES:
        content = (TINY / name).read_bytes()
        blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content[::-1] if name == damaged else content)
        (snapshot / name).symlink_to(blob)


@pytest.mark.parametrize("pinned", [True, False])
def test_what_the_hubs_cache_holds_is_taken_from_there_without_a_network(
    home: Path, monkeypatch: pytest.MonkeyPatch, pinned: bool
) -> None:
    write_list(home, entry(pinned=pinned, revision=COMMIT))
    fill_hubs_cache(home)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (line,) = clip("models", "pull", "small", "--json").lines
    assert all(file["from_cache"] for file in line["files"])  # type: ignore[attr-defined]
    assert clip("models", "verify", "small").code == 0


def test_a_damaged_file_in_the_hubs_cache_is_downloaded_instead(hub: HubDouble, home: Path) -> None:
    fill_hubs_cache(home, damaged="text.onnx")
    assert clip("models", "pull", "small").code == 0
    assert {
        request.path.rpartition("/")[2] for request in hub.fetched() if "resolve" in request.path
    } == {"text.onnx"}


def test_offline_nothing_is_asked_and_the_switch_is_named(
    hub: HubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ended = clip("models", "pull", "small")
    assert ended.code == 4
    assert "HF_HUB_OFFLINE" in ended.err
    assert not hub.requests


# --- the disk, other processes, interrupts -------------------------------------------------------


def test_too_little_space_is_said_before_anything_is_downloaded(
    hub: HubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "free_space", lambda _: 70_000_000)
    ended = clip("models", "pull", "small")
    assert ended.code == 9
    assert "small needs 77 MB" in ended.err
    assert "XDG_CACHE_HOME" in ended.err
    assert not hub.fetched()


def test_two_processes_do_not_pull_the_same_model(hub: HubDouble, home: Path) -> None:
    downloads = models_folder(home) / ".downloads"
    downloads.mkdir(parents=True)
    with filelock.FileLock(downloads / "small.lock"):
        ended = clip("models", "pull", "small")
    assert ended.code == 11
    assert not hub.requests


def test_a_folder_that_cannot_be_written_is_named(hub: HubDouble, home: Path) -> None:
    (home / "cache").write_text("a file is in the way")
    ended = clip("models", "pull", "small")
    assert ended.code == 4
    assert "cannot be installed" in ended.err
    assert not hub.requests


def test_what_arrived_is_not_asked_for_again_when_only_the_installation_failed(
    hub: HubDouble, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(pulling, "replace", no_room)
        ended = clip("models", "pull", "small")
    assert ended.code == 9
    assert "what has arrived is kept" in ended.err
    assert not (models_folder(home) / "small").exists()
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert clip("models", "pull", "small").code == 0
    assert not hub.requests


def test_what_arrived_of_a_model_that_nobody_wants_any_more_is_removed(
    hub: HubDouble, home: Path
) -> None:
    hub.faults["text.onnx"] = [Fault(status=404)]
    assert clip("models", "pull", "small").code == 4
    assert arrived(home)
    assert clip("models", "remove", "small").code == 0
    assert not arrived(home)
    assert clip("models", "remove", "small").code == 2
    assert clip("models", "remove", "../small").code == 2


def test_without_a_terminal_a_line_now_and_then_says_how_far_it_is(
    hub: HubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_bar, "SECONDS_BETWEEN_LINES", 0)
    said = clip("models", "pull", "small").err
    total = sum(map(len, hub.files.values())) / 1e6
    assert f"small: {total:.1f} MB of {total:.1f} MB downloaded" in said
    assert "\r" not in said


@pytest.mark.usefixtures("hub")
def test_an_install_that_was_killed_half_way_never_counts_and_is_made_good(home: Path) -> None:
    half = models_folder(home) / ".small-new"
    half.mkdir(parents=True)
    for name in NAMES[:2]:
        shutil.copy(TINY / name, half)
    listed = {line["model"]: line for line in clip("models", "--json").lines}
    assert not listed["small"]["installed"]
    assert ".small-new" not in listed
    with pytest.raises(ModelError, match="no model named"):
        find_bundle(".small-new")
    assert clip("models", "pull", "small").code == 0
    assert not half.exists()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_keeps_what_arrived_and_says_how_to_go_on(hub: HubDouble, home: Path) -> None:
    hub.faults["text.onnx"] = [Fault(times=1, cut=1_000_000), Fault(times=100, status=503)]
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf")}
    process = subprocess.Popen(
        [sys.executable, "-m", "clipindex", "models", "pull", "small"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: (path := arrived(home, "text.onnx")) and path.stat().st_size > 900_000)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "what has arrived is kept" in said
    kept = arrived(home, "text.onnx")
    assert kept is not None
    size = kept.stat().st_size
    hub.faults.clear()
    hub.requests.clear()
    assert clip("models", "pull", "small").code == 0
    assert hub.fetched("text.onnx")[-1].range == f"bytes={size}-"


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- verify, remove, list, info ------------------------------------------------------------------


@pytest.mark.usefixtures("hub")
def test_a_decayed_file_is_found_by_verify_and_pull_replaces_the_model(home: Path) -> None:
    assert clip("models", "pull", "small").code == 0
    tower = models_folder(home) / "small" / "text.onnx"
    content = bytearray(tower.read_bytes())
    content[1000] ^= 1
    tower.write_bytes(content)
    ended = clip("models", "verify")
    assert ended.code == 4
    assert "mini: as it should be" in ended.err
    assert "small: the model bundle is damaged: text.onnx" in ended.err
    assert "clipindex models pull small" in ended.err
    faults = {line["model"]: line["fault"] for line in clip("models", "verify", "--json").lines}
    assert faults["mini"] is None
    assert faults["small"]
    assert clip("models", "pull", "small").code == 0
    assert clip("models", "verify").code == 0


@pytest.mark.usefixtures("hub")
def test_remove_deletes_what_was_pulled_and_nothing_that_came_with_clipindex(home: Path) -> None:
    assert clip("models", "pull", "small").code == 0
    assert clip("models", "remove", "small").code == 0
    assert not list(models_folder(home).glob("*small*"))
    ended = clip("models", "remove", "mini")
    assert ended.code == 8
    assert find_bundle("mini").vision.is_file()
    assert clip("models", "remove", "small").code == 2


@pytest.mark.usefixtures("hub")
def test_remove_names_the_collections_that_need_the_model(home: Path) -> None:
    make_pictures(home / "pictures", 1)
    assert clip("models", "pull", "small").code == 0
    made = ("ingest", home / "pictures", "-q", "--store", home / "store")
    assert clip(*made, "--model", "small", "--collection", "holiday").code == 0
    assert clip(*made, "--model", "mini", "--collection", "others").code == 0
    ended = clip("models", "remove", "small", "--store", home / "store")
    assert ended.code == 8
    assert "small made holiday in" in ended.err
    assert "others" not in ended.err
    assert find_bundle("small")
    removed = clip("models", "remove", "small", "--store", home / "store", "--yes", "--json")
    assert removed.lines == [
        {"type": "model_removed", "model": "small", "collections": ["holiday"]}
    ]
    ended = clip("query", "x", "--store", home / "store", "--collection", "holiday")
    assert ended.code == 4
    assert "no longer at its place" in ended.err
    assert "clipindex models pull small" in ended.err
    assert clip("models", "pull", "small").code == 0
    assert clip("query", "x", "--store", home / "store", "--collection", "holiday").code == 0


@pytest.mark.usefixtures("hub")
def test_info_says_where_a_model_comes_from_and_what_is_not_known() -> None:
    said = clip("models", "info", "siglip2-b-32-256").out
    for fact in ("768 numbers", "256 pixels", "Apache-2.0", "SHA-256 not known here", "7efccb86"):
        assert fact in said
    (line,) = clip("models", "info", "vit-b-32-multilingual", "--json").lines
    assert line["mate"] == "vit-b-32"
    assert line["image_size"] is None
    assert clip("models", "pull", "small").code == 0
    assert "on the disk" in clip("models", "info", "small").out
    unknown = clip("models", "info", "vit-b32")
    assert unknown.code == 4
    assert "did you mean 'vit-b-32'?" in unknown.err


def test_the_list_shows_a_copied_model_and_a_damaged_one(home: Path) -> None:
    shutil.copytree(TINY, models_folder(home) / "copied")
    shutil.copytree(TINY, models_folder(home) / "cut")
    (models_folder(home) / "cut" / "text.onnx").write_bytes(b"short")
    listed = {line["model"]: line for line in clip("models", "--json").lines}
    assert listed["copied"]["installed"]
    assert listed["copied"]["fault"] is None
    assert "text.onnx" in str(listed["cut"]["fault"])
    table = clip("models").out.splitlines()
    (row,) = [line for line in table if line.startswith("cut ")]
    assert "damaged" in row


def test_no_telemetry_is_sent_by_the_hubs_library(hub: HubDouble) -> None:
    assert clip("models", "pull", "small").code == 0
    assert constants.HF_HUB_DISABLE_TELEMETRY
    assert all("telemetry" not in request.path for request in hub.requests)
