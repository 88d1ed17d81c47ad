"""The embeddings of `clipindex serve`: the vectors that ingest stores, in known shapes."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import clipindex
from clipindex.errors import FileFault, StoreError
from clipindex.model.bundle import open_bundle
from clipindex.model.encoder import Model, unit_length
from clipindex.model.loading import open_model
from clipindex.model.merged import EmbeddingType, MergedModel, Sequences
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.serve import models as served_models
from clipindex.serve.inline_pictures import picture_in, picture_or_none
from clipindex.serve.models import Models
from clipindex.serve.options import Limits, ServeOptions
from clipindex.serve.service import Service
from conftest import TINY, loaded, make_other, picture, picture_bytes
from serving import Caller, calling, listening
from tiny_merged import MAX_LENGTH, NAME, PICTURE_LENGTH, SIZE, WIDTH, make_merged

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))  # the scripts are no package of clipindex's own

from handbook.blocks import blocks  # noqa: E402

Vectors = dict[bytes, np.ndarray]
STARTS = ("pip install", "clipindex serve")  # what the page begins with
LONG = "a dog on a beach " * 40


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def data_url(data: bytes) -> str:
    return f"data:image/jpeg;base64,{encoded(data)}"


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pictures() -> dict[str, bytes]:
    """Of each kind one: large enough to be decoded at a reduced scale, with alpha, a palette."""
    return {
        "large.jpg": saved(picture(1, (1900, 1300)), "JPEG", quality=90),
        "small.jpg": picture_bytes(2),
        "progressive.jpg": picture_bytes(3, progressive=True),
        "alpha.png": saved(picture(4).convert("RGBA").rotate(20), "PNG"),
        "palette.gif": saved(picture(5).quantize(32), "GIF"),
        "one.webp": picture_bytes(6, "WEBP"),
        "one.tif": picture_bytes(7, "TIFF"),
        "one.avif": picture_bytes(8, "AVIF"),
        "one.bmp": picture_bytes(9, "BMP"),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of those pictures, and the bundles `other` and `vlm`."""
    folder = tmp_path_factory.mktemp("embeddings")
    (folder / "pictures").mkdir()
    for name, data in pictures().items():
        (folder / "pictures" / name).write_bytes(data)
    clipindex.Index(folder / "store", model=str(TINY)).ingest(folder / "pictures")
    make_other(folder / "other")
    make_merged(folder / "vlm")
    return folder


@pytest.fixture(scope="module")
def stored(folder: Path) -> Vectors:
    """What ingest has stored for each picture's bytes."""
    place = clipindex.Index(folder / "store").place
    with place.open_for_reading(place.locate().require(), "test") as points:
        found = points.retrieve([point for point, _ in points.scroll()]).values()
        return {Path(str(one.payload["path"])).read_bytes(): one.vector for one in found}


@pytest.fixture(scope="module")
def caller(folder: Path) -> Iterator[Caller]:
    index = clipindex.Index(folder / "store")
    with calling(index, models=(str(folder / "other"), str(folder / "vlm"))) as caller:
        yield caller


def embed(caller: Caller, path: str = "/v1/embeddings", **body: Any) -> dict[str, Any]:
    answer = caller.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def vectors_of(answer: dict[str, Any]) -> list[np.ndarray]:
    return [np.array(one["embedding"], dtype=np.float32) for one in answer["data"]]


