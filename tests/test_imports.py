"""How native libraries are imported: telemetry off, and no interrupt lost in an import."""

from __future__ import annotations

import ast
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import onnxruntime
import pytest

from clipindex.model.imports import OPENVINO_TELEMETRY, disable_telemetry, guarded_import
from conftest import TINY, make_pictures

ROOT = Path(__file__).parents[1]
TALKATIVE = {"onnxruntime", "openvino", "transformers", "huggingface_hub", "fastembed"}
SOURCES = sorted(
    path for room in ("clipindex", "scripts", "benchmarks") for path in (ROOT / room).rglob("*.py")
)


# --- signals ---------------------------------------------------------------------------------

# Its import is interrupted, and it drops that, as libraries do that treat a failed import inside
# of them as a missing option.
SWALLOWS = """
import os, signal
try:
    os.kill(os.getpid(), signal.{signal})
    for _ in range(100_000): pass
except BaseException:
    pass
finished = True
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that SIGINT reaches in the middle of its import."""
    (tmp_path / "swallows.py").write_text(SWALLOWS.format(signal="SIGINT"))
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield "swallows"
    signal.signal(signal.SIGINT, before)
    sys.modules.pop("swallows", None)


def test_an_interrupt_in_an_unguarded_import_can_be_lost(library: str) -> None:
    assert importlib.import_module(library).finished


def test_an_interrupt_in_a_guarded_import_arrives_after_it(library: str) -> None:
    with pytest.raises(KeyboardInterrupt), guarded_import():
        importlib.import_module(library)
    assert sys.modules[library].finished
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_is_not_lost_when_the_import_fails(library: str) -> None:
    def fails() -> None:
        with guarded_import():
            importlib.import_module(library)
            raise ImportError("a library that it needs is missing")

    with pytest.raises(KeyboardInterrupt):
        fails()


def test_an_ignored_interrupt_stays_ignored(library: str) -> None:
    """As under nohup."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with guarded_import():
        assert importlib.import_module(library).finished
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_request_to_terminate_arrives_after_the_import_too() -> None:
    class Terminated(BaseException):
        pass

    def terminate(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises(Terminated), guarded_import():
            exec(SWALLOWS.format(signal="SIGTERM"))
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_guarded_import_works_in_any_thread() -> None:
    """Only the main thread can set signal handlers."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with guarded_import():
                import onnxruntime  # noqa: F401
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors


# --- telemetry -------------------------------------------------------------------------------


def imports_outside_a_guard(tree: ast.AST, *, guarded: bool = False) -> Iterator[str]:
    """Top-level names of modules that are imported at run time without `guarded_import`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import) and not guarded:
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not guarded:
            yield node.module.split(".")[0]
        guards = isinstance(node, ast.With) and any(
            ast.unparse(item.context_expr) == "guarded_import()" for item in node.items
        )
        yield from imports_outside_a_guard(node, guarded=guarded or guards)


def test_libraries_with_telemetry_are_imported_under_guard() -> None:
    """`with guarded_import(): import LIBRARY`; see clipindex.model.imports."""
    assert len(SOURCES) > 100
    for path in SOURCES:
        unguarded = TALKATIVE & set(imports_outside_a_guard(ast.parse(path.read_text("utf-8"))))
        if path.parent.name == "benchmarks":  # its __init__ sets the variables, also for the peers
            unguarded &= {"openvino"}
        assert not unguarded, f"{path} imports {unguarded}"


def test_a_value_that_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    disable_telemetry()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_openvinos_telemetry_is_hidden_only_while_openvino_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{OPENVINO_TELEMETRY}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, OPENVINO_TELEMETRY, raising=False)
    with guarded_import(), pytest.raises(ImportError):
        importlib.import_module(OPENVINO_TELEMETRY)
    importlib.import_module(OPENVINO_TELEMETRY)
    with guarded_import():
        importlib.import_module(OPENVINO_TELEMETRY)  # another part of the program uses it


def test_the_server_store_switches_telemetry_off_before_it_loads_its_client(
    tmp_path: Path,
) -> None:
    """qdrant-client imports fastembed where that is installed, and it imports onnxruntime."""
    record = tmp_path / "record"
    value = "os.environ.get('ORT_DISABLE_TELEMETRY', '')"
    writes = f"import os\nopen({str(record)!r}, 'w').write({value})\n"
    (tmp_path / "fastembed.py").write_text(writes)
    code = "import clipindex.stores.server_writes"
    run_alone(["-c", code], tmp_path, PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert record.read_text() == "1"


# Reports what Python code looks up or connects to; native code is watched by strace below.
WATCH = """
import socket, sys
def watch(event, args):
    own = event == "socket.connect" and args[0].family == socket.AF_UNIX  # the store's own
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect") and not own:
        print("WATCH", event, args, file=sys.stderr)
