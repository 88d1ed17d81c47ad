"""The shape of the program: one door for each heavy library, imports downwards, fast start."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import clipindex
from conftest import TINY, make_pictures

PACKAGE = Path(clipindex.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

DOORS = {
    "PIL": {"images", "colours"},
    "pi_heif": {"heic"},
    "rawpy": {"raw"},
    "onnxruntime": {"towers.sessions"},
    "openvino": {"towers.openvino"},
    "tokenizers": {"text"},
    "ftfy": {"text"},
    "qdrant_edge": {"stores.edge"},
    "qdrant_client": {"stores.server", "stores.connection", "stores.described"},
    "httpx": {"stores.connection"},
    "rich": {"terminal"},
    "tqdm": {"progress"},
    "typer": {
        "cli",
        "options",
        "ending",
        "commands.ingest",
        "commands.query",
        "commands.collection",
        "commands.demo",
        "commands.transfer",
    },
    "sqlite3": {"catalogue"},
    "filelock": {"lock"},
}

# From the shell down to the ground; a module imports only what stands below it.
LAYERS = [
    ["__main__"],
    ["cli"],
    [
        "commands.ingest",
        "commands.query",
        "commands.collection",
        "commands.demo",
        "commands.transfer",
    ],
    ["progress", "ending", "options"],
    ["lines"],
    ["render", "config"],
    ["terminal"],
    ["index"],
    ["pipeline", "preview", "demo", "status"],
    ["relocate", "tagging", "transfer"],
    ["recorder"],
    ["search"],
    ["workers", "collection", "survey", "places.where"],
    ["places.folder", "places.server"],
    ["places", "plan", "stores.edge", "stores.server", "model", "events"],
    ["lock", "contract", "stores.described", "towers.sessions", "towers.openvino"],
    ["stores.connection"],
    ["catalogue", "text", "stores", "stores.address", "content"],
    ["payload", "bundle"],
    ["images", "walk", "identity", "towers"],
    ["preprocessing"],
    ["formats", "jpeg", "colours", "heic", "raw", "exif", "saturation"],
    ["errors"],
    ["__init__", "commands"],
]


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


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


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_heavy_library_has_one_door(path: Path) -> None:
    for library, doors in DOORS.items():
        used = any(name.split(".")[0] == library for name in imports_of(path))
        assert not used or name_of(path) in doors, f"{name_of(path)} imports {library}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downwards_only(path: Path) -> None:
    depth = {module: level for level, layer in enumerate(LAYERS) for module in layer}
    mine = depth[name_of(path)]
    for name in imports_of(path):
        below = name.removeprefix("clipindex.")
        if name.startswith("clipindex.") and below in depth:
            assert depth[below] > mine, f"{name_of(path)} imports {below}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 80 or "commands" in str(path), node.name


def modules_after(code: str) -> set[str]:
    """Top-level modules that a process has loaded after `code`."""
    tail = "\nimport sys\nprint(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("\n")[-2].split())


HELP = "import sys\nfrom clipindex.cli import app\ntry: app({args})\nexcept SystemExit: pass\n"
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
    "import sys\nfrom clipindex.cli import app\ntry: app({args})\n"
    "except SystemExit as end: assert not end.code, end.code\n"
)
# What a command has no use for, and must not wait for.
NEVER = {"pydantic", "openvino", "qdrant_client"}
WITHOUT = {
    "ingest": {"tokenizers", "ftfy"},
    "reindex": {"tokenizers", "ftfy"},
    "query cat": {"PIL", "sqlite3", "ftfy", "rich", "tqdm"},
    "query PICTURE": {"tokenizers", "ftfy", "rich", "tqdm"},
    "status": {"tokenizers", "ftfy", "onnxruntime", "PIL"},
    "tag a=b PICTURE": {"tokenizers", "ftfy"},
    "untag a PICTURE": {"tokenizers", "ftfy"},
    "export FOLDER": {"tokenizers", "ftfy"},
    "import FOLDER": {"tokenizers", "ftfy"},
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
    if name == "import":
        export = ["export", folder, "--store", str(small_store / "store")]
        subprocess.run([sys.executable, "-m", "clipindex", *export], check=True)
    folders = [str(small_store / "pictures")] if name == "ingest" else []
    args = [name, *terms, *folders, "--store", str(small_store / "store")]
    assert not modules_after(COMMAND.format(args=args)) & (WITHOUT[command] | NEVER)


def test_nothing_but_the_server_store_loads_qdrant_client(tmp_path: Path) -> None:
    code = (
        "import clipindex\n"
        f"index = clipindex.Index({str(tmp_path)!r}, model={str(TINY)!r})\n"
        f"list(index.ingest([{str(TINY)!r}]))\nindex.query('a cat')\n"
    )
    assert "qdrant_client" not in modules_after(code)


def test_the_public_names_are_pinned() -> None:
    assert sorted(clipindex.__all__) == clipindex.__all__
    for name in clipindex.__all__:
        assert getattr(clipindex, name) is not None
    with pytest.raises(AttributeError):
        clipindex.nonsense  # noqa: B018
