"""Keywords, captions and ratings, from pictures and from the XMP files beside them."""

from __future__ import annotations

import io
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin, TiffImagePlugin

import clipindex
from clipindex import Condition, PictureFilter, QueryOptions, RunPlanned, Undescribed
from clipindex.files.file_system import FileRecord
from clipindex.files.sidecars import sidecars_in
from clipindex.ingest.describing import Describer
from clipindex.pictures.description.iptc import iptc_in, read_iptc
from clipindex.pictures.description.reading import description_of
from clipindex.pictures.description.xmp import MOST_BYTES, read_xmp
from clipindex.stores.described import described
from conftest import TINY, Run, ingest, make_pictures, picture, run_clipindex

SCHEMES = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:m="http://ns.microsoft.com/photo/1.0/"'
)


def xmp(inside: str = "", attributes: str = "", prolog: str = "") -> bytes:
    """A packet with properties as elements and as attributes."""
    return (
        f'{prolog}<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {SCHEMES}>'
        f'<rdf:Description rdf:about="" {attributes}>{inside}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


def words(*keywords: str) -> str:
    """Keywords as a property."""
    items = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords)
    return f"<dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject>"


ALL = xmp(
    words("beach", "Ännchen") + '<dc:description><rdf:Alt><rdf:li xml:lang="de">Strand</rdf:li>'
    '<rdf:li xml:lang="x-default">A\n beach</rdf:li></rdf:Alt></dc:description>'
    '<dc:title><rdf:Alt><rdf:li xml:lang="en">Low tide</rdf:li></rdf:Alt></dc:title>'
    "<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li></rdf:Seq></dc:creator>",
    'xmp:Rating="4" xmp:Label="Red"',
)
SAID = {
    "keywords": ["beach", "Ännchen"],
    "caption": "A beach",
    "title": "Low tide",
    "creator": ["Ann"],
    "rating": 4,
    "label": "Red",
}


def iim(*datasets: tuple[int, int, bytes]) -> bytes:
    """IPTC datasets."""
    return b"".join(
        bytes((0x1C, record, number)) + len(content).to_bytes(2, "big") + content
        for record, number, content in datasets
    )


def photoshop(iptc: bytes) -> bytes:
    """Resources of Photoshop's, the second of which are the datasets."""
    other = b"8BIM\x03\xed\x01n" + (3).to_bytes(4, "big") + b"abc\0"
    return other + b"8BIM\x04\x04\0\0" + len(iptc).to_bytes(4, "big") + iptc


OLD = iim((2, 25, b"old"), (2, 120, b"From IPTC"), (2, 5, b"Name"), (2, 80, b"Bob"))


def encoded(kind: str, packet: bytes = b"", iptc: bytes = b"", seed: int = 0) -> bytes:
    """A picture with an XMP packet or IPTC datasets in it."""
    out = io.BytesIO()
    options: dict[str, object] = {}
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=bool(seed % 2))
        options["pnginfo"] = texts
    elif kind == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[700] = packet
        if iptc:
            tags[33723] = iptc
        options["tiffinfo"] = tags
    elif packet:
        options["xmp"] = packet
    picture(seed).save(out, kind, **options)
    data = out.getvalue()
    if kind == "JPEG" and iptc:
        content = b"Photoshop 3.0\0" + photoshop(iptc)
        data = data[:2] + b"\xff\xed" + (len(content) + 2).to_bytes(2, "big") + content + data[2:]
    return data


# --- what files say --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_each_format_says_what_its_packet_says(kind: str) -> None:
    assert description_of(encoded(kind, ALL)) == SAID


def test_a_compressed_packet_of_a_png_is_read() -> None:
    assert description_of(encoded("PNG", ALL, seed=1)) == SAID


def test_a_heic_says_what_its_packet_says() -> None:
    heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (64, 64))).save(out, xmp=ALL)
    assert description_of(out.getvalue()) == SAID


