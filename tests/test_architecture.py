"""The shape of the program: one door for each heavy library, imports downwards, fast start."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import get_args

import pytest

import clipindex
from conftest import TINY, make_pictures

PACKAGE = Path(clipindex.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

DOORS = {  # library -> the modules (or the room) that may import it
    "PIL": {"pictures"},
    "obstore": {"files.stores"},
    "botocore": {"files.aws"},
    "pi_heif": {"pictures.heic"},
    "rawpy": {"pictures.raw"},
    "imagecodecs": {"pictures.jxl"},
    "onnx": {"model.onnx_graph.files", "model.onnx_graph.graph"},
    "dhash": {"pictures.likeness"},
    "onnxruntime": {"model.onnxruntime_tower"},
    "openvino": {"model.openvino_tower"},
    "ray": {"ingest.on_ray.door"},
    "tokenizers": {"model.text"},
    "ftfy": {"model.text"},
    "qdrant_edge": {"stores.edge", "stores.edge_filter"},
    "qdrant_client": {"stores.server_writes"},
    "httpx": {
        "stores.failures",
        "stores.server_writes",
        "stores.session",
        "model.hub_requests",
        "serve.fetching",
        "files.sieve",
        "files.web",
    },
    "huggingface_hub": {"model.hub"},
    "rich": {"cli.console"},
    "tqdm": {"cli.bar"},
    "prometheus_client": {"cli.metrics", "serve.health"},
    "starlette": {"serve"},
    "mcp": {"serve.agents"},
    "uvicorn": {"serve.running", "serve.guard.connections"},
    "typer": {"cli"},
    "sqlite3": {
        "collection.catalogue",
        "collection.readable_catalogue",
        "collection.schema",
        "stores.lookup",
        "stores.shard_lookup",
    },
    "filelock": {"collection.lock", "model.pulling"},
}

# From the shell down to the ground. A module imports from its own room and from those below.
ROOMS = [
    "__main__",
    "cli",
    "serve",
    "__init__",
    "index",
    "ingest",
    "upkeep",
    "search",
    "collection",
    "stores",
    "model",
    "pictures",
    "files",
    "errors",
    "_version",
]
# What looks at the disk. Pictures and their folders only `files` may look at, through its
# FileSystem: the rooms that handle pictures call none of these.
FILE_FUNCTIONS = {
    "": {"open"},
    "io": {"open", "FileIO"},
    "glob": {"glob", "iglob"},
    "os": {"access", "listdir", "lstat", "open", "readlink", "scandir", "stat", "walk"},
    "os.path": {"exists", "getctime", "getmtime", "getsize", "isdir", "isfile", "islink"}
    | {"ismount", "lexists", "realpath", "samefile"},
}
PATH_METHODS = {"exists", "glob", "is_dir", "is_file", "is_mount", "is_symlink", "iterdir"} | {
    *("lstat", "read_bytes", "read_text", "resolve", "rglob", "stat", "write_bytes", "write_text")
}
# These look at files of their own: a store's, a model's, an export's, a configuration.
OWN_FILES = {
    "cli",
    "collection.contract",
    "collection.own_bundle",
    "collection.folder_place",
    "collection.generations",
    "collection.lock",
    "collection.model_users",
    "collection.place",
    "collection.readable_catalogue",
    "collection.server_place",
    "collection.sharing.socket_file",
    "collection.switch_progress",
    "ingest.cores",
    "model",
    "serve.guard.tokens",
    "serve.indexing.inbox",
    "serve.page_files",
    "stores.address_space",
    "stores.edge",
    "stores.new_shard",
    "stores.readable_shard",
    "upkeep.export_files",
    "upkeep.export_reading",
    "stores.shard_lookup",
    "stores.shard_size",
    "upkeep.backup",
    "upkeep.metadata",
    "upkeep.restore",
    "upkeep.transfer",
    "upkeep.doctor.folders",
    "upkeep.doctor.store",
    "upkeep.switch.carrying",
    "upkeep.verify.remembered",
    "upkeep.verify.resume",
}
WHERE = (
    "put the file into one of the rooms {rooms}, or enter a new room in ROOMS of "
    "tests/test_architecture.py, above all that it imports"
)


@cache
def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@cache
def imports_of(path: Path) -> set[str]:
    """Full names of imported modules, wherever in the file; types-only imports left aside."""
    found: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    """Modules of the package that a module imports, by their names within it."""
    names = {name.removeprefix("clipindex.") for name in imports_of(path) if "clipindex." in name}
    return names & set(map(name_of, MODULES)) - {name_of(path)}


def test_each_heavy_library_has_one_door() -> None:
    for path in MODULES:
        name = name_of(path)
        for library, doors in DOORS.items():
            used = any(module.split(".")[0] == library for module in imports_of(path))
            allowed = name in doors or name.split(".")[0] in doors
            assert not used or allowed, f"{name} imports {library}; only {', '.join(doors)} may"


def test_each_module_is_in_a_room_and_imports_only_from_rooms_below() -> None:
    for path in MODULES:
        room = name_of(path).split(".")[0]
        assert room in ROOMS, f"{name_of(path)}: " + WHERE.format(rooms=", ".join(ROOMS))
        for name in own_imports(path):
            other = name.split(".")[0]
            assert ROOMS.index(other) >= ROOMS.index(room), (
                f"{name_of(path)} imports {name}, but the room '{other}' is above '{room}'"
            )


def looks_at_the_disk(node: ast.AST) -> bool:
    """A function of FILE_FUNCTIONS, called or handed on (`map(os.path.lexists, paths)`), or a
    call of a method that only paths have."""
    match node:
        case ast.Name(id=name):
            return name in FILE_FUNCTIONS[""]
        case ast.Attribute(value=value, attr=name):
            return name in FILE_FUNCTIONS.get(ast.unparse(value), ())
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in PATH_METHODS
    return False


def test_only_files_lists_stats_or_opens_a_picture() -> None:
    for path in MODULES:
        name = name_of(path)
        if name.split(".")[0] == "files" or {name, name.split(".")[0]} & OWN_FILES:
            continue
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        places = [ast.unparse(node) for node in nodes if looks_at_the_disk(node)]
        assert places == [], (
            f"{name} looks at the disk by itself. For a picture or its folder ask clipindex.files "
            "(access.exists, access.file_system_of(path).open); a module that has files of its own "
            "is entered in OWN_FILES of tests/test_architecture.py"
        )


def test_own_modules_are_imported_at_the_top_or_for_a_stated_reason() -> None:
    """In `cli` the reason is the start: a command loads what it needs once its options are read."""
    for path in MODULES:
        if name_of(path).startswith("cli"):
            continue
        lines = path.read_text("utf-8").split("\n")
        for function in ast.walk(ast.parse("\n".join(lines))):
            for node in ast.walk(function) if isinstance(function, ast.FunctionDef) else ():
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clipindex"):
                    line = lines[node.lineno - 1]
                    assert "  # " in line, (
                        f"say why here and not at the top: {name_of(path)}: {line}"
                    )


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name_of(path): own_imports(path) for path in MODULES}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_the_package_shows_a_newcomer_about_fifteen_names() -> None:
    names = {path.name for path in PACKAGE.iterdir()} - {"__pycache__", "bundles"}
    assert len(names) <= 16, sorted(names)


def test_modules_and_functions_stay_small() -> None:
    for path in MODULES:
        text = path.read_text("utf-8")
        assert text.count("\n") <= 300, name_of(path)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and "commands" not in str(path):
                lines = (node.end_lineno or 0) - node.lineno
                assert lines < 80, f"{name_of(path)}: {node.name}"


def calls_of(path: Path) -> set[str]:
    """What a module calls or raises, as it is written: `print`, `sys.exit`."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}


