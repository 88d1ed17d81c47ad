"""Metadata from people's files: read, joined, remembered, kept, searched and grouped by."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import clipindex
from clipindex import Condition, PictureFilter, QueryOptions
from clipindex.errors import UsageError
from clipindex.stores.labels import Kind
from clipindex.upkeep.metadata_table import Table, read_table
from conftest import TINY, ingest, make_pictures, run_clipindex

CSV = """sku;Product name;price;active;released;code
000;Red shoe;49.90;true;2024-03-01;007
001;Blue shoe;60;no;2024-05-01;008
001_back;Blue shoe;60;no;;
ghost;Ghost;;;;
"""


def table(text: str, name: str = "t.csv", key: str | None = None) -> Table:
    return read_table(text.encode(), name, key)


# --- a table ---------------------------------------------------------------------------------


def test_a_column_is_what_all_its_values_are() -> None:
    read = table(CSV, key="sku")
    assert {name.removeprefix("meta_"): kind for name, kind in read.kinds.items()} == {
        "sku": Kind.TEXT,
        "Product_name": Kind.TEXT,
        "price": Kind.NUMBER,
        "active": Kind.BOOLEAN,
        "released": Kind.DATE,
        "code": Kind.TEXT,  # 007 is no number
    }
    assert read.rows[0].fields == {
        "meta_sku": "000",
        "meta_Product_name": "Red shoe",
        "meta_price": 49.9,
        "meta_active": True,
        "meta_released": "2024-03-01",
        "meta_code": "007",
    }
    assert "meta_released" not in read.rows[2].fields


def test_json_lines_keep_their_types_and_lists() -> None:
    line = '{"name": "1.jpg", "n": 3, "words": ["a", "b"], "on": false, "none": null}\n'
    (row,) = table(line, "t.jsonl").rows
    assert row.fields == {"meta_n": 3.0, "meta_words": ["a", "b"], "meta_on": False}


@pytest.mark.parametrize(
    ("key", "path", "matches"),
    [
        ("/p/a/1.jpg", "/p/a/1.jpg", True),
        ("/p/a/1.jpg", "/q/p/a/1.jpg", False),
        ("a/1.jpg", "/p/a/1.jpg", True),
        ("a/1.jpg", "/p/ba/1.jpg", False),
        ("1.jpg", "/p/a/1.jpg", True),
        ("1", "/p/a/1.jpg", True),
        ("1", "/p/a/11.jpg", False),
        ("a/1", "/p/a/1.jpg", False),
        ("SKU17_*", "/p/SKU17_2.jpg", True),
        ("SKU17_*", "/p/SKU17_/x.jpg", False),
        ("a/*.jpg", "/p/a/1.jpg", True),
        ("a/*.jpg", "/p/b/1.jpg", False),
        ("a.b", "/p/a.b.jpg", True),
    ],
)
def test_a_row_names_a_picture_by_path_name_or_pattern(key: str, path: str, matches: bool) -> None:
    read = table(f"path,x\n{key},1\n")
    assert bool(read.fields_of(path)) == matches
    assert bool(read.unmatched()) != bool(read.fields_of(path))


@pytest.mark.parametrize(
    ("text", "name", "key", "message"),
    [
        ("", "t.csv", None, "no rows"),
        ("path,x\n", "t.csv", None, "no rows"),
        ("a,b\n1,2\n", "t.csv", None, "no column that names pictures"),
        ("a,b\n1,2\n", "t.csv", "c", "no column 'c'"),
        ("path,x\n1,2,3\n", "t.csv", None, "more fields than the header"),
        ('path,x\n"1,2\n', "t.csv", None, "not CSV"),
        ("path,é\n1,2\n", "t.csv", None, "a column is called"),
        ("[1]\n", "t.jsonl", None, "line 1 is not a JSON object"),
        ("{\n", "t.jsonl", None, "line 1 is not a JSON object"),
    ],
)
def test_what_is_no_table_is_a_usage_error(
    text: str, name: str, key: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        table(text, name, key)


@given(st.text(), st.sampled_from(["t.csv", "t.jsonl"]), st.sampled_from([None, "a"]))
def test_any_text_is_a_table_or_a_usage_error(text: str, name: str, key: str | None) -> None:
    try:
        table(text, name, key)
    except UsageError:
        return


# --- joined ----------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> clipindex.Index:
    """Pictures 000.jpg to 003.jpg, and a file that knows two of them."""
    make_pictures(tmp_path / "photos", 4)
    (tmp_path / "products.csv").write_text(CSV)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    ingest(index, tmp_path / "photos")
    return index


def values(index: clipindex.Index, key: str) -> dict[object, int]:
    return {tag.value: tag.count for tag in index.tags() if tag.key == key}


def named(index: clipindex.Index, *conditions: tuple[str, str, str]) -> list[str]:
    wanted = PictureFilter(where=tuple(Condition(*condition) for condition in conditions))
    hits = index.query("a shoe", QueryOptions(pictures=wanted))
    return sorted(Path(hit.path).name for hit in hits)


def test_columns_are_joined_and_rows_that_match_nothing_are_reported(
    shop: clipindex.Index, tmp_path: Path
) -> None:
    report = shop.metadata(tmp_path / "products.csv", key="sku")
    assert (report.rows, report.matched, report.pictures, report.changed) == (4, 2, 2, 2)
    assert [row.key for row in report.unmatched] == ["001_back", "ghost"]
    assert named(shop, ("price", "<", "50")) == ["000.jpg"]
    assert named(shop, ("price", ">=", "49.9")) == ["000.jpg", "001.jpg"]
    assert named(shop, ("active", "=", "false")) == ["001.jpg"]
    assert named(shop, ("released", ">=", "2024-04")) == ["001.jpg"]
    assert named(shop, ("released", "<=", "2024-03")) == ["000.jpg"]
    assert named(shop, ("code", "=", "007")) == ["000.jpg"]
    assert named(shop, ("price", ">", "10"), ("price", "<", "55")) == ["000.jpg"]
    with pytest.raises(UsageError, match="contains numbers"):
        named(shop, ("price", "=", "cheap"))
    assert shop.metadata(tmp_path / "products.csv", key="sku").changed == 0


def test_the_file_is_joined_again_at_each_run(shop: clipindex.Index, tmp_path: Path) -> None:
    shop.metadata(tmp_path / "products.csv", key="sku")
    photos = tmp_path / "photos"
    (photos / "001_back.jpg").write_bytes((photos / "002.jpg").read_bytes())  # comes later
    assert shop.reindex().duplicate == 1
    assert values(shop, "sku") == {"000": 1, "001": 1, "001_back": 1}
    assert shop.reindex().written == 0
    os.rename(photos / "000.jpg", photos / "ghost.jpg")  # another row's now
    shop.reindex()
    assert values(shop, "sku") == {"ghost": 1, "001": 1, "001_back": 1}
    (tmp_path / "products.csv").write_text(CSV.replace("60", "61").replace("ghost", "003"))
    shop.reindex()
    assert values(shop, "price") == {61.0: 2}
    assert values(shop, "sku") == {"003": 1, "001": 1, "001_back": 1}


def test_metadata_outlives_an_edit_of_its_picture_and_the_loss_of_its_file(
    shop: clipindex.Index, tmp_path: Path
) -> None:
    shop.metadata(tmp_path / "products.csv", key="sku")
    (tmp_path / "products.csv").unlink()
    (tmp_path / "photos" / "000.jpg").write_bytes((tmp_path / "photos" / "003.jpg").read_bytes())
    with pytest.warns(clipindex.ClipIndexWarning, match="metadata stays as it is"):
        shop.reindex()
    assert values(shop, "sku") == {"000": 1, "001": 1}


def test_metadata_is_in_an_export_and_in_a_backup(shop: clipindex.Index, tmp_path: Path) -> None:
    shop.metadata(tmp_path / "products.csv", key="sku")
    shop.export(tmp_path / "export")
    copy = clipindex.Index(tmp_path / "copy", model=str(TINY))
    copy.import_(tmp_path / "export")
    assert values(copy, "price") == {49.9: 1, 60.0: 1}
    assert values(copy, "active") == {True: 1, False: 1}
    shop.backup(tmp_path / "backups")
    again = clipindex.Index(tmp_path / "again", model=str(TINY))
    again.restore(tmp_path / "backups")
    (tmp_path / "products.csv").write_text(CSV.replace("60", "61"))
    again.reindex()
    assert values(again, "price") == {49.9: 1, 61.0: 1}


def test_a_forgotten_file_takes_what_it_brought_and_nothing_else(
    shop: clipindex.Index, tmp_path: Path
) -> None:
    (tmp_path / "more.jsonl").write_text('{"name": "000.jpg", "client": "acme", "price": 1}\n')
    shop.metadata(tmp_path / "products.csv", key="sku")
    shop.metadata(tmp_path / "more.jsonl")
    assert values(shop, "price") == {1.0: 1, 60.0: 1}  # the later file holds
    assert shop.forget_metadata(tmp_path / "more.jsonl") == 1
    assert values(shop, "price") == {49.9: 1, 60.0: 1}
    assert values(shop, "client") == {}
    with pytest.raises(UsageError, match="was never joined"):
        shop.forget_metadata(tmp_path / "more.jsonl")


def test_a_file_that_is_no_table_changes_nothing(shop: clipindex.Index, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="no column"):
        shop.metadata(tmp_path / "bad.csv")
    with pytest.raises(UsageError, match="cannot be read"):
        shop.metadata(tmp_path / "none.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shop.reindex()


def test_metadata_on_a_server_is_typed_indexed_and_searched(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    make_pictures(tmp_path / "photos", 3)
    (tmp_path / "products.csv").write_text(CSV)
    url = request.getfixturevalue("double").url
    index = clipindex.Index(server=clipindex.Server(url), model=str(TINY))
    ingest(index, tmp_path / "photos")
    index.metadata(tmp_path / "products.csv", key="sku")
    assert named(index, ("price", "<", "50")) == ["000.jpg"]
    assert named(index, ("price", "=", "60")) == ["001.jpg"]
    assert named(index, ("active", "=", "true")) == ["000.jpg"]
    assert named(index, ("released", "=", "2024-05")) == ["001.jpg"]
    assert values(index, "code") == {"007": 1, "008": 1}


# --- grouped ---------------------------------------------------------------------------------


def test_a_query_shows_the_best_picture_of_each_group(
    shop: clipindex.Index, tmp_path: Path
) -> None:
    rows = "name,sku,active\n000.jpg,1,true\n001.jpg,1,true\n002.jpg,2,false\n"
    (tmp_path / "groups.csv").write_text(rows)
    shop.metadata(tmp_path / "groups.csv")
    own = str(tmp_path / "photos" / "001.jpg")
    hits = shop.query(own, QueryOptions(group_by="sku"))
    assert [Path(hit.path).name for hit in hits] == ["001.jpg", "002.jpg"]
    assert [hit.group for hit in hits] == [1.0, 2.0]
    assert hits[0].score == 1.0
    assert hits[0].meta == {"sku": 1.0, "active": True}
    first = shop.query(own, QueryOptions(group_by="sku", limit=1))
    assert [hit.path for hit in first] == [hits[0].path]
    with pytest.raises(UsageError, match="did you mean 'sku'"):
        shop.query(own, QueryOptions(group_by="skuu"))


def test_the_command_line_joins_lists_and_groups(shop: clipindex.Index, tmp_path: Path) -> None:
    store = shop.place.name
    done = run_clipindex("metadata", tmp_path / "products.csv", "--key", "sku", "--store", store)
    assert done.code == 0
    assert "2 of 4 rows joined" in done.out
    assert "row 5 matches no picture: ghost" in done.err
    ended = run_clipindex(
        *("query", "a shoe", "--where", "price<55", "--group-by", "sku", "--json"),
        *("--store", store, "--model", TINY),
    )
    (hit,) = ended.lines
    assert hit["group"] == "000"
    assert hit["meta"]["price"] == 49.9  # type: ignore[index]


def test_an_ingest_joins_a_file_to_what_it_indexed(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 2)
    (tmp_path / "products.csv").write_text(CSV)
    options = ("--metadata", tmp_path / "products.csv", "--store", tmp_path / "store")
    base = ("ingest", tmp_path / "photos", "--model", TINY, "--json")
    refused = run_clipindex(*base, *options)
    assert refused.code == 2  # no column names pictures: nothing was indexed
    assert not (tmp_path / "store").exists()
    done = run_clipindex(*base, *options, "--metadata-key", "sku")
    assert done.code == 0
    assert done.lines[-1]["type"] == "metadata"
    assert done.lines[-1]["pictures"] == 2