def test_a_canon_raw_file_says_what_its_box_says() -> None:
    brand = b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"
    box = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + ALL
    data = brand + (len(box) + 8).to_bytes(4, "big") + b"uuid" + box
    assert description_of(data) == SAID


def test_a_jpeg_xl_says_what_its_box_says() -> None:
    box = (len(ALL) + 8).to_bytes(4, "big") + b"xml " + ALL
    assert description_of(b"\0\0\0\x0cJXL \r\n\x87\n" + box) == SAID


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_iptc_is_read_and_xmp_holds_before_it(kind: str) -> None:
    old = {"keywords": ["old"], "caption": "From IPTC", "title": "Name", "creator": ["Bob"]}
    assert description_of(encoded(kind, iptc=OLD)) == old
    new = description_of(encoded(kind, xmp(words("new")), OLD))
    assert new == {**old, "keywords": ["new"]}


def test_iptc_of_a_tiff_is_read_where_it_was_swapped_as_numbers() -> None:
    padded = OLD + bytes(-len(OLD) % 4)
    swapped = b"".join(padded[at : at + 4][::-1] for at in range(0, len(padded), 4))
    assert description_of(encoded("TIFF", iptc=swapped))["caption"] == "From IPTC"


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        ("Zürich".encode(), b"", "Zürich"),
        ("Zürich".encode("cp1252"), b"", "Zürich"),
        ("Zürich".encode(), b"\x1b%G", "Zürich"),
        (b"cut \xc3", b"\x1b%G", "cut \ufffd"),
        (b"a\0\x1b[31mb\r\nc", b"", "a [31mb c"),
    ],
)
def test_iptc_is_decoded_whatever_wrote_it(content: bytes, charset: bytes, text: str) -> None:
    assert read_iptc(iim((1, 90, charset), (2, 120, content)))["caption"] == text


def test_a_long_dataset_and_a_headline_are_read() -> None:
    long = b"\x1c\x02\x78\x80\x04" + (3000).to_bytes(4, "big") + b"x" * 3000
    said = read_iptc(long + iim((2, 105, b"Headline")))
    assert said == {"caption": "x" * 2000, "title": "Headline"}


# --- what a packet says ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (xmp("<xmp:Rating>3.5</xmp:Rating>"), {"rating": 3.5}),
        (xmp("<dc:title>plain</dc:title>"), {"title": "plain"}),
        (xmp(attributes='photoshop:Headline="H"'), {"title": "H"}),
        (xmp("<dc:title>T</dc:title>", 'photoshop:Headline="H"'), {"title": "T"}),
        (xmp(attributes='m:Rating="75"'), {"rating": 4}),
        (xmp(attributes='xmp:Rating="-1"'), {"rating": -1}),
        (xmp(attributes='xmp:Rating="nan" xmp:Label=" "'), {"label": ""}),
        (xmp(attributes='xmp:Rating="17"'), {}),
        (xmp(words("a", " a ", "", "b")), {"keywords": ["a", "b"]}),
        (xmp(words()), {"keywords": []}),
        (xmp(), {}),
        (ALL.decode().encode("utf-16"), SAID),
        (b"\xef\xbb\xbf" + ALL, SAID),
        (ALL + bytes(100), SAID),  # padded
        (xmp(words("Zürich")).decode().encode("cp1252"), {"keywords": ["Zürich"]}),
        (xmp(words("a\x0bb")), {"keywords": ["a b"]}),
        (xmp(words("a&#x1b;&#0;b&#228;&#xe4;")), {"keywords": ["a bää"]}),
        (  # the history of a picture has a description of its own
            xmp(f"<photoshop:x><rdf:Description>{words('other')}</rdf:Description></photoshop:x>"),
            {},
        ),
    ],
)
def test_a_packet_is_read_in_each_of_its_forms(packet: bytes, said: dict[str, object]) -> None:
    assert read_xmp(packet) == said


def test_a_sidecar_says_for_which_extension_it_was_made() -> None:
    packet = xmp(words("a"), 'photoshop:SidecarForExtension="NEF"')
    assert read_xmp(packet, "nef") == {"keywords": ["a"]}
    assert read_xmp(packet, "jpg") == {}


LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 20))


@pytest.mark.parametrize(
    "packet",
    [
        xmp(words("&a19;"), prolog=f'<!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]>'),
        xmp(words("&a;"), prolog='<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'),
        xmp(prolog='<!DOCTYPE x SYSTEM "http://localhost:1/x.dtd">'),
        xmp(prolog='<?xml version="1.0" encoding="klingon"?>')[:-40],
        b"<a>" * 100_000,
        ALL[:-80],
        b"",
        b"no xml",
        ALL + bytes(MOST_BYTES),
    ],
    ids=["laughs", "file", "address", "encoding", "deep", "cut", "empty", "text", "huge"],
)
def test_a_hostile_or_broken_packet_says_nothing(packet: bytes) -> None:
    assert read_xmp(packet) is None


def test_what_is_too_long_is_cut_and_what_is_too_much_is_left_out() -> None:
    said = read_xmp(xmp(words(*map(str, range(1000)), "k" * 999), f'xmp:Label="{"l" * 999}"'))
    assert said is not None
    assert len(str(said["label"])) == 250
    assert len(said["keywords"]) == 500  # type: ignore[arg-type]


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x1c\x02\x19", b"8BIM\x04\x04\0\0"]))
def test_any_bytes_are_iptc_or_nothing(data: bytes, start: bytes) -> None:
    read_iptc(start + data)
    iptc_in(start + data)


SOUND = {kind: encoded(kind, ALL, OLD) for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF")}


@given(st.sampled_from(sorted(SOUND)), st.integers(0, 20_000), st.binary(min_size=1, max_size=4))
@settings(max_examples=200)
def test_damage_anywhere_in_a_file_raises_nothing(kind: str, at: int, noise: bytes) -> None:
    data = SOUND[kind]
    at %= len(data)
    description_of(data[:at] + noise + data[at + len(noise) :])
    description_of(data[:at])


# --- which sidecar belongs to which picture --------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("a.jpg a.jpg.xmp", {"a.jpg": ["a.jpg.xmp"]}),
        ("a.jpg a.xmp", {"a.jpg": ["a.xmp"]}),
        ("a.jpg a.jpg.xmp a.xmp", {"a.jpg": ["a.xmp", "a.jpg.xmp"]}),
        ("a.jpg a.nef a.xmp", {"a.jpg": ["a.xmp"], "a.nef": ["a.xmp"]}),
        ("A.JPG a.jpg.XMP", {"A.JPG": ["a.jpg.XMP"]}),
        (
            "A.jpg A.jpg.xmp a.jpg a.jpg.xmp",
            {"A.jpg": ["A.jpg.xmp"], "a.jpg": ["a.jpg.xmp"]},
        ),
        ("a.jpg a_01.jpg.xmp b.xmp xmp .xmp", {}),  # darktable's second version of it
        ("a a.xmp", {"a": ["a.xmp"]}),
        ("a.jpg b.jpg", {}),
    ],
)
def test_a_sidecar_is_found_by_its_name(names: str, expected: dict[str, list[str]]) -> None:
    files = [FileRecord(b"/p/" + name.encode(), 1, 2, 3) for name in sorted(names.split())]
    found = {
        os.path.basename(path).decode(): [os.path.basename(file.path).decode() for file in several]
        for path, several in sidecars_in(files).items()
    }
    assert found == expected


# --- indexed ---------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A beach with all that a packet can say, two pictures without any."""
    folder = tmp_path / "photos"
    make_pictures(folder, 3)
    (folder / "000.jpg").write_bytes(encoded("JPEG", ALL))
    return folder


@pytest.fixture
def library(index: clipindex.Index, photos: Path) -> clipindex.Index:
    ingest(index, photos)
    return index


