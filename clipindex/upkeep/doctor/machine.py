"""The machine: Python, the libraries and their versions, the processor, telemetry."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata

from clipindex._version import __version__
from clipindex.model.imports import TELEMETRY_VARIABLES, disable_telemetry, guarded_import
from clipindex.model.processor import processor
from clipindex.upkeep.doctor.checks import Check, note, ok, problem

NEWEST_PYTHON = (3, 13)  # that CI tests
UPDATE = "python -m pip install --upgrade clipindex (in the environment that runs it)"


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of a library that CI tests: from `oldest`, its lower bound, to `newest`.
    `below`: it is known not to work from there on. `extra`: only needed for that."""

    oldest: str
    newest: str
    below: str = ""
    extra: str = ""


SERVICE = "clipindex serve: pip install 'clipindex[serve]'"
STORES = "pictures in object stores: pip install 'clipindex[cloud]'"
LIBRARIES = {  # a test compares them with pyproject.toml and constraints/
    "dhash": Versions("1.4", "1.4"),
    "filelock": Versions("4.2", "4.3.1"),
    "ftfy": Versions("6.2", "6.3.1"),
    "httpx": Versions("0.27", "0.28.1"),
    "huggingface-hub": Versions("0.23", "2.4.0"),
    "numpy": Versions("1.26", "2.4.6"),
    "onnx": Versions("1.17", "1.23.2"),
    "onnxruntime": Versions("1.20", "1.32.0"),
    "pi-heif": Versions("1.4", "1.4.0"),
    "pillow": Versions("12.0", "13.0.0"),
    "platformdirs": Versions("4.12", "4.14.8"),
    "prometheus-client": Versions("0.20", "0.26.0"),
    "qdrant-client": Versions("1.16", "1.20.0"),
    "qdrant-edge-py": Versions("0.9", "0.9.0", below="0.10"),
    "rich": Versions("13.8", "15.0.0"),
    "tokenizers": Versions("0.20", "0.23.3"),
    "tqdm": Versions("4.66", "4.70.1"),
    "typer": Versions("0.26.1", "0.28.0", below="0.29"),
    "botocore": Versions("1.34", "1.44.8", extra=STORES),
    "obstore": Versions("0.11", "0.12.1", extra=STORES),
    "rawpy": Versions("0.25", "0.28.0", extra="camera raw files: pip install 'clipindex[raw]'"),
    "python-multipart": Versions("0.0.18", "0.0.34", extra=SERVICE),
    "mcp": Versions("2.0", "2.3.0", extra="clipindex mcp: pip install 'clipindex[mcp]'"),
    "starlette": Versions("0.49.1", "1.10.0", extra=SERVICE),
    "uvicorn": Versions("0.34", "0.54.0", extra=SERVICE),
    "imagecodecs": Versions(
        "2024.12.30", "2026.3.6", extra="JPEG XL: pip install 'clipindex[jxl]'"
    ),
    "ray": Versions("2.52", "2.60.0", extra="a cluster: pip install 'clipindex[ray]'"),
    "openvino": Versions("2026.3", "2026.4.1", extra="Intel: pip install 'clipindex[openvino]'"),
}
# Builds of onnxruntime for other devices bring the module under a name of their own.
ALSO = {"onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")}

NATIVE = {  # module -> package
    "numpy": "numpy",
    "PIL.Image": "pillow",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
    "qdrant_edge": "qdrant-edge-py",
    "sqlite3": "python",
}


def check_machine() -> Iterator[Check]:
    """Program, libraries, processor, telemetry."""
    yield _python()
    yield from _libraries()
    yield ok("processor", processor())
    yield _telemetry()


def check_imports() -> Iterator[Check]:
    """Whether the libraries with machine code in them load here."""
    for name, package in NATIVE.items():
        try:
            with guarded_import():
                import_module(name)
        except Exception as error:  # a broken library may raise anything while it loads
            text = f"cannot be loaded: {type(error).__name__}: {error}"
            hint = f"python -m pip install --force-reinstall {package}"
            yield problem(package, text, hint)
            if name == "numpy":  # the others need it, and would only say so
                return


def _python() -> Check:
    version = platform.python_version()
    text = f"{__version__}, Python {version}, {platform.system()} {platform.release()}"
    if sys.version_info[:2] > NEWEST_PYTHON:
        newest = ".".join(map(str, NEWEST_PYTHON))
        return note("clipindex", text, f"newer than Python {newest}, which is tested")
    return ok("clipindex", text)


def _libraries() -> Iterator[Check]:
    """One line where all are as tested, and one for each that is not."""
    as_tested = []
    for name, tested in LIBRARIES.items():
        installed, version = _version(name)
        if version is None:
            if tested.extra:
                yield ok(name, f"not installed; only needed for {tested.extra}")
            else:
                yield problem(name, "not installed", UPDATE)
        elif (check := judge(installed, version, tested)) is not None:
            yield check
        else:
            as_tested.append(f"{installed} {version}")
    yield ok("libraries", ", ".join(as_tested))


def judge(name: str, version: str, tested: Versions) -> Check | None:
    """What is to be said of an installed version; None where it lies within those tested. A later
    patch of the newest one does too."""
    number = _number(version)
    if number < _number(tested.oldest):
        return problem(name, f"{version} is too old: {tested.oldest} or newer is needed", UPDATE)
    if tested.below and number >= _number(tested.below):
        how = f"python -m pip install '{name}<{tested.below}'"
        return problem(name, f"{version} is too new: below {tested.below} is needed", how)
    if number[:2] > _number(tested.newest)[:2]:
        return note(name, version, f"newer than {tested.newest}, which is tested")
    return None


def _version(name: str) -> tuple[str, str | None]:
    for package in (name, *ALSO.get(name, ())):
        try:
            return package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return name, None


def _number(version: str) -> tuple[int, ...]:
    """The numbers of a version: `(1, 20)` of `1.20.0` and of `1.20`."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = tuple(map(int, match[0].split("."))) if match else ()
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    return numbers


def _telemetry() -> Check:
    disable_telemetry()
    on = [name for name in TELEMETRY_VARIABLES if os.environ.get(name, "1") in ("", "0")]
    if on:
        names = ", ".join(f"{name}={os.environ[name]}" for name in on)
        return note("telemetry", f"switched on by your environment: {names}", "unset it")
    return ok("telemetry", f"off ({', '.join(TELEMETRY_VARIABLES)}); clipindex itself has none")
