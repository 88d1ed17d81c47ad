"""The container's files: what they copy, call and set exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

import clipindex
from clipindex.cli.app import COMMANDS, _build
from conftest import TINY, make_pictures

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples" / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
OURS = {name: COMPOSE["services"][name] for name in ("ingest", "serve")}


def copied() -> list[str]:
    """What the build takes from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_what_the_build_copies_exists_and_is_sent_to_it() -> None:
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())
    assert all((ROOT / source).exists() for source in copied())


def test_the_build_has_every_file_that_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [project["project"]["readme"], *project["project"]["license-files"]]
    needed += [*wheel["packages"], *wheel["force-include"], *wheel["shared-data"]]
    for path in needed:
        assert any(path == one or path.startswith(f"{one}/") for one in copied()), path


def test_the_image_has_extras_that_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (names,) = re.findall(r"'\.\[(.+?)\]'", DOCKERFILE)
    assert set(names.split(",")) <= set(extras["optional-dependencies"])


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_compose_calls_a_command_as_it_is(name: str) -> None:
    command, *arguments = OURS[name]["command"]
    assert command in COMMANDS
    built = _build(command)
    built.make_context(command, list(arguments), resilient_parsing=True)
    known = {option for parameter in built.params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("--")} <= known


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_compose_is_confined_and_sets_variables_that_exist(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")
    assert all(f"`{variable}`" in reference for variable in service["environment"])
    assert service["environment"]["CLIPINDEX_SOURCE"] == "docker"
    assert (FOLDER / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_the_image_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001"]


def test_the_health_check_tells_a_service_that_answers_from_none(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    from serving import listening

    (words,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    _, *arguments = json.loads(words)
    make_pictures(tmp_path / "pictures", 1)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    index.ingest(tmp_path / "pictures")

    def check(port: str) -> int:
        asked = [argument.replace("8420", port) for argument in arguments]
        return subprocess.run(
            [sys.executable, *asked], check=False, stderr=subprocess.DEVNULL
        ).returncode

    with listening(index) as url:
        port = url.rpartition(":")[2]
        assert check(port) == 0
    assert check(port) != 0