def named(index: clipindex.Index, *conditions: tuple[str, str, str]) -> list[str]:
    wanted = PictureFilter(where=tuple(Condition(*condition) for condition in conditions))
    hits = index.query("a beach", QueryOptions(pictures=wanted))
    return sorted(Path(hit.path).name for hit in hits)


def meta(index: clipindex.Index, path: Path) -> dict[str, object]:
    (hit,) = [hit for hit in index.query("a", QueryOptions(limit=50)) if str(path) in hit.paths]
    return hit.meta


def to_read(run: Run) -> int:
    (plan,) = [event for event in run.events if isinstance(event, RunPlanned)]
    return plan.to_read


def test_what_a_picture_says_is_searched_listed_and_shown(
    library: clipindex.Index, photos: Path
) -> None:
    assert named(library, ("rating", ">=", "4")) == ["000.jpg"]
    assert named(library, ("rating", ">", "4")) == []
    assert named(library, ("keywords", "=", "Ännchen")) == ["000.jpg"]
    assert meta(library, photos / "000.jpg") == SAID
    assert meta(library, photos / "001.jpg") == {}
    listed = {(tag.key, tag.value) for tag in library.tags()}
    assert {("keywords", "beach"), ("keywords", "Ännchen"), ("rating", 4.0)} <= listed


def test_a_picture_is_in_the_group_of_each_of_its_keywords(
    library: clipindex.Index, photos: Path
) -> None:
    (photos / "001.xmp").write_bytes(xmp(words("beach", "dog")))
    library.reindex()
    own = str(photos / "001.jpg")
    hits = library.query(own, QueryOptions(group_by="keywords"))
    found = [(hit.group, Path(hit.path).name) for hit in hits]
    assert found == [("beach", "001.jpg"), ("dog", "001.jpg"), ("Ännchen", "000.jpg")]


def test_the_command_line_filters_by_them(library: clipindex.Index) -> None:
    store = ("--store", library.place.name)
    ended = run_clipindex(
        *("query", "a beach", "--where", "rating>=4", "--where", "keywords=beach", "--json"),
        *(*store, "--model", TINY),
    )
    (hit,) = ended.lines
    assert hit["meta"] == SAID
    assert "keywords\tbeach\t1" in run_clipindex("tags", *store).out


def test_a_picture_whose_packet_changed_has_new_bytes_and_keeps_its_tags(
    library: clipindex.Index, photos: Path
) -> None:
    library.tag({"album": "sea"}, [photos / "000.jpg"])
    (photos / "000.jpg").write_bytes(encoded("JPEG", xmp(words("storm"))))
    assert library.reindex().changed == 1
    assert meta(library, photos / "000.jpg") == {"keywords": ["storm"]}
    hits = library.query("a", QueryOptions(where=(("album", "sea"),)))
    assert [hit.path for hit in hits] == [str(photos / "000.jpg")]


def test_a_sidecar_is_noticed_when_it_comes_changes_and_goes(
    library: clipindex.Index, photos: Path
) -> None:
    first, second = photos / "000.jpg", photos / "001.jpg"
    beside = photos / "001.jpg.xmp"
    beside.write_bytes(xmp(words("cat"), 'xmp:Rating="2"'))
    run = ingest(library, photos)
    assert to_read(run) == 1  # the sidecar: no picture is opened
    assert (run.summary.embedded, run.summary.unchanged, run.summary.skipped) == (0, 3, 1)
    assert meta(library, second) == {"keywords": ["cat"], "rating": 2}
    again = ingest(library, photos)
    assert (to_read(again), again.summary.written, again.summary.tagged) == (0, 0, 0)

    beside.write_bytes(xmp(words("dog"), 'xmp:Rating="0"'))
    (photos / "000.xmp").write_bytes(xmp(words(), 'xmp:Rating="5"'))
    assert ingest(library, photos).summary.written == 2
    assert meta(library, second) == {"keywords": ["dog"]}  # 0 stars: none were given
    rated = {key: value for key, value in SAID.items() if key != "keywords"} | {"rating": 5}
    assert meta(library, first) == rated  # the sidecar says that there are no keywords

    beside.unlink()
    (photos / "000.xmp").unlink()
    assert library.reindex().written == 2
    assert meta(library, second) == {}
    assert meta(library, first) == SAID
    assert library.reindex().written == 0


