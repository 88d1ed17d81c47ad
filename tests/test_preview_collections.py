"""Collections made with the preprocessing `previews`: what is stored, at every door, and again."""

from __future__ import annotations

import base64
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import clipindex
from clipindex import Preprocessing, QueryOptions, Server, VerifyOptions
from clipindex.cli.app import app
from clipindex.errors import ContractMismatch, UsageError
from clipindex.ingest.options import Redecode
from clipindex.stores.filter import Filter
from clipindex.stores.payload import Payload
from clipindex.stores.points import Vector
from clipindex.upkeep.switch.report import SwitchOptions
from conftest import TINY, ingest, picture_bytes
from previews_made import camera_jpeg, heic, scene, stale_heic
from qdrant_double import Double
from serving import calling

pytest.importorskip("pillow_heif")  # the encoder
pytestmark = pytest.mark.usefixtures("one_load")

WAYS = {"phone.heic": "preview", "stale.heic": "full", "camera.jpg": "preview", "plain.jpg": "full"}
AGAIN = clipindex.IngestOptions(redecode=Redecode.PREVIEWS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    (folder / "phone.heic").write_bytes(heic(1))
    (folder / "stale.heic").write_bytes(stale_heic(2, scene(99)))
    (folder / "camera.jpg").write_bytes(camera_jpeg(3))
    (folder / "plain.jpg").write_bytes(picture_bytes(4))
    return folder


def made(tmp_path: Path, preprocessing: Preprocessing = Preprocessing.PREVIEWS) -> clipindex.Index:
    return clipindex.Index(
        tmp_path / preprocessing.value, model=str(TINY), preprocessing=preprocessing
    )


@pytest.fixture
def index(folder: Path, tmp_path: Path) -> clipindex.Index:
    index = made(tmp_path)
    ingest(index, folder)
    return index


def points(index: clipindex.Index) -> dict[str, tuple[Payload, Vector]]:
    """Payload and vector by the name of the file."""
    located = index.place.locate()
    with closing(located.place.open(located.require(), create=False).points) as opened:
        stored = opened.retrieve([number for number, _ in opened.scroll(Filter())])
    return {str(p.payload["name"]): (p.payload, p.vector) for p in stored.values()}


def ways(index: clipindex.Index) -> dict[str, object]:
    return {name: payload.get("decoded") for name, (payload, _) in points(index).items()}


def has_vectors_of(index: clipindex.Index, other: clipindex.Index) -> list[str]:
    """The files whose vectors are the very same."""
    own, others = points(index), points(other)
    return sorted(n for n, (_, vector) in own.items() if np.array_equal(vector, others[n][1]))


def test_a_point_says_what_its_pixels_were_made_from(folder: Path, tmp_path: Path) -> None:
    run = ingest(made(tmp_path), folder)
    assert ways(made(tmp_path)) == WAYS
    assert (run.summary.by_preview, run.summary.embedded) == (2, 4)
    plain = made(tmp_path, Preprocessing.DCT_SCALED)
    assert ingest(plain, folder).summary.by_preview is None
    assert set(ways(plain).values()) == {None}
    assert has_vectors_of(made(tmp_path), plain) == ["plain.jpg", "stale.heic"]


def test_the_summary_says_it_in_a_line(folder: Path, tmp_path: Path) -> None:
    args = ["ingest", folder, "--store", tmp_path / "s", "--model", TINY]
    made_so = CliRunner().invoke(app, [*map(str, args), "--preprocessing", "previews"])
    assert "2 by preview, 2 in full" in made_so.stdout.splitlines()
    unchanged = CliRunner().invoke(app, [*map(str, args)])
    assert "by preview" not in unchanged.stdout


def test_the_contract_keeps_it_apart_from_other_collections(
    index: clipindex.Index, folder: Path, tmp_path: Path
) -> None:
    assert index.status().preprocessing == "previews"
    with pytest.raises(ContractMismatch, match="previews"):
        ingest(
            clipindex.Index(
                tmp_path / "previews", model=str(TINY), preprocessing=Preprocessing.DCT_SCALED
            ),
            folder,
        )


def test_the_same_bytes_have_the_same_vector_at_every_door(
    index: clipindex.Index, folder: Path, tmp_path: Path
) -> None:
    """As a query by path, from standard input and in a request, and when they are verified."""
    stored = points(index)
    for name in WAYS:
        data = (folder / name).read_bytes()
        away = tmp_path / f"away-{name}"
        away.write_bytes(data)
        (hit,) = index.query(away, QueryOptions(limit=1))
        assert (Path(hit.path).name, hit.score) == (name, 1.0)
        with calling(index) as caller:
            picture = {"image": base64.b64encode(data).decode()}
            answer = caller.post("/v1/embeddings", json={"input": [picture]})
        assert answer.status_code == 200, answer.text
        vector = np.array(answer.json()["data"][0]["embedding"], np.float32)
        assert np.abs(vector - stored[name][1]).max() <= 1e-6
    verified = index.verify(VerifyOptions(embed=True))
    assert (verified.embedded, verified.exit_code) == (4, 0)


def test_a_copy_shares_vector_and_way(index: clipindex.Index, folder: Path) -> None:
    shutil.copy(folder / "phone.heic", folder / "copy.heic")
    (folder / "camera.jpg").rename(folder / "moved.jpg")
    run = ingest(index, folder)
    assert (run.summary.duplicate, run.summary.moved, run.summary.embedded) == (1, 1, 0)
    assert run.summary.by_preview == 0
    assert ways(index)["copy.heic"] == ways(index)["moved.jpg"] == "preview"


# --- decoded again ---------------------------------------------------------------------------


def test_previews_are_decoded_again_in_full_and_nothing_else(
    index: clipindex.Index, folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "phone.heic", folder / "copy.heic")
    index.ingest(folder, tags={"owner": "ann"})
    done = index.reindex(AGAIN)
    assert (done.unchanged, done.embedded, done.by_preview, done.written) == (5, 2, 0, 3)
    assert set(ways(index).values()) == {"full"}
    plain = made(tmp_path, Preprocessing.DCT_SCALED)
    ingest(plain, folder)
    assert has_vectors_of(index, plain) == sorted([*WAYS, "copy.heic"])
    assert {payload["tag_owner"] for payload, _ in points(index).values()} == {"ann"}
    assert index.verify(VerifyOptions(embed=True)).exit_code == 0
    for options in (AGAIN, clipindex.IngestOptions()):
        nothing = index.reindex(options)
        assert (nothing.unchanged, nothing.embedded, nothing.written) == (5, 0, 0)


def test_a_run_that_was_limited_goes_on_next_time(index: clipindex.Index) -> None:
    first = index.reindex(clipindex.IngestOptions(redecode=Redecode.PREVIEWS, limit=1))
    assert (first.embedded, first.deferred) == (1, 1)
    assert sorted(map(str, ways(index).values())) == ["full", "full", "full", "preview"]
    assert index.reindex(AGAIN).embedded == 1
    assert set(ways(index).values()) == {"full"}


def test_many_copies_of_a_picture_get_its_new_vector(index: clipindex.Index, folder: Path) -> None:
    for number in range(9):
        shutil.copy(folder / "phone.heic", folder / f"copy-{number}.heic")
    ingest(index, folder)
    options = clipindex.IngestOptions(redecode=Redecode.PREVIEWS, batch_size=2)
    assert index.reindex(options).written == 11
    vectors = {vector.tobytes() for name, (_, vector) in points(index).items() if "heic" in name}
    assert len(vectors) == 2  # of phone.heic and stale.heic
    assert set(ways(index).values()) == {"full"}


def test_another_collection_has_nothing_to_decode_again(folder: Path, tmp_path: Path) -> None:
    plain = made(tmp_path, Preprocessing.DCT_SCALED)
    ingest(plain, folder)
    with pytest.raises(UsageError, match="dct-scaled"):
        plain.reindex(AGAIN)
    args = ["reindex", "--redecode", "previews", "--store", str(tmp_path / "dct-scaled")]
    assert CliRunner().invoke(app, [*args, "--model", str(TINY)]).exit_code == 2


def test_on_a_server_as_well(double: Double, folder: Path) -> None:
    index = clipindex.Index(
        server=Server(double.url),
        source="here",
        model=str(TINY),
        preprocessing=Preprocessing.PREVIEWS,
    )
    assert ingest(index, folder).summary.by_preview == 2
    assert index.reindex(AGAIN).embedded == 2
    assert set(ways(index).values()) == {"full"}


# --- another model ---------------------------------------------------------------------------


@pytest.mark.usefixtures("index")
def test_a_switch_to_and_from_it_says_of_each_vector_what_it_is_of(
    folder: Path, tmp_path: Path
) -> None:
    plain = made(tmp_path, Preprocessing.DCT_SCALED)
    ingest(plain, folder)
    asked = clipindex.Index(tmp_path / "previews")
    asked.switch_model(str(TINY), SwitchOptions(preprocessing=Preprocessing.DCT_SCALED))
    assert set(ways(asked).values()) == {None}
    assert has_vectors_of(asked, plain) == sorted(WAYS)
    asked.tag({"owner": "ann"}, [folder])  # reaches the collection that is kept, too
    asked.switch_back()
    assert ways(asked) == WAYS
    other = clipindex.Index(tmp_path / "dct-scaled")
    other.switch_model(str(TINY), SwitchOptions(preprocessing=Preprocessing.PREVIEWS))
    assert ways(other) == WAYS
    assert len(has_vectors_of(other, asked)) == 4


def test_an_export_keeps_it(index: clipindex.Index, tmp_path: Path) -> None:
    index.export(tmp_path / "export")
    other = clipindex.Index(tmp_path / "imported", model=str(TINY))
    other.import_(tmp_path / "export")
    assert ways(other) == WAYS
