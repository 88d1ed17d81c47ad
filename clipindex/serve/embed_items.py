"""The items of a request, embedded side by side."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request

from clipindex.errors import ClipIndexError, FileFault, OverBudget, UsageError
from clipindex.model.encoder import Embedding
from clipindex.search.embedding import Item
from clipindex.serve.connected import all_of, while_connected
from clipindex.serve.embedder import Pooling
from clipindex.serve.models import Models, Served
from clipindex.serve.problems import RETRY, Problem, problem_of


async def embed_items(
    request: Request,
    models: Models,
    served: Served,
    items: Sequence[Item],
    pooling: Pooling | None = None,
) -> list[Embedding]:
    """The embedding of each item. Raises Problem, QueueFull."""
    for item in items:
        _check_towers(item, served)
    with models.places(len(items)):
        works = (_embedding(request, served, item, pooling) for item in items)
        return await while_connected(request, all_of(works))


def _check_towers(item: Item, served: Served) -> None:
    lacks_texts = served.bundle.text_bundle.manifest.text is None
    if item.text is not None and lacks_texts:
        raise _at_fault(item, f"'{served.name}' has no text tower, it embeds pictures alone")
    if item.picture is not None and served.manifest.image is None:
        raise _at_fault(item, f"'{served.name}' has no vision tower, it embeds texts alone")


async def _embedding(
    owner: object, served: Served, item: Item, pooling: Pooling | None
) -> Embedding:
    try:
        return await served.embedder.embed(owner, item, pooling)
    except FileFault as fault:
        raise unreadable(fault, item.name) from None
    except UsageError as error:
        problem = problem_of(error)
        raise _at_fault(item, problem.message, problem.hint) from None
    except ClipIndexError as error:
        raise Problem(500, problem_of(error).message, parameter=item.name) from error


def _at_fault(item: Item, message: str, hint: str = "") -> Problem:
    return Problem(400, message, hint, parameter=item.name or None)


def unreadable(fault: FileFault, name: str) -> Problem:
    """The problem of a picture that cannot be read."""
    if fault.transient:
        return Problem(503, fault.reason, headers=RETRY, parameter=name)
    status, code = (
        (413, "image_too_large") if isinstance(fault, OverBudget) else (400, "invalid_image")
    )
    what = f"'{name}' cannot be read as a picture: {fault.reason}"
    return Problem(status, what, parameter=name, code=code)
