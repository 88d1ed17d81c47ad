"""What runs the vision tower: asked for, read back, told; and an error where it cannot be had."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import clipindex
from clipindex.bundle import open_bundle
from clipindex.errors import ModelError, ProviderUnavailable
from clipindex.images import Pixels
from clipindex.model import Model
from clipindex.towers import Provider, sessions
from conftest import TINY, Ended, make_pictures, run_clipindex

CPU = "CPUExecutionProvider"
THERE = onnxruntime.get_available_providers()
MISSING = [
    provider
    for provider in (Provider.CUDA, Provider.TENSORRT, Provider.COREML, Provider.DIRECTML)
    if sessions.name_of(provider) not in THERE
]
PACKAGES = {
    Provider.CUDA: "onnxruntime-gpu",
    Provider.TENSORRT: "TensorRT",
    Provider.COREML: "macOS",
    Provider.DIRECTML: "onnxruntime-directml",
}


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Ended]:
    """`clipindex COMMAND` on three pictures, or fewer words for it."""
    make_pictures(tmp_path / "in", 3)

    def run(command: str, *args: object, **env: str) -> Ended:
        place = ["--store", tmp_path / "store"]
        if command == "ingest":
            place += [tmp_path / "in", "--model", TINY]
        return run_clipindex(command, *place, *args, env=env)

    return run


def pixels(count: int) -> Pixels:
    """Smooth random pictures, as the tower takes them."""
    coarse = np.random.default_rng(7).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(28, axis=1).repeat(28, axis=2)


@pytest.mark.parametrize("asked", ["cpu", *(["auto"] if Provider.CUDA in MISSING else [])])
def test_what_runs_the_tower_is_read_back_told_and_remembered(
    clip: Callable[..., Ended], asked: str
) -> None:
    done = clip("ingest", "--provider", asked)
    assert f"embedding on {CPU}" in done.err
    assert f"3 embedded on {CPU}" in done.out
    assert f"embedded on {CPU}" in clip("status").out
    (status,) = clip("status", "--json").lines
    assert status["last_run"]["summary"]["provider"] == CPU  # type: ignore[index]


def test_a_run_that_embeds_nothing_names_no_provider_and_loads_none(
    clip: Callable[..., Ended],
) -> None:
    clip("ingest")
    (*_, summary) = clip("ingest", "--json").lines
    assert (summary["unchanged"], summary["provider"]) == (3, "")
    assert "embedded on" not in clip("status").out


@pytest.mark.parametrize("provider", MISSING)
def test_a_provider_that_onnxruntime_was_built_without_is_an_error_with_the_package_to_install(
    clip: Callable[..., Ended], provider: Provider
) -> None:
    done = clip("ingest", "--provider", provider.value)
    assert done.code == 10
    assert f"'{provider}' is not available" in done.err
    assert PACKAGES[provider] in done.err
    assert "embedding on" not in done.err


def test_a_missing_provider_is_noticed_before_anything_is_walked_or_written(
    tmp_path: Path,
) -> None:
    make_pictures(tmp_path / "in", 1)
    index = clipindex.Index(
        tmp_path / "store", model=str(TINY), provider=clipindex.Provider(MISSING[0])
    )
    with pytest.raises(ProviderUnavailable):
        next(index.ingest([tmp_path / "in"]))


def test_the_variable_and_the_configuration_file_choose_the_provider_too(
    clip: Callable[..., Ended], tmp_path: Path
) -> None:
    assert clip("ingest", CLIPINDEX_PROVIDER=MISSING[0].value).code == 10
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[ingest]\nprovider = "{MISSING[0]}"\n')
    assert clip("ingest", "--config", settings).code == 10
    assert clip("ingest", "--config", settings, "--provider", "cpu").code == 0
    assert clip("ingest", "--provider", "abacus").code == 2


@pytest.mark.skipif(Provider.CUDA not in MISSING, reason="this onnxruntime has it")
def test_a_provider_that_onnxruntime_drops_with_a_mere_warning_is_an_error() -> None:
    """Even the CPU package takes a list in which CUDA stands, and goes on without it."""
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(ProviderUnavailable, match=f"went on with {CPU}"),
    ):
        sessions.load(open_bundle(TINY).vision, sessions.worth_preparing(), Provider.CUDA)


def test_a_tower_that_does_not_load_is_tried_once_for_all_workers(tmp_path: Path) -> None:
    broken = shutil.copytree(TINY, tmp_path / "broken")
    graph = broken / "vision.onnx"
    graph.write_bytes(bytes(graph.stat().st_size))
    model = Model(open_bundle(broken))
    errors = set()
    for _ in range(3):
        with pytest.raises(ModelError) as caught:
            model.encode_images(pixels(1))
        errors.add(id(caught.value))
    assert len(errors) == 1
