"""The tools of `clipindex mcp`: what an agent may ask an index, over the functions of the service.

They read; nothing they do changes the index, and no file outside of it is ever opened.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from mcp import types
from mcp.server import Server
from mcp.server.stdio import stdio_server

from clipindex._version import __version__
from clipindex.collection.status import status_of
from clipindex.index import Index
from clipindex.serve.openapi.requests import schema_of
from clipindex.serve.openapi.schemas import ID, Schema, record
from clipindex.serve.options import ServeOptions
from clipindex.serve.parameters import FILTERS, HITS, TERMS, Parameter
from clipindex.serve.points_api import picture_named
from clipindex.serve.problems import Problem, check_parameters, problem_of
from clipindex.serve.search_api import answer
from clipindex.serve.service import Service
from clipindex.serve.thumbnails import SIDES, Thumbnails, side_of
from clipindex.serve.wanted import fields_of, wanted

Arguments = Mapping[str, Any]
Content = list[types.TextContent | types.ImageContent]
Answer = tuple[Content, dict[str, Any] | None]

INSTRUCTIONS = (
    "An index of photographs. `search` finds pictures by what they show, `similar` finds those "
    "like one of them, `look` shows one, `status` says what the index holds. `similarity` is a "
    "cosine; `nothing_fits` says that no picture shows what was asked for."
)
LOOK_SIDE = 640  # pixels of the longer side: enough to recognise things, few tokens
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tool:
    """What is offered by a name, and what answers."""

    words: str
    schema: Schema
    call: Callable[[Agents, Arguments], Awaitable[Answer]]


class Agents:
    """Answers the tools. The index is opened, and its model loaded, when a tool first needs it:
    the client is not kept waiting, and an index that is made later is found."""

    def __init__(self, index: Index, options: ServeOptions) -> None:
        self._index = index
        self._options = options
        self._service: Service | None = None
        self._opening = asyncio.Lock()
        self._thumbnails = Thumbnails()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the index."""
        if self._service is not None:
            self._service.__exit__()

    async def call(self, name: str, arguments: Arguments) -> types.CallToolResult:
        """What a tool answers; an error is an answer too, in the words of the commands."""
        try:
            tool = TOOLS.get(name)
            if tool is None:
                raise Problem(404, f"there is no tool {name[:40]!r}")
            check_parameters(arguments, tool.schema["properties"])
            content, structured = await tool.call(self, arguments)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                log.exception("%s failed", name)
            words = problem.message + (f" ({problem.hint})" if problem.hint else "")
            return types.CallToolResult(content=[_text(words)], is_error=True)
        return types.CallToolResult(content=list(content), structured_content=structured)

    async def search(self, arguments: Arguments) -> Answer:
        """Results as those of GET /search."""
        asked = wanted(fields_of(arguments), (), ())
        service = await self._opened()
        found = await service.search(answer, service, asked)
        for result in found["results"]:
            del result["thumbnail"]  # the address of a service; an agent has `look`
        return _structured(found)

    async def similar(self, arguments: Arguments) -> Answer:
        """A search with an indexed picture, which is not among the results."""
        options = {name: value for name, value in arguments.items() if name != "id"}
        return await self.search({**options, "like": _id_in(arguments), "exclude_self": True})

    async def look(self, arguments: Arguments) -> Answer:
        """A thumbnail, and where its picture lies."""
        side = side_of(str(arguments.get("side", LOOK_SIDE)))
        name = _id_in(arguments)
        service = await self._opened()
        picture = await picture_named(service, name)
        data = await self._thumbnails.of(service, picture, side)
        encoded = base64.b64encode(data).decode("ascii")
        image = types.ImageContent(type="image", data=encoded, mime_type="image/jpeg")
        return [image, _text(picture.paths[0])], None

    async def status(self, _: Arguments) -> Answer:
        """As `clipindex status --json`."""
        return _structured(asdict(await asyncio.to_thread(status_of, self._index.place)))

    async def _opened(self) -> Service:
        async with self._opening:
            if self._service is None:
                service = Service(self._index, self._options)
                self._service = await asyncio.to_thread(service.__enter__)
            return self._service


def server_for(agents: Agents) -> Server[Any]:
    """A server of the protocol that offers the tools."""

    async def listed(*_: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(name, TOOLS[name]) for name in TOOLS])

    async def called(_: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await agents.call(params.name, params.arguments or {})

    return Server(
        "clipindex",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=listed,
        on_call_tool=called,
    )


def run(index: Index, options: ServeOptions) -> None:
    """Answer on standard input and output until the client closes them.

    The loop has a thread of its own: a signal reaches the main thread although another one is
    inside a read of standard input, which nothing else ends.
    """
    with Agents(index, options) as agents:
        ended: list[BaseException] = []

        def answer_all() -> None:
            try:
                asyncio.run(_answer_all(agents))
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=answer_all, name="mcp", daemon=True)
        thread.start()
        thread.join()
        if ended:
            raise ended[0]


async def _answer_all(agents: Agents) -> None:
    server = server_for(agents)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _described(name: str, tool: Tool) -> types.Tool:
    hints = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
    return types.Tool(
        name=name, description=tool.words, input_schema=tool.schema, annotations=hints
    )


def _id_in(arguments: Arguments) -> str:
    name = arguments.get("id")
    if not isinstance(name, str):
        raise Problem(400, "id is missing", "name a picture by the id that a result has")
    return name


def _structured(value: dict[str, Any]) -> Answer:
    return [_text(json.dumps(value, ensure_ascii=False))], value


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def _members(*parameters: Parameter) -> dict[str, Schema]:
    return {one.name: {"description": one.words, **schema_of(one)} for one in parameters}


BY_ID: Schema = {"id": {**ID, "description": "The id of a picture, as a result has it."}}
SIDE: Schema = {
    "type": "integer",
    "minimum": 1,
    "maximum": SIDES[-1],
    "default": LOOK_SIDE,
    "description": "Pixels of the longer side.",
}
OPTIONS = _members(*FILTERS, *(one for one in HITS if one.name != "exclude_self"))
SEARCH = _members(*(one for one in TERMS if one.name != "url"), *FILTERS, *HITS)
TOOLS = {
    "search": Tool(
        "Find pictures by texts and by indexed pictures, which can be weighted and subtracted.",
        record(SEARCH, *SEARCH),
        Agents.search,
    ),
    "similar": Tool(
        "Find the pictures that are most like one of the index.",
        record(BY_ID | OPTIONS, *OPTIONS),
        Agents.similar,
    ),
    "look": Tool(
        "Show a picture of the index, made smaller.",
        record({**BY_ID, "side": SIDE}, "side"),
        Agents.look,
    ),
    "status": Tool(
        "What the index holds: pictures, model, folders and the last run.",
        record({}),
        Agents.status,
    ),
}
