"""The doctor: it says what is wrong and what to do, wherever it is called."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import clipindex
from clipindex.cli import doctor_view
from clipindex.cli.output import Output
from clipindex.collection.lock import locked
from clipindex.model.bundle import VISION, find_bundle, open_bundle
from clipindex.model.encoder import Model
from clipindex.upkeep.doctor.checks import Check, State, note, ok, problem
from clipindex.upkeep.doctor.machine import LIBRARIES, Versions, judge
from clipindex.upkeep.doctor.model import KNOWN, check_model
from clipindex.upkeep.doctor.run import examine
from clipindex.upkeep.doctor.store import file_system_check, mounted_as
from conftest import NOBODY, TINY, Ended, ingest, make_pictures, run_clipindex, unprivileged
from qdrant_double import Double

ROOT = Path(__file__).parents[1]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The environment of a person who has just installed clipindex."""
    (tmp_path / "home").mkdir()
    folders = {f"XDG_{kind}_HOME": "" for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
    return {**folders, "HOME": str(tmp_path / "home")}


def states(checks: list[Check]) -> dict[str, State]:
    return {check.name: check.state for check in checks}


def report(index: clipindex.Index, model: Path | None = TINY) -> dict[str, Check]:
    """Every check by name, made in this process."""
    checks = examine(lambda: index.place, None if model is None else str(model))
    return {check.name: check for check in checks}


def problems(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.state is State.PROBLEM}


def named(done: Ended, state: str = "problem") -> set[str]:
    return set(re.findall(rf"^{state} +([^:]+):", done.out, re.M))


@pytest.fixture
def indexed(index: clipindex.Index, tmp_path: Path) -> clipindex.Index:
    make_pictures(tmp_path / "photos", 3)
    ingest(index, tmp_path / "photos")
    return index


def outside_the_shard(index: clipindex.Index) -> list[Path]:
    """What there is but for the engine's own files, which each opening may rename."""
    folder = index.place.folder
    return sorted(p for p in folder.parent.rglob("*") if folder / "shard" not in p.parents)


# --- all is well -------------------------------------------------------------------------------


def test_it_works_where_nothing_is_set_up_and_leaves_nothing(home: dict[str, str]) -> None:
    done = run_clipindex("doctor", env=home)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("all is well\n")
    assert "the first ingest makes it" in done.out
    assert "no 'image_embeddings' in" in done.out
    assert "gives the known vector on CPUExecutionProvider" in done.out
    assert "to the bit" in done.out
    assert "\x1b" not in done.out
    assert os.listdir(home["HOME"]) == []


def test_python_gets_the_same_checks(indexed: clipindex.Index) -> None:
    checks = clipindex.Index(indexed.place.name).doctor()
    assert {check.state for check in checks} <= {State.OK, State.NOTE}
    assert "engine" in states(checks)


def test_a_sound_collection_is_well_and_stays_as_it_is(indexed: clipindex.Index) -> None:
    before = outside_the_shard(indexed)
    checks = report(indexed)
    assert problems(checks) == set()
    assert checks["points"].text.startswith("3;")
    assert checks["catalogue"].text == "remembers 3 indexed"
    assert checks["locks"].state is checks["engine"].state is State.OK
    assert outside_the_shard(indexed) == before


def test_as_json_it_is_one_object(home: dict[str, str]) -> None:
    done = run_clipindex("doctor", "--json", "--collection", "other", env=home)
    (line,) = done.lines
    assert set(line) == {"type", "checks", "settings", "problems", "exit_code"}
    checks, settings = line["checks"], line["settings"]
    assert isinstance(checks, list)
    assert isinstance(settings, list)
    assert {tuple(check) for check in checks} == {("name", "state", "text", "hint")}
    assert {tuple(one) for one in settings} == {("name", "value", "origin", "fault", "hint")}
    assert (line["type"], line["problems"], line["exit_code"]) == ("doctor", 0, 0)
    collection = next(one for one in settings if one["name"] == "collection")
    assert (collection["value"], collection["origin"]) == ("other", "command line")


def test_quiet_shows_only_problems(home: dict[str, str]) -> None:
    done = run_clipindex("doctor", "-q", env=home)
    assert (done.code, done.out, done.err) == (0, "", "")
    done = run_clipindex("doctor", "-q", "--model", "no-such-model", env=home)
    assert (done.code, named(done), named(done, "ok")) == (1, {"model"}, set())


def test_a_terminal_of_40_columns_gets_lines_of_40(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    words = " ".join(f"word{n}" for n in range(40))
    code = doctor_view.show_report([], [ok("a", words), problem("b", words, words)], Output())
    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert len(lines) > 20
    assert max(map(len, lines)) <= 40
    assert all(line[:9].strip() in ("", "ok", "problem") for line in lines[:-1])


# --- settings ----------------------------------------------------------------------------------


def test_each_setting_has_its_origin(home: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('source = "studio"\n[ingest]\nworkers = 2\nexclude = ["*.tmp"]\n')
    env = {**home, "CLIPINDEX_STORE": str(tmp_path / "s"), "CLIPINDEX_LIMIT": "7"}
    done = run_clipindex("doctor", "--collection", "mine", "--config", file, env=env)
    assert done.code == 0
    for line in (
        f"store: {tmp_path / 's'} (environment, CLIPINDEX_STORE)",
        "collection: mine (command line)",
        f"source: studio (configuration file, {file})",
        f"[ingest] workers: 2 (configuration file, {file})",
        "limit: 7 (environment, CLIPINDEX_LIMIT)",
        "model: not set (default)",
    ):
        assert line in done.out


def test_the_key_is_never_shown(home: dict[str, str]) -> None:
    done = run_clipindex("doctor", env={**home, "CLIPINDEX_API_KEY": "very-secret"})
    assert "api-key: (set)" in done.out
    assert "very-secret" not in done.out + done.err


BROKEN_FILES = {  # a configuration file -> what the line says
    "store = ": "cannot be read",
    "stor = 3": "there is no such option",
    "[ingest]\nworkers = 'many'": "'many' is not a whole number",
    "[nonsense]\na = 1": "there is no such command",
}


@pytest.mark.parametrize("text", BROKEN_FILES)
def test_a_broken_configuration_is_a_line_among_the_others(
    home: dict[str, str], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    done = run_clipindex("doctor", "--config", file, env=home)
    assert (done.code, done.err, len(named(done))) == (1, "", 1)
    assert BROKEN_FILES[text] in done.out
    assert "engine" in named(done, "ok")


def test_a_broken_variable_of_another_command_is_named(home: dict[str, str]) -> None:
    done = run_clipindex("doctor", env={**home, "CLIPINDEX_WORKERS": "many"})
    assert (done.code, named(done)) == (1, {"workers"})
    assert "CLIPINDEX_WORKERS" in done.out


def test_a_broken_variable_of_its_own_is_named_twice(home: dict[str, str]) -> None:
    """As the setting, with its origin, and as the store that cannot be named by it."""
    done = run_clipindex("doctor", env={**home, "CLIPINDEX_COLLECTION": "a/b"})
    assert (done.code, named(done)) == (1, {"collection", "store"})
    assert "CLIPINDEX_COLLECTION" in done.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--url", "nonsense"], "not the URL of a server"),
        (["--collection", "a/b"], "collection"),
        (["--store", "~no-such-user/x"], "no such home"),
    ],
    ids=["url", "collection", "store"],
)
def test_a_store_that_cannot_be_named_ends_no_other_check(
    home: dict[str, str], options: list[str], words: str
) -> None:
    done = run_clipindex("doctor", *options, env=home)
    assert (done.code, named(done)) == (1, {"store"})
    assert words in done.out
    assert "vision tower" in named(done, "ok")


# --- machine -----------------------------------------------------------------------------------


def constraints(name: str) -> dict[str, str]:
    text = (ROOT / "constraints" / name).read_text()
    return dict(re.findall(r"^([a-z-]+)==(\S+)$", text, re.M))


def test_the_tested_versions_are_those_that_ci_tests() -> None:
    lowest, newest = constraints("lowest.txt"), constraints("tested.txt")
    project = (ROOT / "pyproject.toml").read_text()
    required = project[project.index("dependencies = [") : project.index("[project.optional")]
    names = set(re.findall(r'^    "([a-z-]+)>=', required, re.M))
    assert names <= set(LIBRARIES)
    for name, tested in LIBRARIES.items():
        assert tested.newest == newest[name]
        assert tested.oldest == lowest.get(name, tested.oldest)
        assert f'"{name}>={tested.oldest}' in project
        assert bool(tested.below) == (f"<{tested.below}" in project if tested.below else False)
        assert bool(tested.extra) == (name not in names)


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("1.20", None),
        ("1.20.0", None),
        ("1.32.9", None),
        ("1.19.2", State.PROBLEM),
        ("1.33.0", State.NOTE),
        ("2.0rc1", State.PROBLEM),
        ("0.9", State.PROBLEM),
    ],
)
def test_a_version_is_judged_by_those_that_are_tested(version: str, state: State | None) -> None:
    check = judge("engine", version, Versions("1.20", "1.32.0", below="2.0"))
    assert (check and check.state) == state
    assert check is None or check.hint