def test_a_picture_and_its_sidecar_come_and_move_together(
    library: clipindex.Index, photos: Path
) -> None:
    (photos / "new.jpg").write_bytes(encoded("JPEG", seed=9))
    (photos / "NEW.JPG.XMP").write_bytes(xmp(words("new")))
    (photos / "copy.jpg").write_bytes((photos / "000.jpg").read_bytes())
    (photos / "copy.xmp").write_bytes(xmp(attributes='xmp:Rating="1"'))
    assert library.reindex().duplicate == 1
    assert meta(library, photos / "new.jpg") == {"keywords": ["new"]}
    assert named(library, ("rating", "=", "1")) == ["copy.jpg"]
    assert named(library, ("rating", "=", "4")) == ["000.jpg"]
    os.rename(photos / "new.jpg", photos / "moved.jpg")
    os.rename(photos / "NEW.JPG.XMP", photos / "moved.jpg.xmp")
    assert library.reindex().moved == 1
    assert meta(library, photos / "moved.jpg") == {"keywords": ["new"]}


def test_what_people_joined_holds_before_what_a_file_says(
    library: clipindex.Index, photos: Path, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("name,rating,shop\n000.jpg,1,north\n001.jpg,2,south\n")
    library.metadata(table)
    assert meta(library, photos / "000.jpg") == {**SAID, "rating": 1, "shop": "north"}
    (photos / "000.jpg.xmp").write_bytes(xmp(words("tide"), 'xmp:Rating="3"'))
    library.reindex()
    joined = {**SAID, "keywords": ["tide"], "rating": 1, "shop": "north"}
    assert meta(library, photos / "000.jpg") == joined
    os.utime(photos / "000.jpg", (1, 1))
    library.reindex()
    assert meta(library, photos / "000.jpg") == joined
    library.forget_metadata(table)
    assert meta(library, photos / "000.jpg") == {**SAID, "keywords": ["tide"], "rating": 3}
    assert meta(library, photos / "001.jpg") == {}


def test_a_sidecar_that_cannot_be_used_is_told_and_costs_nothing(
    library: clipindex.Index, photos: Path
) -> None:
    (photos / "000.xmp").write_bytes(b"no XMP")
    (photos / "001.xmp").write_bytes(b"")
    with pytest.warns(clipindex.ClipIndexWarning, match=r"000\.xmp and 1 more"):
        library.reindex()
    assert meta(library, photos / "000.jpg") == SAID
    assert library.reindex().written == 0


def test_a_sidecar_that_cannot_be_read_takes_nothing_and_is_tried_again(tmp_path: Path) -> None:
    gone = FileRecord(os.fsencode(tmp_path / "a.xmp"), 1, 2, 3)
    told = Describer({b"/a.jpg": (gone,)}).said(b"/a.jpg", encoded("JPEG", ALL))
    assert (told.file, told.sidecar, told.stamp) == (SAID, None, None)
    before = described({"path": "/a.jpg"}, file={}, sidecar={"rating": 2})
    assert described(before, file=told.file, sidecar=told.sidecar)["meta_rating"] == 2


def test_sidecars_of_included_and_of_named_files_are_read(
    index: clipindex.Index, photos: Path
) -> None:
    (photos / "001.jpg.xmp").write_bytes(xmp(words("cat")))
    (photos / "002.XMP").write_bytes(xmp(words("dog")))
    policy = clipindex.WalkPolicy(include=("*.jpg",))
    index.ingest(photos, policy=policy)
    assert meta(index, photos / "001.jpg") == {"keywords": ["cat"]}
    assert meta(index, photos / "002.jpg") == {"keywords": ["dog"]}
    summary = index.ingest(files=[photos / "001.jpg", photos / "002.jpg"])
    assert (summary.unchanged, summary.written) == (2, 0)
    (photos / "002.XMP").unlink()
    assert index.ingest(files=[photos / "002.jpg"]).written == 1
    assert meta(index, photos / "002.jpg") == {}


def test_each_part_takes_the_sidecars_of_its_pictures(
    index: clipindex.Index, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    for path in make_pictures(photos, 8):
        path.with_suffix(".xmp").write_bytes(xmp(words(path.stem)))
    for number in (1, 2, 3):
        index.ingest(photos, part=clipindex.Part(number, 3))
    found = {path.name: meta(index, path) for path in sorted(photos.glob("*.jpg"))}
    assert found == {name: {"keywords": [name[:3]]} for name in found}


# --- indexed by an earlier version -----------------------------------------------------------


def make_old(index: clipindex.Index) -> None:
    """The collection as a version without descriptions left it."""
    from clipindex.collection.opening import open_for_change
    from clipindex.upkeep.tagging import rewrite

    new = ("file_", "sidecar_", "described", "meta_")
    with open_for_change(index.place, "test") as collection:
        names = [name for name, _ in collection.points.scroll()]
        changed = rewrite(
            collection.points,
            names,
            lambda payload: {n: v for n, v in payload.items() if not n.startswith(new)},
        )
        assert sum(batch.points for batch in changed)
    (path,) = Path(index.place.name).glob("*/catalogue.sqlite")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE files SET described = 0, sidecars = NULL")
    database.close()


def test_what_an_earlier_version_indexed_is_told_and_read_on_request(
    library: clipindex.Index, photos: Path
) -> None:
    (photos / "002.xmp").write_bytes(xmp(words("dog")))
    library.reindex()
    make_old(library)
    run = ingest(library, photos)
    assert Undescribed(3) in run.events
    assert to_read(run) == 0
    assert meta(library, photos / "000.jpg") == {}
    assert meta(library, photos / "002.jpg") == {"keywords": ["dog"]}  # no picture is opened

    partly = library.reindex(clipindex.IngestOptions(reread=True, limit=2))
    assert (partly.unchanged, partly.deferred) == (2, 1)
    rest = ingest(library, photos, reread=True)
    assert (to_read(rest), rest.summary.embedded, rest.summary.unchanged) == (1, 0, 3)
    assert meta(library, photos / "000.jpg") == SAID
    assert meta(library, photos / "002.jpg") == {"keywords": ["dog"]}
    done = ingest(library, photos, reread=True)
    assert (to_read(done), done.summary.written) == (0, 0)
    assert not [event for event in done.events if isinstance(event, Undescribed)]


def test_a_lost_catalogue_costs_no_reading(library: clipindex.Index, photos: Path) -> None:
    (photos / "001.xmp").write_bytes(xmp(words("cat")))
    library.reindex()
    (path,) = Path(library.place.name).glob("*/catalogue.sqlite")
    path.unlink()
    run = ingest(library, photos)
    assert to_read(run) == 1  # the sidecar, which was skipped as no picture
    assert (run.summary.written, run.summary.unchanged) == (0, 3)
    assert meta(library, photos / "001.jpg") == {"keywords": ["cat"]}
    assert not [event for event in run.events if isinstance(event, Undescribed)]


# --- on a server -----------------------------------------------------------------------------


def test_a_server_filters_by_what_pictures_say(
    photos: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("double").url
    index = clipindex.Index(server=clipindex.Server(url), model=str(TINY))
    ingest(index, photos)
    assert named(index, ("rating", ">=", "4")) == ["000.jpg"]
    assert named(index, ("keywords", "=", "beach")) == ["000.jpg"]
    (photos / "001.jpg.xmp").write_bytes(xmp(words("cat", "beach")))
    index.reindex()
    assert named(index, ("keywords", "=", "beach")) == ["000.jpg", "001.jpg"]
    listed = {(tag.key, tag.value, tag.count) for tag in index.tags()}
    assert ("keywords", "beach", 2) in listed
