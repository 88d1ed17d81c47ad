"""Filters as strict mode allows them: by indexed fields, in conditions that are not too long."""

from __future__ import annotations

from collections.abc import Collection

from clipindex.errors import StoreError
from clipindex.stores.filter import Filter
from clipindex.stores.payload import FILTERED_FIELDS
from clipindex.stores.server_limits import Limits


def askable(only: Filter, limits: Limits, indexed: Collection[str]) -> list[Filter]:
    """Filters that together match what `only` does, each one that the server allows; none where
    no point can match.

    Where only indexed fields may be filtered by, a field without an index is one that no point
    has: every writer indexes a field first. Raises StoreError where it may have been refused its
    index.
    """
    if not limits.unindexed:
        unknown = only.fields() - set(indexed)
        if unindexed := sorted(unknown & FILTERED_FIELDS.keys()):
            raise StoreError(
                f"strict mode of the server lets nobody filter by {', '.join(unindexed)}: the "
                "field has no index",
                hint="`clipindex reindex` makes it, where max_payload_index_count is 20 or more",
            )
        if unknown and limits.indexes is not None and len(indexed) >= limits.indexes:
            raise StoreError(
                f"strict mode of the server lets nobody filter by {', '.join(sorted(unknown))}: "
                f"the field has no index, and no more than {limits.indexes} are allowed",
                hint="raise max_payload_index_count on the server, and tag once more",
            )
        if only.wanted() & unknown:
            return []
        only = only.without(unknown)
    return in_sizes(only, limits)


def in_sizes(only: Filter, limits: Limits) -> list[Filter]:
    """The filter in parts whose conditions are no longer than the server allows."""
    return [only] if limits.values is None else only.parts(limits.values)


def is_allowed(only: Filter, limits: Limits) -> bool:
    """Whether the filter has no more conditions than the server allows."""
    return limits.conditions is None or only.size() <= limits.conditions
