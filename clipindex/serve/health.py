"""For whoever watches the service: whether it runs, whether it can answer, and how fast it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clipindex._version import __version__
from clipindex.errors import ClipIndexError
from clipindex.serve.access import access_of
from clipindex.serve.problems import RETRY, Problem
from clipindex.serve.service import Service, service_of
from clipindex.serve.threads import QueueFull

LOOK = 5.0  # seconds for a look at the collection
QUANTILES = (0.5, 0.95)


def routes() -> list[Route]:
    """Signs of life, and metrics."""
    return [
        Route("/healthz", alive, methods=["GET"]),
        Route("/readyz", ready, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


async def alive(_: Request) -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok", "version": __version__})


async def ready(request: Request) -> Response:
    """The collection can be read, and there is room in the queue. Raises Problem 503 otherwise."""
    service = service_of(request)
    try:
        async with asyncio.timeout(LOOK):
            await service.search(lambda: service.index.place.locate().require())
    except (ClipIndexError, QueueFull, TimeoutError) as error:
        service.journal.say(f"not ready: {error or type(error).__name__}")
        words = "too many requests wait"
        if not isinstance(error, QueueFull):
            words = "the collection cannot be read"
        raise Problem(503, words, headers=RETRY) from None
    return JSONResponse({"status": "ready"})


async def metrics(request: Request) -> Response:
    """Counts and times, in Prometheus's format. Raises Problem 403 for a token that sees but a
    part of the index."""
    if access_of(request).scope:
        raise Problem(403, "this token may not see the metrics")
    registry = CollectorRegistry()
    registry.register(Counts(service_of(request)))
    ProcessCollector(registry=registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class Counts:
    """What the journal of a service holds, as Prometheus collects it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        journal = self._service.journal
        requests = CounterMetricFamily(
            "clipindex_serve_requests",
            "Requests that were answered.",
            labels=("route", "method", "status"),
        )
        for (route, method, status), count in sorted(journal.counts.items()):
            requests.add_metric((route, method, str(status)), count)
        seconds = GaugeMetricFamily(
            "clipindex_serve_seconds",
            "Seconds that so many of the latest requests of a route took at most.",
            labels=("route", "quantile"),
        )
        for route, share, took in journal.quantiles(*QUANTILES):
            seconds.add_metric((route, str(share)), took)
        waiting = GaugeMetricFamily(
            "clipindex_serve_in_hand", "Requests that are worked on or wait.", labels=("kind",)
        )
        for kind, count in self._service.in_hand().items():
            waiting.add_metric((kind,), count)
        yield from (requests, seconds, waiting)