def test_only_the_command_line_prints_and_only_its_shell_exits() -> None:
    for path in MODULES:
        calls, name = calls_of(path), name_of(path)
        if name not in ("cli.output", "cli.results", "cli.run_view"):
            assert "print" not in calls, f"{name} prints: hand it to clipindex.cli.output.Output"
        if name not in ("__main__", "cli.app"):
            assert not calls & {"sys.exit", "os._exit", "exit"}, (
                f"{name} exits: raise or return a code"
            )
        assert "typer.Exit" not in calls, f"{name}: return the exit code"


def test_each_command_is_a_module_of_its_own_and_is_in_the_help() -> None:
    from clipindex.cli.app import COMMANDS

    modules = {path.stem for path in (PACKAGE / "cli" / "commands").glob("[!_]*.py")}
    names = {name.replace("-", "_") for name in COMMANDS}
    assert modules == {name if name != "import" else "import_" for name in names}


def modules_after(code: str) -> set[str]:
    """Top-level modules that a process has loaded after `code`."""
    tail = "\nimport sys\nprint(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("\n")[-2].split())


HELP = "import sys\nfrom clipindex.cli.app import app\ntry: app({args})\nexcept SystemExit: pass\n"
HEAVY = {
    "numpy",
    "onnxruntime",
    "openvino",
    "PIL",
    "qdrant_edge",
    "qdrant_client",
    "tokenizers",
    "sqlite3",
}