def float32(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


DOORS = {
    "a data URL": lambda ask, data: vectors_of(embed(ask, input=data_url(data)))[0],
    "base64": lambda ask, data: vectors_of(embed(ask, input=[encoded(data)]))[0],
    "an object": lambda ask, data: vectors_of(embed(ask, input=[{"image": encoded(data)}]))[0],
    "answered in base64": lambda ask, data: float32(
        embed(ask, input=data_url(data), encoding_format="base64")["data"][0]["embedding"]
    ),
    "multimodal": lambda ask, data: vectors_of(
        embed(ask, "/v1/embeddings/multimodal", image=data_url(data))
    )[0],
    "/embed/image": lambda ask, data: np.array(
        embed(ask, "/embed/image", image=encoded(data))["embedding"], np.float32
    ),
    "/embed-image": lambda ask, data: np.array(
        ask.post("/embed-image", files={"file": ("x.bin", data)}).json()["embedding"], np.float32
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_the_same_bytes_have_the_vector_that_ingest_stores(
    door: str, caller: Caller, stored: Vectors
) -> None:
    """To the last bit, whatever the kind of the file."""
    assert len(stored) == len(pictures())
    for data, vector in stored.items():
        assert np.array_equal(DOORS[door](caller, data), vector)


def test_many_requests_at_once_have_the_vectors_of_each_alone(
    caller: Caller, stored: Vectors
) -> None:
    """Whatever batches they share, and in one request of them all."""

    async def at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            transport=caller._transport, base_url="http://127.0.0.1:8420"
        ) as client:
            inputs = [*stored] * 3
            posts = (client.post("/v1/embeddings", json={"input": data_url(one)}) for one in inputs)
            return await asyncio.gather(*posts)

    for data, answer in zip([*stored] * 3, asyncio.run(at_once()), strict=True):
        assert np.array_equal(vectors_of(answer.json())[0], stored[data])
    together = embed(caller, input=list(map(data_url, stored)))
    assert [one["index"] for one in together["data"]] == list(range(len(stored)))
    assert all(map(np.array_equal, vectors_of(together), stored.values()))


def test_a_text_has_the_vector_of_a_query(caller: Caller, tiny_model: Model) -> None:
    (alone,) = vectors_of(embed(caller, input="a dog"))
    assert np.array_equal(alone, tiny_model.encode_texts(["a dog"])[0])
    texts = ["a dog", "a cat on a mat", "{}", "the sea"]
    made = vectors_of(embed(caller, input=texts))
    assert np.abs(np.stack(made) - tiny_model.encode_texts(texts)).max() <= 1e-6
    older = embed(caller, "/embed/text", text="a dog")
    assert (older["embedding"], older["dimensions"]) == (alone.tolist(), 512)


def test_a_text_and_a_picture_have_one_vector(
    caller: Caller, tiny_model: Model, stored: Vectors
) -> None:
    """The sum that a query of both is, by both doors."""
    data, vector = next(iter(stored.items()))
    both = {"text": "a dog", "image": data_url(data)}
    (one,) = vectors_of(embed(caller, "/v1/embeddings/multimodal", **both))
    (two,) = vectors_of(embed(caller, input=[both]))
    assert np.array_equal(one, two)
    assert np.array_equal(one, unit_length(tiny_model.encode_texts(["a dog"])[0] + vector))
    (text,) = vectors_of(embed(caller, "/v1/embeddings/multimodal", text="a dog"))
    assert np.array_equal(text, tiny_model.encode_texts(["a dog"])[0])


def test_usage_counts_the_tokens_that_were_read(caller: Caller, stored: Vectors) -> None:
    """Start and end among them; a picture has none of its own. What is cut is told."""
    answer = embed(caller, input=["a dog", "a cat on a mat", data_url(next(iter(stored)))])
    assert answer["usage"] == {"prompt_tokens": 4 + 7, "total_tokens": 4 + 7}
    assert "notes" not in answer
    long = embed(caller, input=LONG)
    assert long["usage"]["total_tokens"] == 77
    assert long["notes"][0].startswith("input 0: the text has 202 tokens, the model reads 77")


def test_the_official_client_works_unmodified(folder: Path, stored: Vectors) -> None:
    openai = pytest.importorskip("openai")
    index = clipindex.Index(folder / "store")
    with (
        listening(index, models=(str(folder / "other"),)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        data, vector = next(iter(stored.items()))
        made = client.embeddings.create(model="tiny-clip", input=[data_url(data), "a dog"])
        assert np.array_equal(np.array(made.data[0].embedding, np.float32), vector)
        assert (made.model, made.usage.prompt_tokens, len(made.data)) == ("tiny-clip", 4, 2)
        floats = client.embeddings.create(
            model="tiny-clip", input="a dog", encoding_format="float", dimensions=512
        )
        assert floats.data[0].embedding == made.data[1].embedding
        assert [model.id for model in client.models.list()] == ["tiny-clip", "other-clip"]
        assert client.models.retrieve("other-clip").owned_by == "clipindex"
        with pytest.raises(openai.NotFoundError) as missing:
            client.embeddings.create(model="text-embedding-3-small", input="a dog")
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.BadRequestError, match="send the text"):
            client.embeddings.create(model="tiny-clip", input=[[1, 2], [3]])


def test_a_model_is_named_by_any_of_its_names(caller: Caller, folder: Path) -> None:
    listed = caller.get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == ["tiny-clip", "other-clip", NAME]
    assert [model["dimensions"] for model in listed] == [512, 128, WIDTH]
    assert [model["aliases"] for model in listed] == [["tiny"], ["other"], ["vlm"]]
    assert listed[2]["embedding_types"] == [kind.value for kind in EmbeddingType]
    for name in ("other-clip", "other", str(folder / "other")):
        answer = embed(caller, input="a dog", model=name)
        assert (answer["model"], len(answer["data"][0]["embedding"])) == ("other-clip", 128)
        assert caller.get(f"/v1/models/{name}").json() == listed[1]
    assert embed(caller, input="a dog")["model"] == "tiny-clip"
    unknown = caller.get("/v1/models/nonsense")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


@pytest.fixture(scope="module")
def vlm(folder: Path) -> MergedModel:
    model = open_model(open_bundle(folder / "vlm"))
    assert isinstance(model, MergedModel)
    return model


@pytest.mark.parametrize("kind", [*EmbeddingType, None])
@pytest.mark.parametrize("parts", [("text",), ("image",), ("text", "image")])
def test_a_vision_language_model_makes_every_kind_of_embedding(
    kind: EmbeddingType | None, parts: tuple[str, ...], caller: Caller, vlm: MergedModel
) -> None:
    """Of a text, a picture and both, by both doors: what the model itself says."""
    square = picture(3, (SIZE, SIZE))
    given = {"text": "a dog", "image": data_url(saved(square, "PNG"))}
    body = {name: given[name] for name in parts}
    options = {"model": NAME} | ({} if kind is None else {"embedding_type": kind.value})
    (expected,) = vlm.read(
        ["a dog"] if "text" in parts else None,
        np.asarray(square)[np.newaxis] if "image" in parts else None,
        kind or EmbeddingType.MEAN,
        Sequences(),
    )
    for answer in (
        embed(caller, "/v1/embeddings/multimodal", **body, **options),
        embed(caller, input=[body], **options),
    ):
        (vector,) = vectors_of(answer)
        assert np.array_equal(vector, expected.vector)
        assert answer["embedding_type"] == (kind or EmbeddingType.MEAN).value
        assert answer["usage"]["prompt_tokens"] == expected.tokens
    tokens = PICTURE_LENGTH * ("image" in parts) + 4 * ("text" in parts)
    assert expected.tokens == tokens


def test_sequences_are_cut_and_filled_as_asked(caller: Caller) -> None:
    states = {"model": NAME, "embedding_type": "last_layer", "input": LONG}
    (whole,) = embed(caller, **states)["data"]
    assert (whole["shape"], len(whole["embedding"])) == ([MAX_LENGTH, WIDTH], MAX_LENGTH)
    (cut,) = embed(caller, **states, max_length=10, encoding_format="base64")["data"]
    assert cut["shape"] == [10, WIDTH]
    assert np.array_equal(
        float32(cut["embedding"]).reshape(10, WIDTH), np.float32(whole["embedding"])[:10]
    )
    filled = embed(caller, **{**states, "input": "a dog"}, padding="max_length", max_length=20)
    assert filled["data"][0]["shape"] == [20, WIDTH]
    assert not np.any(filled["data"][0]["embedding"][4:])
    for padding in ("longest", True, False):
        assert embed(caller, **{**states, "input": "a dog"}, padding=padding)["data"][0][
            "shape"
        ] == [4, WIDTH]


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return dict(error)


REFUSED: list[tuple[dict[str, Any], str, str | None]] = [
    ({}, "'input' is missing or empty", "input"),
    ({"input": []}, "'input' is missing or empty", "input"),
    ({"input": " "}, "'input' is an empty text", "input"),
    ({"input": ["a", ""]}, "'input[1]' is an empty text", "input[1]"),
    ({"input": [1, 2, 3]}, "Token numbers are not read", "input"),
    ({"input": [[1, 2], [3]]}, "Token numbers are not read", "input"),
    ({"input": [True]}, "neither a text nor a picture", "input[0]"),
    ({"input": ["a"] * 2049}, "has 2049 items; the most is 2048", "input"),
    ({"input": "a" * 100_001}, "has 100001 characters", "input"),
    ({"input": [{"picture": "x"}]}, "has no 'picture', only text and image", "input[0]"),
    ({"input": [{}]}, "send text, image or both", "input[0]"),
    ({"input": ["a", "data:image/png;base64,AAAA"]}, "not a picture", "input[1]"),
    ({"input": "data:image/png,AAAA"}, "has to be in base64", "input"),
    ({"input": {"image": "https://example.org/x.jpg"}}, "downloads nothing", "input.image"),
    ({"input": {"image": "no base64!"}}, "neither a data URL nor base64", "input.image"),
    ({"input": {"image": 5}}, "send base64 or a data URL", "input.image"),
    ({"input": "a", "dimensions": 256}, "of 512 dimensions alone", "dimensions"),
    ({"input": "a", "dimensions": "512"}, "not a number", "dimensions"),
    ({"input": "a", "encoding_format": "hex"}, '"float", "base64"', "encoding_format"),
    ({"input": "a", "model": 5}, "is no name", "model"),
    ({"input": "a", "embeding_type": "cls"}, "no parameter 'embeding_type'", "embeding_type"),
    ({"input": "a", "embedding_type": "cls"}, "one kind of vector", "embedding_type"),
    ({"input": "a", "truncation": False}, "one kind of vector", "max_length"),
    ({"input": "a", "model": NAME, "embedding_type": "first"}, '"multi_layer"', "embedding_type"),
    ({"input": "a", "model": NAME, "max_length": 0}, "not a number above 0", "max_length"),
    ({"input": "a", "model": NAME, "max_length": 41}, "max_length 41: this model", "input"),
    ({"input": "a", "model": NAME, "padding": 1}, '"longest", "max_length"', "padding"),
    ({"input": LONG, "model": NAME, "truncation": False}, "raise max_length", "input"),
]


@pytest.mark.parametrize(("body", "said", "parameter"), REFUSED)
def test_what_is_refused_is_said_in_the_shape_of_openai(
    body: dict[str, Any], said: str, parameter: str | None, caller: Caller
) -> None:
    error = error_of(caller.post("/v1/embeddings", json=body), 400)
    assert said in error["message"]
    assert (error["type"], error["param"]) == ("invalid_request_error", parameter)


def test_other_errors_have_that_shape_too(caller: Caller, folder: Path) -> None:
    post = caller.post
    assert "not JSON" in error_of(post("/v1/embeddings", content=b"{"), 400)["message"]
    assert "not a JSON object" in error_of(post("/v1/embeddings", json=[]), 400)["message"]
    nested = b'{"input": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    error_of(post("/v1/embeddings", content=nested), 400)
    error_of(caller.get("/v1/embeddings"), 405)
    error_of(caller.get("/v1/nonsense"), 404)
    multimodal = error_of(post("/v1/embeddings/multimodal", json={"input": "a"}), 400)
    assert "there are text, image, model" in multimodal["message"]
    small = Limits(body=1 << 20, pixels=1_000_000)
    with calling(clipindex.Index(folder / "store"), limits=small) as bounded:
        error_of(bounded.post("/v1/embeddings", json={"input": "a" * (1 << 20)}), 413)
        large = data_url(pictures()["large.jpg"])
        too_large = error_of(bounded.post("/v1/embeddings", json={"input": large}), 413)
        assert (too_large["param"], too_large["code"]) == ("input", "image_too_large")


def test_a_damaged_picture_harms_no_other(caller: Caller, stored: Vectors) -> None:
    data = pictures()["small.jpg"]
    half = data_url(data[: len(data) // 2])
    answer = caller.post("/v1/embeddings", json={"input": [data_url(data), half, "a dog"]})
    error = error_of(answer, 400)
    assert (error["param"], error["code"]) == ("input[1]", "invalid_image")
    assert "damaged" in error["message"]
    assert np.array_equal(vectors_of(embed(caller, input=data_url(data)))[0], stored[data])


def test_too_much_at_once_is_told_when_to_come_again(caller: Caller) -> None:
    with caller.service.models.places(served_models.MOST_AT_ONCE):
        answer = caller.post("/v1/embeddings", json={"input": "a dog"})
        assert error_of(answer, 503)["type"] == "server_error"
        assert int(answer.headers["retry-after"]) > 0
        older = caller.post("/embed/text", json={"text": "a dog"})
        assert (older.status_code, older.json()["error"]) == (503, "too many requests wait")
    assert embed(caller, input="a dog")


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/embed/image", {"json": {}}, "No image provided"),
        ("/embed/image", {"json": {"image": 5}}, "send base64 or a data URL"),
        ("/embed/image", {"json": {"image": encoded(b"plain text")}}, "not a picture"),
        ("/embed/image", {"content": b"plain text"}, "The body is not JSON"),
        ("/embed/text", {"json": {}}, "No text provided"),
        ("/embed/text", {"json": {"text": ""}}, "'text' is an empty text"),
        ("/embed/text", {"json": {"text": ["a"]}}, "'text' is no text"),
        ("/embed-image", {"files": {"other": ("x.jpg", b"x")}}, "No file provided"),
        ("/embed-image", {"files": {"file": ("x.jpg", b"")}}, "No file provided"),
        ("/embed-image", {"files": {"file": ("x.jpg", b"plain text")}}, "not a picture"),
        ("/embed-image", {"data": {"file": "x"}}, "not a multipart form"),
        ("/embed-image", {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, ""),
    ],
)
def test_the_older_shapes_say_what_is_wrong(
    path: str, body: dict[str, Any], said: str, caller: Caller
) -> None:
    answer = caller.post(path, **body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_the_older_shapes_answer_as_their_clients_expect(caller: Caller) -> None:
    data = pictures()["small.jpg"]
    image = embed(caller, "/embed/image", image=data_url(data))
    assert (image.keys(), image["dimensions"]) == ({"embedding", "dimensions"}, 512)
    upload = caller.post("/embed-image", files={"file": ("x.jpg", data)}).json()
    assert upload == {"embedding": image["embedding"], "model": "tiny-clip", "device": "cpu"}
    with calling(caller.service.index, limits=Limits(pixels=100)) as bounded:
        answer = bounded.post("/embed-image", files={"file": ("x.jpg", data)})
        assert answer.status_code == 413


def test_without_a_collection_no_model_is_loaded(tmp_path: Path) -> None:
    caller = Caller(Service(clipindex.Index(tmp_path / "none"), ServeOptions()))
    answer = caller.post("/embed/text", json={"text": "a dog"})
    assert (answer.status_code, answer.json()["error"]) == (503, "Model not loaded")
    error = error_of(caller.post("/v1/embeddings", json={"input": "a dog"}), 503)
    assert error["message"] == "Model not loaded"


def test_a_collection_that_is_switched_has_its_new_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it cannot be asked, the model that it had answers."""
    monkeypatch.setattr(served_models, "LOOK_AGAIN", 0.0)
    monkeypatch.setattr(served_models, "PATIENCE", 30.0)
    own: list[Any] = [(loaded(TINY), Preprocessing.DCT_SCALED)]

    def ask() -> Any:
        if own[-1] is None:
            raise StoreError("gone")
        return own[-1]

    models = Models(ask, ServeOptions(models=(str(folder / "vlm"),)))
    models.load()

    def names() -> list[str]:
        return [model.name for model in asyncio.run(models.all())]

    assert names() == ["tiny-clip", NAME]
    own.append((loaded(folder / "other"), Preprocessing.DCT_SCALED))
    assert names() == ["other-clip", NAME]
    own.append(None)
    assert names() == ["other-clip", NAME]
    models.close()


def test_nobody_waits_for_a_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_models, "LOOK_AGAIN", 0.0)
    monkeypatch.setattr(served_models, "PATIENCE", 0.01)
    answers = threading.Event()
    answers.set()

    def ask() -> Any:
        assert answers.wait(30)
        return loaded(TINY), Preprocessing.DCT_SCALED

    models = Models(ask, ServeOptions())
    models.load()
    answers.clear()

    async def names() -> list[str]:
        asked = [await models.named() for _ in range(10)]
        answers.set()
        return [model.name for model in asked]

    assert asyncio.run(names()) == ["tiny-clip"] * 10
    models.close()


def test_a_model_that_is_named_twice_answers_once() -> None:
    own = (loaded(TINY), Preprocessing.EXACT)
    models = Models(lambda: own, ServeOptions(models=(str(TINY),)))
    models.load()
    served = asyncio.run(models.all())
    assert [model.name for model in served] == ["tiny-clip", str(TINY)]
    assert [model.embedder.preprocessing for model in served] == ["exact", "dct-scaled"]
    models.close()


@given(st.binary(min_size=60, max_size=400), st.sampled_from([0, 4, 76]), st.booleans())
def test_every_way_to_write_base64_is_read(data: bytes, wrap: int, is_url_safe: bool) -> None:
    data = b"\xff\xd8\xff" + data
    text = (base64.urlsafe_b64encode if is_url_safe else base64.b64encode)(data).decode()
    if is_url_safe:
        text = text.rstrip("=")
    if wrap:
        text = "\n".join(text[at : at + wrap] for at in range(0, len(text), wrap))
    assert picture_in(text) == data
    assert picture_or_none(text) == data
    assert picture_in(f"data:image/jpeg;charset=x;base64,{text}") == data


@given(st.text(max_size=200))
def test_a_text_stays_one(text: str) -> None:
    if not text.startswith("data:"):
        assert picture_or_none(text) is None


@pytest.mark.parametrize("text", ["data: the new oil", "data:", "A" * 500, "x" * 63, "data:a/b"])
def test_what_only_looks_like_a_picture_is_a_text(text: str) -> None:
    assert picture_or_none(text) is None


def test_a_data_url_without_a_picture_is_refused() -> None:
    for text in ("data:,hello", "data:text/plain,hello", "data:;base64,", "data:;base64,%"):
        with pytest.raises(FileFault):
            picture_or_none(text)


def test_an_answer_is_one_json_document(caller: Caller) -> None:
    answer = caller.post("/v1/embeddings", json={"input": ["a", "b"], "user": "someone"})
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.content).keys() == {"object", "data", "model", "usage"}


@pytest.mark.slow
def test_the_commands_of_the_page_work(folder: Path, tmp_path: Path) -> None:
    """Against a service that was started as the page says, but for its port."""
    pytest.importorskip("openai")
    page = (ROOT / "docs" / "embedding-api.md").read_text("utf-8")
    shown = [block for block in blocks(page) if block.language in ("sh", "python")]
    assert len(shown) == 6
    (tmp_path / "cat.jpg").write_bytes(pictures()["small.jpg"])
    programs = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    with listening(clipindex.Index(folder / "store"), models=(str(folder / "vlm"),)) as url:
        for block in shown:
            lines = [line for line in block.text.splitlines() if not line.startswith(STARTS)]
            text = "\n".join(lines).replace("http://localhost:8420", url)
            text = text.replace('model="mini"', 'model="tiny-clip"').replace("curl ", "curl -fsS ")
            done = subprocess.run(
                [*programs[block.language], text], cwd=tmp_path, capture_output=True, check=False
            )
            assert done.returncode == 0, (text, done.stdout, done.stderr)
