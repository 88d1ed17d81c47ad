"""What runs the vision tower: requested, read back, reported; an error where it is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import clipindex
from clipindex.errors import ModelError, ProviderUnavailable
from clipindex.model import onnxruntime_tower
from clipindex.model.bundle import open_bundle
from clipindex.model.encoder import Model
from clipindex.model.providers import Provider
from clipindex.pictures.decode import Pixels
from conftest import TINY, Ended, make_pictures, run_clipindex

CPU = "CPUExecutionProvider"
MINI = Path(__file__).parents[1] / "models" / "mini"
AVAILABLE = onnxruntime.get_available_providers()
MISSING = [
    provider
    for provider in (Provider.CUDA, Provider.TENSORRT, Provider.COREML, Provider.DIRECTML)
    if onnxruntime_tower.name_of(provider) not in AVAILABLE
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
def test_what_runs_the_tower_is_read_back_reported_and_remembered(
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
        next(index.ingest_events([tmp_path / "in"]))
    assert not (tmp_path / "store").exists()


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
        onnxruntime_tower.load(
            open_bundle(TINY).vision, onnxruntime_tower.session_options(), Provider.CUDA
        )


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


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from clipindex.model import onnxruntime_tower
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (4 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    onnxruntime_tower.load(Path(sys.argv[1]), onnxruntime_tower.session_options())
except onnxruntime_tower.ModelError as error:
    print(error.hint)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_too_little_memory_is_not_called_a_damaged_bundle() -> None:
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(MINI / "text.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "too little memory" in done.stdout


# --- OpenVINO: in CI, or with the extra `openvino` ------------------------------------------------

with_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")


@pytest.mark.skipif(find_spec("openvino") is not None, reason="openvino is installed")
def test_without_its_package_openvino_is_an_error_with_the_extra_to_install(
    clip: Callable[..., Ended],
) -> None:
    done = clip("ingest", "--provider", "openvino")
    assert done.code == 10
    assert "clipindex[openvino]" in done.err


@with_openvino
def test_a_run_on_openvino_tells_device_and_precision(clip: Callable[..., Ended]) -> None:
    done = clip("ingest", "--provider", "openvino", "--json")
    assert re.fullmatch(r"OpenVINO CPU (bf16|f32)", str(done.lines[-1]["provider"]))
    assert clip("query", "--text", "a dog", "--model", TINY).code == 0


@with_openvino
@pytest.mark.parametrize("bundle", [TINY, MINI], ids=["transformer", "convolutional"])
def test_openvino_s_vectors_agree_with_onnxruntime_s(bundle: Path) -> None:
    """In bfloat16 where the CPU has it; a convolutional tower does not bear that: in float32."""
    batch = pixels(64)
    found, exact = (
        Model(open_bundle(bundle), provider).encode_images(batch).astype(np.float64)
        for provider in (Provider.OPENVINO, Provider.CPU)
    )
    cosines = (found * exact).sum(axis=1)
    assert cosines.mean() >= 0.9999
    assert cosines.min() >= 0.9998
    if bundle == MINI:  # its 8-bit weights do not make 8-bit products of it
        assert np.abs(found - exact).max() <= 1e-5


@with_openvino
def test_a_vector_from_openvino_does_not_depend_on_its_batch_or_the_number_of_callers() -> None:
    batch = pixels(8)
    models = [Model(open_bundle(TINY), Provider.OPENVINO) for _ in range(2)]
    for callers, model in enumerate(models, 1):
        model.load(callers)
    together = models[0].encode_images(batch)
    for sizes in ((8,), (1,) * 8, (3, 5), (7, 1)):
        parts = np.split(batch, np.cumsum(sizes)[:-1])
        assert np.array_equal(
            np.concatenate([models[1].encode_images(part) for part in parts]), together
        )


TOGETHER = """
import sys, threading
import numpy as np
from pathlib import Path
from clipindex.model.bundle import open_bundle
from clipindex.model.encoder import Model
from clipindex.model.providers import Provider

model = Model(open_bundle(Path(sys.argv[1])), Provider.OPENVINO)
start = threading.Barrier(4)

def first(count):
    start.wait()
    model.load(4)
    model.encode_images(np.zeros((count, 224, 224, 3), np.uint8))

threads = [threading.Thread(target=first, args=(count,)) for count in (1, 2, 8, 8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@with_openvino
def test_workers_that_all_embed_for_the_first_time_at_once_do_not_lock_each_other_up() -> None:
    subprocess.run([sys.executable, "-c", TOGETHER, str(TINY)], check=True, timeout=60)


@with_openvino
def test_a_graph_that_openvino_cannot_read_is_an_error_that_names_the_way_out(
    tmp_path: Path,
) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the convert extra")
    model = onnx.load(TINY / "vision.onnx")
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    last = model.graph.node[-1]
    last.domain, last.op_type = "com.microsoft", "NobodyKnowsThis"
    onnx.save(model, tmp_path / "vision.onnx")
    from clipindex.model.openvino_tower import OpenVinoTower

    with pytest.raises(ModelError, match="NobodyKnowsThis") as caught:
        OpenVinoTower(tmp_path / "vision.onnx", None, 1)
    assert "--provider cpu" in caught.value.hint
