"""`clipindex mcp`: what an agent's program asks and is answered, by the protocol's own client."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp import Client, StdioServerParameters, stdio_client, types
from PIL import Image
from typer.testing import CliRunner

import clipindex
from clipindex.cli.app import app
from clipindex.cli.commands import mcp as command
from clipindex.serve.agents import Agents, server_for
from clipindex.serve.options import ServeOptions
from clipindex.serve.parameters import PARAMETERS
from conftest import TINY, make_pictures, picture, run_clipindex
from serving import calling

NOBODY = "00000000-0000-5000-8000-000000000000"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> clipindex.Index:
    folder = tmp_path_factory.mktemp("agents")
    make_pictures(folder / "my pictures", 4)
    picture(9, (1500, 1000)).save(folder / "my pictures" / "large.png")
    index = clipindex.Index(folder / "store", model=str(TINY))
    index.ingest(folder / "my pictures")
    return index


@pytest.fixture
def agent(index: clipindex.Index, tmp_path: Path) -> Iterator[Agent]:
    with Agents(index, ServeOptions(thumbnails=tmp_path / "cache")) as agents:
        yield Agent(agents)


class Agent:
    """Asks in this process, through the protocol."""

    def __init__(self, agents: Agents) -> None:
        self._server = server_for(agents)

    def tools(self) -> dict[str, types.Tool]:
        async def ask() -> types.ListToolsResult:
            async with Client(self._server) as client:
                return await client.list_tools()

        return {tool.name: tool for tool in asyncio.run(ask()).tools}

    def call(self, name: str, **arguments: Any) -> types.CallToolResult:
        async def ask() -> types.CallToolResult:
            async with Client(self._server) as client:
                return await client.call_tool(name, arguments)

        return asyncio.run(ask())

    def results(self, name: str, **arguments: Any) -> list[dict[str, Any]]:
        answer = self.call(name, **arguments)
        assert not answer.is_error, text_of(answer)
        assert answer.structured_content is not None
        found: list[dict[str, Any]] = answer.structured_content["results"]
        return found


def text_of(answer: types.CallToolResult) -> str:
    (text,) = [part.text for part in answer.content if isinstance(part, types.TextContent)]
    return text


def test_four_tools_are_offered_and_all_of_them_only_read(agent: Agent) -> None:
    tools = agent.tools()
    assert set(tools) == {"search", "similar", "look", "status"}
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())


def test_search_offers_every_parameter_of_the_service_but_the_one_that_fetches(
    agent: Agent,
) -> None:
    assert set(agent.tools()["search"].input_schema["properties"]) == set(PARAMETERS) - {"url"}


def test_a_search_answers_what_the_service_answers(index: clipindex.Index, agent: Agent) -> None:
    asked = {"q": ["a cat", "2*a dog"], "minus": ["a car"], "limit": 3, "type": ["jpeg"]}
    answer = agent.call("search", **asked)
    with calling(index) as caller:
        expected = caller.post("/search", json=asked).json()
    for result in expected["results"]:
        del result["thumbnail"]
    assert answer.structured_content is not None
    assert {**answer.structured_content, "seconds": 0} == {**expected, "seconds": 0}
    assert json.loads(text_of(answer)) == answer.structured_content


def test_similar_finds_the_other_pictures(agent: Agent) -> None:
    first, *others = agent.results("search", q=["a cat"])
    similar = agent.results("similar", id=first["id"], limit=10)
    assert {one["id"] for one in similar} == {one["id"] for one in others}


def test_look_shows_a_picture_and_says_where_it_is(agent: Agent) -> None:
    (large,) = agent.results("search", q=["a cat"], type=["png"])
    answer = agent.call("look", id=large["id"])
    (image,) = [part for part in answer.content if isinstance(part, types.ImageContent)]
    assert image.mime_type == "image/jpeg"
    assert Image.open(io.BytesIO(base64.b64decode(image.data))).size == (640, 427)
    assert text_of(answer) == large["path"]


def test_status_is_that_of_the_command(index: clipindex.Index, agent: Agent) -> None:
    answer = agent.call("status")
    printed = json.loads(
        CliRunner().invoke(app, ["status", "--store", index.place.name, "--json"]).stdout
    )
    assert {"type": "status", **(answer.structured_content or {})} == printed


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("search", {}, "Missing query (name a text: q=a dog on a beach)"),
        ("search", {"q": ["dog"], "taken": "yesterday"}, "'yesterday' is not a date"),
        ("search", {"q": ["dog"], "limit": 0}, "limit is a whole number from 1 to 1,000"),
        ("search", {"q": [{"a": 1}]}, "q is neither a text nor a number"),
        ("search", {"like": [NOBODY]}, NOBODY),
        ("search", {"q": ["dog"], "url": ["http://example.org/a.jpg"]}, "no parameter 'url'"),
        ("similar", {}, "id is missing"),
        ("similar", {"id": NOBODY}, NOBODY),
        ("look", {"id": NOBODY}, "no picture has this id"),
        ("look", {"id": "../../etc/passwd"}, "no picture has this id"),
        ("look", {"id": "/etc/passwd"}, "no picture has this id"),
        ("look", {"id": NOBODY, "side": "many"}, "side is a number of pixels"),
        ("delete", {}, "there is no tool 'delete'"),
    ],
)
def test_what_cannot_be_answered_is_an_error_in_words(
    agent: Agent, tool: str, arguments: dict[str, Any], words: str
) -> None:
    answer = agent.call(tool, **arguments)
    assert answer.is_error
    assert words in text_of(answer)
    assert "Traceback" not in text_of(answer)


def test_a_text_that_names_a_file_is_only_a_text(agent: Agent, tmp_path: Path) -> None:
    picture(3).save(tmp_path / "secret.png")
    (asked,) = agent.results("search", q=[str(tmp_path / "secret.png")], limit=1)
    assert asked["similarity"] < 0.99


def test_a_picture_that_changed_is_not_shown(tmp_path: Path) -> None:
    (path,) = make_pictures(tmp_path / "pictures", 1)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    index.ingest(tmp_path / "pictures")
    picture(77).save(path)
    with Agents(index, ServeOptions(thumbnails=tmp_path / "cache")) as agents:
        agent = Agent(agents)
        (result,) = agent.results("search", q=["a cat"])
        answer = agent.call("look", id=result["id"])
    assert answer.is_error
    assert "the file was changed since it was indexed" in text_of(answer)


def test_an_index_that_is_made_later_is_found(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures", 1)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    with Agents(index, ServeOptions()) as agents:
        agent = Agent(agents)
        before = [agent.call("search", q=["a cat"]), agent.call("status")]
        clipindex.Index(tmp_path / "store", model=str(TINY)).ingest(tmp_path / "pictures")
        assert len(agent.results("search", q=["a cat"])) == 1
    assert all(answer.is_error and "no collection" in text_of(answer) for answer in before)


def test_without_its_library_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        command, "find_spec", lambda name: None if name == "mcp" else find_spec(name)
    )
    done = CliRunner().invoke(app, ["mcp"])
    assert done.exit_code == 2
    assert "pip install 'clipindex[mcp]'" in done.stderr


def test_an_agents_program_starts_it_and_asks(index: clipindex.Index, tmp_path: Path) -> None:
    words = ["-m", "clipindex", "mcp", "--store", index.place.name, "--json"]
    home = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
    server = StdioServerParameters(command=sys.executable, args=words, env={**os.environ, **home})

    async def ask() -> tuple[types.CallToolResult, types.CallToolResult]:
        with (tmp_path / "errors").open("w") as errors:
            async with Client(stdio_client(server, errlog=errors)) as client:
                found = await client.call_tool("search", {"q": ["a cat"], "limit": 1})
                result = (found.structured_content or {})["results"][0]
                return found, await client.call_tool("look", {"id": result["id"]})

    found, shown = asyncio.run(ask())
    assert not found.is_error
    assert any(isinstance(part, types.ImageContent) for part in shown.content)
    assert (tmp_path / "errors").read_text() == ""


@pytest.mark.skipif(os.name == "nt", reason="descriptors are closed otherwise")
def test_without_standard_input_the_command_says_so() -> None:
    done = run_clipindex("mcp", preexec_fn=lambda: os.close(0))
    assert done.code == 2
    assert "standard input or output is closed" in done.err


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_ends_it_at_once_and_nothing_was_to_be_saved(
    start_clipindex: Callable[..., subprocess.Popen[str]],
    number: signal.Signals,
    code: int,
    word: str,
) -> None:
    process = start_clipindex("mcp", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}}
    hello["clientInfo"] = {"name": "a test", "version": "1"}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    print(json.dumps(request), file=process.stdin, flush=True)
    assert '"serverInfo"' in process.stdout.readline()
    process.send_signal(number)
    assert process.wait(30) == code
    assert process.stderr is not None
    assert process.stderr.read() == f"{word}\n"