def test_telemetry_that_is_switched_on_is_named(home: dict[str, str]) -> None:
    done = run_clipindex("doctor", env={**home, "ORT_DISABLE_TELEMETRY": "0"})
    assert (
        "note     telemetry: switched on by your environment: ORT_DISABLE_TELEMETRY=0" in done.out
    )


@pytest.mark.parametrize("module", ["onnxruntime", "qdrant_edge", "numpy"])
def test_a_library_that_does_not_load_is_named(
    home: dict[str, str], tmp_path: Path, module: str
) -> None:
    """As with a wheel for another system: everything else is still looked at."""
    (tmp_path / f"{module}.py").write_text("raise ImportError('libfoo.so.1: not there')")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = run_clipindex("doctor", env={**home, "PYTHONPATH": path})
    assert done.code == 1
    assert module.replace("_edge", "-edge-py") in named(done)
    assert "libfoo.so.1: not there" in done.out
    assert {"store", "clipindex", "libraries"} <= named(done, "ok")
    assert "Traceback" not in done.out + done.err


# --- the store ---------------------------------------------------------------------------------

MOUNTED = (
    "/dev/sda1 / ext4 rw 0 0\n"
    "nas:/photos /mnt/my\\040photos nfs4 rw 0 0\n"
    "//win/share /mnt/win cifs rw 0 0\n"
    "ann@host: /mnt/ssh fuse.sshfs rw 0 0\n"
    "tmpfs /mnt/win/inner tmpfs rw 0 0\n"
)


