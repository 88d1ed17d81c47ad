"""Which options an ingest of a remembered root uses: those given for this run, else the remembered.

The walking options are one group and the tags another. A group that is given holds as it is given;
one that is not is taken from the memory. `reindex` uses what is remembered, and only a first
ingest, or one that is told to, changes that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clipindex.collection.root_options import root_options
from clipindex.files.identity import display_path
from clipindex.files.walk import Root
from clipindex.ingest.events import RootOptionsUsed
from clipindex.ingest.scope import Scope, memory_of, root_from_memory

Memories = Mapping[bytes, Mapping[str, Any]]


def with_memory(scope: Scope, memories: Memories) -> tuple[Scope, list[RootOptionsUsed]]:
    """The scope with the options that its roots have in this run, and what is worth saying of them.

    Tags that are taken from the memory do not replace those that a picture has by now.
    """
    roots: list[Root] = []
    remarks: list[RootOptionsUsed] = []
    for given in scope.roots:
        memory = memories.get(given.path)
        root = given
        if memory is not None:
            known = root_from_memory(given.path, memory)
            if not scope.remember:
                root = Root(
                    given.path,
                    given.policy if scope.policy_given else known.policy,
                    given.tags if scope.tags_given else known.tags,
                )
            if root != known or root != given:
                remarks.append(_remark(root, known, stored=scope.remember))
        roots.append(root)
    retag = scope.retag and scope.tags_given
    return replace(scope, roots=tuple(roots), retag=retag), remarks


def _remark(used: Root, known: Root, *, stored: bool) -> RootOptionsUsed:
    path = display_path(used.path)
    remembered = root_options(path, memory_of(known))
    return RootOptionsUsed(remembered, root_options(path, memory_of(used)), stored)
