"""What a point may contain: whatever is stored is readable again, on every engine."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipindex.errors import UsageError
from clipindex.files.identity import point_id
from clipindex.files.times import EARLIEST, LATEST, storable_time
from clipindex.files.walk import FileRecord
from clipindex.pictures.exif import PictureFacts
from clipindex.stores.edge import EdgePoints
from clipindex.stores.payload import check_key, make_payload, mtime_of, parse_tag, tag_fields
from clipindex.stores.points import Point
from clipindex.stores.validation import healed_payload, payload_fault, point_fault
from test_identity import paths

RECORD = FileRecord(b"/photos/a.jpg", 1_000, 1_700_000_000_123_456_789, 0)
FACTS = PictureFacts(640, 480, "JPEG", "2020-01-02T03:04:05", "A camera", (47.5, -8.25))
SOUND = make_payload("local", RECORD, b"\0" * 32, FACTS, {"who": "ann"})
VECTOR = np.array([0, 1, 0, 0], np.float32)
POINT = Point(point_id("local", RECORD.path), VECTOR, SOUND)

texts = st.text(st.characters(codec="utf-8"))


@given(
    record=st.builds(
        FileRecord,
        paths,
        st.integers(0, LATEST),
        st.integers(-(2**70), 2**70).map(storable_time),
        st.just(0),
    ),
    facts=st.builds(PictureFacts, st.integers(1, 2**31), st.integers(1, 2**31), texts),
    tags=st.dictionaries(st.text("aZ9_", min_size=1), texts),
)
def test_whatever_a_file_system_or_a_picture_says_makes_a_valid_payload(
    record: FileRecord, facts: PictureFacts, tags: dict[str, str]
) -> None:
    assert payload_fault(make_payload("local", record, b"\7" * 32, facts, tags)) is None


def test_a_valid_point_is_valid() -> None:
    assert point_fault(POINT, 4) is None
    assert payload_fault({**SOUND, "meta_rating": 5, "meta_people": ["ann", "bob"]}) is None


def test_a_flat_field_of_another_program_is_kept() -> None:
    assert payload_fault({**SOUND, "reviewed_by": "ann", "stars": 4}) is None
    assert payload_fault({**SOUND, "reviewed_by": {"name": "ann"}}) is not None


# What not every picture has, and what points of earlier versions lack.
NOT_IN_ALL = {"taken", "camera", "location", "tag_who", "orientation"}


@pytest.mark.parametrize("field", sorted(set(SOUND) - NOT_IN_ALL))
def test_a_missing_field_is_named(field: str) -> None:
    payload = {name: value for name, value in SOUND.items() if name != field}
    assert payload_fault(payload) == f"its payload lacks the field '{field}'"


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"a": value}
    return value


WRONG: list[tuple[str, object]] = [
    *((field, nested(130)) for field in (*SOUND, "tag_x", "meta_x")),
    *((field, None) for field in (*SOUND, "tag_x", "meta_x")),
    *((field, [["a"]]) for field in ("folders", "meta_x")),
    *((field, 2**63) for field in ("bytes", "mtime_ns", "width", "height", "meta_x")),
    *((field, -(2**63) - 1) for field in ("bytes", "mtime_ns", "width", "height")),
    *((field, -1) for field in ("bytes", "width", "height")),
    *((field, True) for field in ("bytes", "mtime_ns", "width", "height", "schema")),
    *((field, 1.5) for field in ("bytes", "mtime_ns", "width", "height", "schema")),
    *((field, "1") for field in ("bytes", "mtime_ns", "width", "height", "schema")),
    *((field, "\ud800") for field in ("source", "path", "name", "format", "taken", "tag_x")),
    *(("sha256", value) for value in ("", "0" * 63, "G" * 64, "A" * 64)),
    *(("path", value) for value in ("", "/photos/\0a.jpg", "/other/a.jpg")),
    *(("path_b64", value) for value in ("", "!", "L290aGVy")),
    *(("folders", value) for value in (["/else"], ["\ud800"])),
    ("name", "b.jpg"),
    ("schema", 2),
    *(("location", value) for value in ({"lat": 1}, {"lat": 91, "lon": 0}, {"lat": 1, "lon": 181})),
    ("location", {"lat": math.nan, "lon": 0}),
    ("location", {"lat": 1, "lon": 1, "deep": {}}),
    ("meta_x", math.inf),
    *((field, "x") for field in ("a.b", "tag_", "tag_a.b", "tag_a b", "meta_", "", "a" * 10_000)),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: str(value)[:20])
def test_a_wrong_value_is_refused_and_its_field_named(field: str, value: object) -> None:
    fault = payload_fault({**SOUND, field: value})
    assert fault is not None
    assert len(fault) < 300
    assert fault.isprintable()
    assert field[:50] in fault or field == "path_b64"


@pytest.mark.parametrize(
    "wrong",
    [
        replace(POINT, id=uuid.uuid4()),
        replace(POINT, payload={**SOUND, "source": "another"}),
        replace(POINT, vector=VECTOR * 2),
        replace(POINT, vector=VECTOR * np.float32("nan")),
        replace(POINT, vector=VECTOR.astype(np.float64)),  # type: ignore[arg-type]
        replace(POINT, vector=VECTOR[:3]),
    ],
    ids=["id", "source", "length", "nan", "float64", "dimension"],
)
def test_a_point_that_is_not_what_it_says_is_refused(wrong: Point) -> None:
    assert point_fault(wrong, 4) is not None


@given(st.integers() | st.floats(allow_nan=False))
def test_a_file_time_is_kept_or_becomes_the_nearest_that_can_be(time: float) -> None:
    kept = storable_time(time)
    assert EARLIEST <= kept <= LATEST
    assert storable_time(kept) == kept
    if isinstance(time, int) and EARLIEST <= time <= LATEST:
        assert kept == time


@pytest.mark.parametrize(
    "time", [10_413_792_000_000_000_000, -11_644_473_600_000_000_000, 2**70, LATEST, EARLIEST, -1]
)
def test_a_time_that_an_earlier_version_stored_is_read_as_the_walk_reads_it(
    tmp_path: Path, time: int
) -> None:
    points = EdgePoints(tmp_path / "shard", 4)
    points.upsert([replace(POINT, payload={**SOUND, "mtime_ns": time})])
    payload = points.retrieve([POINT.id])[POINT.id].payload
    points.close()
    assert mtime_of(payload) == storable_time(time)
    assert payload_fault(healed_payload(payload)) is None


def test_a_tag_that_no_store_can_hold_is_a_usage_error() -> None:
    for key in ("a.b", "", "a b"):
        with pytest.raises(UsageError, match="not a tag's key"):
            check_key(key)
    with pytest.raises(UsageError, match="not UTF-8"):
        tag_fields({"owner": "M\udcfcller"})
    with pytest.raises(UsageError, match="not UTF-8"):
        parse_tag("owner=M\udcfcller")