@pytest.mark.parametrize(
    ("folder", "kind", "state"),
    [
        ("/home/ann", "ext4", State.OK),
        ("/mnt/my photos/store", "nfs4", State.NOTE),
        ("/mnt/my photosX", "ext4", State.OK),
        ("/mnt/win/a", "cifs", State.NOTE),
        ("/mnt/win/inner/a", "tmpfs", State.OK),
        ("/mnt/ssh", "fuse.sshfs", State.NOTE),
    ],
)
def test_a_network_file_system_is_recognised(
    tmp_path: Path, folder: str, kind: str, state: State
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTED)
    assert mounted_as(Path(folder), mounts) == kind
    assert file_system_check(Path(folder), mounts).state is state
    assert file_system_check(Path(folder), tmp_path / "none").state is State.OK


def test_a_file_system_without_locks_is_a_problem(
    index: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that grants every lock, as some network mounts do."""
    monkeypatch.setattr("filelock.lock_descriptor", lambda *_args, **_how: True)
    checks = report(index)
    assert problems(checks) == {"locks"}
    assert "grants the same lock twice" in checks["locks"].text
    assert checks["engine"].state is State.OK


def test_a_file_in_the_place_of_the_store_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    checks = report(clipindex.Index(tmp_path / "file"))
    assert "store" in problems(checks)
    assert "vision tower" not in problems(checks)


def test_a_store_of_another_user_is_named(reachable: Path) -> None:
    index = clipindex.Index(reachable / "store", model=str(TINY))
    make_pictures(reachable / "photos", 2)
    ingest(index, reachable / "photos")
    with unprivileged():
        checks = report(index, None)
    assert checks["store"].state is State.NOTE
    assert f"chown -R {NOBODY}" in checks["store"].hint
    assert checks["points"].state is State.OK
    contract = index.place.folder / "contract.json"
    contract.chmod(0)
    with unprivileged():
        checks = report(index, TINY)
    contract.chmod(0o644)
    assert {"store", "collection"} <= problems(checks)
    assert checks["vision tower"].state is State.OK


# --- the collection ----------------------------------------------------------------------------


def test_a_damaged_contract_and_a_damaged_catalogue_are_named(indexed: clipindex.Index) -> None:
    folder = indexed.place.folder
    shutil.copytree(folder, folder.with_name("copy"))
    for file in folder.glob("catalogue.sqlite*"):
        file.unlink()
    (folder / "catalogue.sqlite").write_bytes(b"nonsense" * 1000)
    checks = report(indexed)
    assert "catalogue" in problems(checks)
    assert "the next ingest makes it again" in checks["catalogue"].hint
    (folder / "contract.json").write_text("{")
    assert "collection" in problems(report(indexed))
    assert problems(report(clipindex.Index(indexed.place.name, collection="copy"))) == set()


def test_lost_points_and_an_unmounted_folder_are_named(
    indexed: clipindex.Index, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(indexed.place.folder / "catalogue.sqlite")) as database:
        database.execute(
            "INSERT INTO files (folder, name, size, mtime_ns, state, transient)"
            " VALUES (x'2f', x'61', 1, 1, 'indexed', 0)"
        )
        database.commit()
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    checks = report(indexed)
    assert problems(checks) == {"points", "folder"}
    assert "verify" in checks["points"].hint
    assert str(tmp_path / "photos") in checks["folder"].text


def test_a_collection_in_use_is_no_problem(indexed: clipindex.Index) -> None:
    with locked(indexed.place.lock, "ingest"):
        checks = report(indexed)
    assert checks["points"].state is State.NOTE
    assert "ingest, process" in checks["points"].text
    assert problems(checks) == set()


# --- the model ---------------------------------------------------------------------------------


def test_a_damaged_model_file_is_named(tmp_path: Path, home: dict[str, str]) -> None:
    shutil.copytree(TINY, tmp_path / "model")
    vision = bytearray((tmp_path / "model" / VISION).read_bytes())
    vision[len(vision) // 2] ^= 1
    (tmp_path / "model" / VISION).write_bytes(vision)
    done = run_clipindex("doctor", "--model", tmp_path / "model", env=home)
    assert (done.code, named(done)) == (1, {"model"}), done.out
    assert f"{VISION}: its content differs from model.json" in done.out


def test_a_model_that_moved_is_named(indexed: clipindex.Index, tmp_path: Path) -> None:
    contract = indexed.place.folder / "contract.json"
    stored = json.loads(contract.read_text())
    contract.write_text(json.dumps({**stored, "bundle": str(tmp_path / "gone")}))
    checks = report(indexed, None)
    assert problems(checks) == {"model"}
    assert "--model" in checks["model"].hint


class Inconstant(Model):
    """As a runtime whose sums depend on the size of the batch."""

    def encode_images(self, pixels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg, override]
        vectors = super().encode_images(pixels)
        return vectors + (len(pixels) - 1) * np.float32(1e-5)


def test_a_vector_that_depends_on_its_batch_is_a_problem() -> None:
    found = states(list(check_model(lambda: open_bundle(TINY), Inconstant)))
    assert found["batches"] is State.PROBLEM
    assert found["vision tower"] is found["text tower"] is State.OK


def test_a_vector_other_than_the_known_one_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = find_bundle("mini")
    digest = bundle.manifest.files[VISION].sha256
    monkeypatch.setitem(KNOWN, digest, tuple(number + 0.001 for number in KNOWN[digest]))
    found = states(list(check_model(lambda: bundle, Model)))
    assert found["vision tower"] is State.PROBLEM
    assert found["text tower"] is State.OK


def test_the_bundled_model_has_known_vectors() -> None:
    files = find_bundle("mini").manifest.files
    assert {spec.sha256 for name, spec in files.items() if name.endswith(".onnx")} == set(KNOWN)


# --- a server ----------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Double]:
    with Double(tmp_path / "qdrant") as running:
        yield running


@pytest.mark.slow
def test_a_sound_server_is_well(server: Double, home: dict[str, str], tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 2)
    place = ("--url", server.url)
    assert run_clipindex("ingest", tmp_path / "photos", *place, env=home).code == 0
    done = run_clipindex("doctor", *place, env=home)
    assert done.code == 0
    assert f"server: {server.url} runs Qdrant 1.19.0" in done.out
    assert "'image_embeddings' is green" in done.out
    assert "points: 2;" in done.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "words", "code"),
    [
        ({"max_query_limit": 10}, "max_query_limit is 10", 0),
        ({"max_payload_index_count": 4}, "max_payload_index_count is 4", 1),
        ({"search_allow_exact": False}, "no exact searches", 0),
    ],
    ids=["page", "indexes", "exact"],
)
def test_limits_of_strict_mode_are_named(
    server: Double,
    home: dict[str, str],
    tmp_path: Path,
    limits: dict[str, object],
    words: str,
    code: int,
) -> None:
    server.strict = {"enabled": True, **limits}
    make_pictures(tmp_path / "photos", 2)
    place = ("--url", server.url)
    assert run_clipindex("ingest", tmp_path / "photos", *place, env=home).code == 0
    done = run_clipindex("doctor", *place, env=home)
    assert (done.code, named(done)) == (code, {"strict mode"} if code else set())
    assert f"strict mode: {words}" in done.out


@pytest.mark.slow
def test_a_server_that_is_too_old_or_away_is_named(tmp_path: Path, home: dict[str, str]) -> None:
    with Double(tmp_path / "old", version="1.15.4") as old:
        done = run_clipindex("doctor", "--url", old.url, env=home)
    assert (done.code, named(done)) == (1, {"server's version"})
    done = run_clipindex("doctor", "--url", old.url, env=home)
    assert (done.code, named(done)) == (1, {"server"})
    assert "cannot be reached" in done.out
    assert "vision tower" in named(done, "ok")


def test_a_note_is_no_problem() -> None:
    assert doctor_view.show_report([], [note("a", "b", "c")], Output(quiet=True)) == 0
