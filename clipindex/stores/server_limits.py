"""What a collection's strict mode allows, so that no request is refused for its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipindex.stores.points import POINTS_AT_ONCE

PAGE = 1000  # points of a page where the server sets no limit
MANY_INDEXES = 20  # 12 are clipindex's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of strict mode; None: no limit. The names in comments are Qdrant's."""

    page: int = PAGE  # max_query_limit
    upsert: int = POINTS_AT_ONCE  # upsert_max_batchsize, and write_rate_limit: points a minute
    retrieve: int = POINTS_AT_ONCE  # read_rate_limit: points a minute
    exact: bool = True  # search_allow_exact, which counting needs as well
    ef: int | None = None  # search_max_hnsw_ef
    oversampling: float | None = None  # search_max_oversampling
    values: int | None = None  # condition_max_size: values of one condition
    conditions: int | None = None  # filter_max_conditions
    indexes: int | None = None  # max_payload_index_count
    unindexed: bool = True  # unindexed_filtering_retrieve: filters by fields without an index

    @property
    def many_indexes(self) -> bool:
        """Whether the fields of pictures may have indexes, and people's tags still find room."""
        return self.indexes is None or self.indexes >= MANY_INDEXES


def limits_of(strict: Mapping[str, Any] | None) -> Limits:
    """The limits in a collection's `strict_mode_config`; where strict mode is off only those of
    rates are in force."""
    strict = strict or {}
    write, read = strict.get("write_rate_limit"), strict.get("read_rate_limit")
    if not strict.get("enabled"):
        strict = {}

    def least(*values: int | None) -> int:
        return max(1, min(value for value in values if value is not None))

    return Limits(
        page=least(PAGE, strict.get("max_query_limit")),
        # Qdrant charges a write twice: of more than half of the rate, none ever passes
        upsert=least(POINTS_AT_ONCE, strict.get("upsert_max_batchsize"), write and write // 2),
        retrieve=least(POINTS_AT_ONCE, read),
        exact=strict.get("search_allow_exact") is not False,
        ef=strict.get("search_max_hnsw_ef"),
        oversampling=strict.get("search_max_oversampling"),
        values=strict.get("condition_max_size"),
        conditions=strict.get("filter_max_conditions"),
        indexes=strict.get("max_payload_index_count"),
        unindexed=strict.get("unindexed_filtering_retrieve") is not False,
    )
