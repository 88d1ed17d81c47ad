"""What watches `clipindex serve`: signs of life, metrics, and a description that is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import hypothesis
from starlette.applications import Starlette

import clipindex
from clipindex.serve.app import MODULES
from clipindex.serve.guard.tokens import read_tokens
from clipindex.serve.journal import Done, Journal
from clipindex.serve.openapi.requests import PATHS
from conftest import TINY, make_pictures
from serving import Caller, calling, listening

NOT_DESCRIBED = re.compile(r"/|/static/.*|/favicon.ico")  # the page


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("health")
    paths = make_pictures(folder / "pictures", 8)
    index = clipindex.Index(folder / "store", model=str(TINY))
    index.ingest(folder / "pictures")
    index.tag({"owner": "ann"}, paths[:4])
    return folder / "store"


@pytest.fixture
def caller(store: Path) -> Iterator[Caller]:
    with calling(clipindex.Index(store)) as caller:
        yield caller


def test_it_is_ready_while_the_collection_can_be_read(caller: Caller, store: Path) -> None:
    assert caller.get("/readyz").json() == {"status": "ready"}
    store.rename(store.with_name("away"))
    try:
        answer = caller.get("/readyz")
        assert (answer.status_code, answer.json()["error"]) == (
            503,
            "the collection cannot be read",
        )
        assert str(store) not in answer.text  # it needs no token
        assert caller.get("/healthz").status_code == 200
    finally:
        store.with_name("away").rename(store)


def test_metrics_count_requests_by_route_and_say_how_long_they_took(caller: Caller) -> None:
    for _ in range(3):
        caller.get("/search?q=cat")
    caller.get("/points/x")
    caller.get("/nothing")
    lines = caller.get("/metrics").text.splitlines()
    counted = "clipindex_serve_requests_total"
    assert f'{counted}{{method="GET",route="/search",status="200"}} 3.0' in lines
    assert f'{counted}{{method="GET",route="/points/{{id}}",status="404"}} 1.0' in lines
    assert f'{counted}{{method="GET",route="other",status="404"}} 1.0' in lines
    quantiles = [line for line in lines if line.startswith('clipindex_serve_seconds{quantile="0.')]
    assert len(quantiles) == 6


def test_a_token_for_a_part_sees_no_metrics(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text('[[token]]\nvalue = "part-part-part-part"\nwhere = ["owner=ann"]')
    with calling(clipindex.Index(store), tokens=read_tokens(file, "all-all-all-all-all")) as caller:
        for token, status in (("part-part-part-part", 403), ("all-all-all-all-all", 200)):
            headers = {"authorization": f"Bearer {token}"}
            assert caller.get("/metrics", headers=headers).status_code == status
        assert caller.get("/metrics").status_code == 401
        assert caller.get("/readyz").status_code == 200


def test_quantiles_are_of_the_latest_requests() -> None:
    journal = Journal(str)
    for milliseconds in range(1, 101):
        done = Done(method="GET", route="/x", path="/x", status=200, seconds=milliseconds / 1000)
        journal.note(done)
    assert list(journal.quantiles(0.5, 0.95, 1.0)) == [
        ("/x", 0.5, 0.05),
        ("/x", 0.95, 0.095),
        ("/x", 1.0, 0.1),
    ]


def test_the_description_names_every_route_and_no_other() -> None:
    application = Starlette(routes=[route for module in MODULES for route in module.routes()])
    routes = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for route in application.routes
        for method in route.methods - {"HEAD"}
        if not NOT_DESCRIBED.fullmatch(route.path)
    }
    assert routes <= {(path, method) for path, methods in PATHS.items() for method in methods}


@pytest.mark.slow
def test_whatever_the_description_allows_is_answered_as_it_says(
    store: Path, tmp_path: Path
) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    checks = pytest.importorskip("schemathesis.specs.openapi.checks")
    wanted = [
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    with listening(clipindex.Index(store), uploads=tmp_path / "uploads") as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        for result in schema.get_all_operations():
            operation = result.ok()

            @hypothesis.settings(
                max_examples=15,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(case=operation.as_strategy())
            def is_as_described(case: object) -> None:
                response = case.call()  # type: ignore[attr-defined]
                assert response.status_code < 500, (response.status_code, response.text)
                case.validate_response(response, checks=wanted)  # type: ignore[attr-defined]

            is_as_described()
