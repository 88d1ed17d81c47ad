"""GET and POST /search."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clipindex.collection.place import is_shared
from clipindex.pictures.size import refuse_larger
from clipindex.search.hits import Hit
from clipindex.search.judge import at_least, best_z, nothing_fits
from clipindex.search.order import ORDER, Sort
from clipindex.search.query import QueryOptions
from clipindex.serve.access import access_of
from clipindex.serve.bodies import read_body
from clipindex.serve.notes import collected
from clipindex.serve.pictures_json import hit_json
from clipindex.serve.service import Service, service_of
from clipindex.serve.wanted import Wanted, wanted
from clipindex.stores.search_method import Accuracy


def routes() -> list[Route]:
    """The search."""
    return [Route("/search", search, methods=["GET", "POST"])]


async def search(request: Request) -> Response:
    """Search by texts and pictures, with every option of `clipindex query`."""
    service = service_of(request)
    fields, pictures = await read_body(request)
    asked = wanted(fields, pictures, access_of(request).scope)
    run = service.handle_picture if pictures else service.search
    return JSONResponse(await run(answer, service, asked))


def answer(service: Service, asked: Wanted) -> dict[str, Any]:
    """The answer to a search, for whichever thread computes it."""
    start = time.perf_counter()
    for term in asked.terms:
        if isinstance(term.value, bytes):
            refuse_larger(term.value, service.options.limits.pixels)
    with collected() as notes:
        judged = _judged(service, asked)
    options, offset = asked.options, asked.offset
    hits = at_least(judged, options.min_z)
    notes += _further_notes(service, options, judged)
    page = sorted(hits[offset : offset + options.limit], key=ORDER[options.sort])
    return {
        "results": [hit_json(replace(hit, rank=offset + rank)) for rank, hit in enumerate(page, 1)],
        "notes": notes,
        "nothing_fits": nothing_fits(judged, hits),
        "best_z": best_z(judged),
        "more": len(hits) > offset + options.limit,
        "seconds": round(time.perf_counter() - start, 4),
    }


def _further_notes(service: Service, options: QueryOptions, judged: Sequence[Hit]) -> Iterator[str]:
    """Options that do nothing here, as the command says it."""
    if options.accuracy is Accuracy.APPROXIMATE and not is_shared(service.index.place):
        yield "an embedded store is always searched exactly"
    if options.min_z is not None and judged and best_z(judged) is None:
        yield "these pictures are too few or too alike to judge a hit; min_z does nothing"


def _judged(service: Service, asked: Wanted) -> list[Hit]:
    """All hits down to the end of the page and one more, by score: a page is put into another
    order by itself, so that no picture is on two of them."""
    most = asked.offset + asked.options.limit + 1
    options = replace(asked.options, limit=most, min_z=None, sort=Sort.SCORE)
    return service.index.query(asked.terms, options)