@pytest.mark.parametrize("args", [["--help"], ["ingest", "--help"], ["query", "-h"], ["--version"]])
def test_help_loads_no_heavy_library(args: list[str]) -> None:
    assert not modules_after(HELP.format(args=args)) & HEAVY


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not modules_after("import clipindex") & HEAVY


COMMAND = (
    "import sys\nfrom clipindex.cli.app import app\ntry: app({args})\n"
    "except SystemExit as end: assert not end.code, end.code\n"
)
# What a command has no use for, and must not wait for.
NEVER = {"pydantic", "openvino", "qdrant_client"}
WITHOUT = {
    "ingest": {"tokenizers", "ftfy"},
    "reindex": {"tokenizers", "ftfy"},
    "query cat": {"PIL", "ftfy", "rich", "tqdm"},
    "query PICTURE": {"PIL", "onnxruntime", "tokenizers", "ftfy", "rich", "tqdm"},
    "status": {"tokenizers", "ftfy", "onnxruntime", "PIL"},
    "tag a=b PICTURE": {"tokenizers", "ftfy"},
    "untag a PICTURE": {"tokenizers", "ftfy"},
    "export FOLDER": {"tokenizers", "ftfy"},
    "import FOLDER": {"tokenizers", "ftfy"},
    "models": {"huggingface_hub", "httpx", "numpy", "onnxruntime", "PIL", "sqlite3", "tqdm"},
}


@pytest.fixture(scope="module")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of one picture."""
    folder = tmp_path_factory.mktemp("modules")
    make_pictures(folder / "pictures", 1)
    run = [sys.executable, "-m", "clipindex", "ingest", str(folder / "pictures")]
    subprocess.run([*run, "--store", str(folder / "store"), "--model", str(TINY)], check=True)
    return folder


@pytest.mark.parametrize("command", WITHOUT)
def test_a_command_loads_only_what_it_needs(small_store: Path, command: str) -> None:
    one = str(small_store / "pictures" / "000.jpg")
    folder = str(small_store / "exported")
    name, *terms = command.replace("PICTURE", one).replace("FOLDER", folder).split(" ")
    before = {"import": ["export", folder], "untag": ["tag", "a=b", one]}.get(name)
    if before:
        before += ["--store", str(small_store / "store")]
        subprocess.run([sys.executable, "-m", "clipindex", *before], check=True)
    folders = [str(small_store / "pictures")] if name == "ingest" else []
    args = [name, *terms, *folders, "--store", str(small_store / "store")]
    assert not modules_after(COMMAND.format(args=args)) & (WITHOUT[command] | NEVER)


def test_a_progress_bar_needs_no_lock_between_processes() -> None:
    """tqdm's own starts a helper process where multiprocessing does not fork."""
    draw = "from clipindex.cli.bar import Bar\nBar(total=1).update()\n"
    assert "multiprocessing" not in modules_after(draw)


def test_nothing_but_the_server_store_loads_qdrant_client(tmp_path: Path) -> None:
    code = (
        "import clipindex\n"
        f"index = clipindex.Index({str(tmp_path)!r}, model={str(TINY)!r})\n"
        f"index.ingest([{str(TINY)!r}])\nindex.query('a cat')\n"
    )
    assert "qdrant_client" not in modules_after(code)


def test_every_public_name_can_be_imported_and_is_known_to_type_checkers() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        (f"clipindex.{module}", name)
        for module, names in clipindex._EXPORTS.items()
        for name in names.split()
    }
    assert typed == {
        (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for name in clipindex.__all__:
        assert getattr(clipindex, name) is not None
    with pytest.raises(AttributeError):
        clipindex.nonsense  # noqa: B018


def test_every_error_and_every_event_is_public() -> None:
    from clipindex import errors
    from clipindex.ingest import events

    def subclasses(kind: type) -> set[str]:
        return {kind.__name__}.union(*map(subclasses, kind.__subclasses__()))

    assert subclasses(errors.ClipIndexError) <= set(clipindex.__all__)
    assert {kind.__name__ for kind in get_args(events.Event)} <= set(clipindex.__all__)