sys.addaudithook(watch)
"""
USE = """
import sys, time
import clipindex
folder, model, provider, seconds = sys.argv[1:]
index = clipindex.Index(
    f"{folder}/store", model=model, provider=clipindex.Provider(provider)
)
index.ingest([f"{folder}/pictures"])
assert index.query("a dog")
time.sleep(float(seconds))
"""


def run_alone(
    arguments: list[str], home: Path, *wrapper: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Python with an empty home and none of the variables by which libraries recognise a CI
    service, where they are silent."""
    alone = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(
        [*wrapper, sys.executable, *arguments],
        env=alone,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_pictures(tmp_path / "pictures", 2)
    (tmp_path / "home").mkdir()
    return tmp_path


def use(folder: Path, provider: str = "cpu", seconds: float = 1) -> list[str]:
    return ["-c", WATCH + USE, str(folder), str(TINY), provider, str(seconds)]


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_the_python_interface_leaves_no_file_of_a_library_and_looks_nothing_up(
    folder: Path, provider: str
) -> None:
    if provider == "openvino" and find_spec("openvino") is None:
        pytest.skip("needs openvino")
    done = run_alone(use(folder, provider), folder / "home")
    assert "WATCH" not in done.stderr
    assert not list(not_ours(folder / "home"))


def not_ours(home: Path) -> Iterator[Path]:
    """The files of a home that clipindex does not keep itself, for queries."""
    state = home / ".local" / "state" / "clipindex"
    kept = state / "texts", state / "samples"
    return (path for path in home.rglob("*") if path.is_file() and path.parent not in kept)


def test_the_command_line_leaves_no_file_of_a_library(folder: Path) -> None:
    store = ["--store", str(folder / "store")]
    ingest = ["-m", "clipindex", "ingest", str(folder / "pictures"), "--model", str(TINY)]
    run_alone([*ingest, *store], folder / "home")
    run_alone(["-m", "clipindex", "query", "--text", "a dog", *store], folder / "home")
    assert not list(not_ours(folder / "home"))


@pytest.mark.skipif(
    sys.platform != "linux" or tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 29),
    reason="this onnxruntime has no telemetry of its own",
)
def test_the_watch_sees_onnxruntimes_device_id_where_the_user_asks_for_it(folder: Path) -> None:
    """So the two tests above can fail. It is sent after some ten seconds: not in this one."""
    run_alone(use(folder, seconds=0), folder / "home", ORT_DISABLE_TELEMETRY="0")
    assert list((folder / "home").rglob("deviceid"))


@pytest.mark.slow
def test_native_code_connects_to_nothing(folder: Path) -> None:
    """onnxruntime first looked up Microsoft's server between 8 and 14 s after its import."""
    log = folder / "log"
    strace = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log)]
    try:
        subprocess.run([*strace, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs strace and the right to use it")
    run_alone(use(folder, seconds=15), folder / "home", *strace)
    assert "AF_INET" not in log.read_text()
