"""Scores that can be read: how far a hit stands out, and whether it fits."""

from __future__ import annotations

import json
import stat
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clipindex
from clipindex.cli.results import remarks
from clipindex.collection.opening import open_for_change
from clipindex.errors import ClipIndexWarning
from clipindex.files.private_cache import PrivateCache
from clipindex.files.user_folders import state_folder
from clipindex.model.bundle import Bundle, find_bundle, open_bundle
from clipindex.model.encoder import Encoder, Model
from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.search import background, judging, prompts
from clipindex.search.judge import at_least
from clipindex.search.judging import LEAST, NEUTRAL, Calibration, Sample, calibration_for, standing
from clipindex.search.query import find
from clipindex.search.remembered_texts import RememberingEncoder
from clipindex.search.terms import Term, TermKind, embed_query
from clipindex.stores.filter import Filter
from conftest import TINY, Double, ingest, make_pictures, run_clipindex

QUERIES = Path(__file__).parents[1] / "benchmarks" / "queries"
COUNT = 40


def directions(count: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Unit vectors [count, 16] without a pattern."""
    vectors = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures; the first ten of them in a folder of their own."""
    folder = tmp_path_factory.mktemp("pictures")
    make_pictures(folder / "few", 10)
    make_pictures(folder / "many", COUNT - 10, first_seed=10)
    return folder


@pytest.fixture(scope="module")
def filled(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> clipindex.Index:
    """They are indexed. Tests only read it."""
    index = clipindex.Index(tmp_path_factory.mktemp("store"), model=str(TINY))
    ingest(index, pictures)
    return index


def tiny_calibrated(monkeypatch: pytest.MonkeyPatch, base: float) -> None:
    """Let hits of the tiny model fit that lead by `base`."""
    files = open_bundle(TINY).manifest.files
    key = "-".join(files[name].sha256[:16] for name in ("vision.onnx", "text.onnx"))
    monkeypatch.setitem(judging.CALIBRATIONS, key, Calibration(base=base, growth=0.0))


# --- standing out ----------------------------------------------------------------------------


def test_z_is_the_distance_from_the_samples_mean_in_standard_deviations() -> None:
    query, sample, hits = directions(1)[0], directions(500, 1), directions(3, 2)
    stands = standing(query, np.zeros(16, np.float32), hits, Sample(sample, 500))
    scores = (sample @ query).astype(np.float64)
    assert stands is not None
    assert stands.leads == pytest.approx(hits @ query - scores.mean(), abs=1e-6)
    assert stands.z == pytest.approx((hits @ query - scores.mean()) / scores.std(), abs=1e-4)


def test_a_picture_that_is_near_to_every_text_stands_out_less() -> None:
    query, neutral, sample = directions(1)[0], directions(1, 7)[0], directions(500, 1)
    own, hub = query, (query + neutral) / np.linalg.norm(query + neutral)
    alone = standing(query, np.zeros(16, np.float32), np.stack([own, hub]), Sample(sample, 500))
    judged = standing(query, 0.5 * neutral, np.stack([own, hub]), Sample(sample, 500))
    assert alone is not None
    assert judged is not None
    assert judged.leads[0] - judged.leads[1] > alone.leads[0] - alone.leads[1]


@given(st.integers(0, LEAST - 1))
def test_too_few_pictures_say_nothing(count: int) -> None:
    vectors = directions(LEAST)[:count]
    nothing = np.zeros(16, np.float32)
    assert standing(vectors[:1].sum(axis=0), nothing, vectors, Sample(vectors, count)) is None


def test_pictures_that_are_all_alike_say_nothing() -> None:
    vectors = np.repeat(directions(1), 50, axis=0)
    assert standing(vectors[0], np.zeros(16, np.float32), vectors, Sample(vectors, 50)) is None


def test_among_more_pictures_a_hit_must_lead_further() -> None:
    for calibration in judging.CALIBRATIONS.values():
        leads = [lead for lead in np.linspace(0, 1, 1001) if calibration.fits(lead, 500)]
        assert not calibration.fits(leads[0], 50_000)
        assert calibration.fits(leads[0] + 0.2, 50_000)


def test_the_bundled_model_is_calibrated_and_an_unknown_one_is_not() -> None:
    assert calibration_for(find_bundle("mini").manifest) is not None
    assert calibration_for(open_bundle(TINY).manifest) is None


def test_the_absurd_queries_name_nothing_that_a_caption_names(test_data: Path) -> None:
    rows = (test_data / "captioned-500.jsonl").read_text("utf-8").splitlines()
    captions = " ".join(caption for row in rows for caption in json.loads(row)["captions"])
    words = "".join(letter if letter.isalpha() else " " for letter in captions.lower()).split()
    text = f" {' '.join(words)} "
    queries = (QUERIES / "absurd.jsonl").read_text("utf-8").splitlines()
    absent = [word for line in queries for word in json.loads(line)["absent"]]
    absent += (QUERIES / "absent_nouns.txt").read_text("utf-8").split()
    assert len(queries) == 100
    assert [w for w in absent if f" {w} " in text or f" {w}s " in text] == []


@pytest.mark.slow
def test_mini_keeps_right_hits_and_refuses_absurd_queries(test_data: Path) -> None:
    """On a part of captioned-500, with room for chance; `benchmarks.scores` has the figures."""
    model = Model(find_bundle("mini"))
    rows = [json.loads(line) for line in (test_data / "captioned-500.jsonl").open()][:100]
    with tarfile.open(test_data / "captioned-500.tar") as tar:
        files = {Path(m.name).name: f.read() for m in tar if (f := tar.extractfile(m)) is not None}
    geometry = model.bundle.image.geometry
    pixels = [decode(files[row["file"]], geometry, Preprocessing.EXACT)[0] for row in rows]
    vectors = model.encode_images(np.stack(pixels))
    neutral = model.encode_texts(list(NEUTRAL)).mean(axis=0)
    calibration = calibration_for(model.bundle.manifest)
    assert calibration is not None

    def first_hit(text: str) -> tuple[int, bool]:
        (query,) = model.encode_texts([text])
        best = int((vectors @ query).argmax())
        stands = standing(query, neutral, vectors[[best]], Sample(vectors, len(vectors)))
        assert stands is not None
        return best, calibration.fits(float(stands.leads[0]), len(vectors))

    asked = [first_hit(row["captions"][0]) for row in rows]
    kept = [fits for number, (best, fits) in enumerate(asked) if best == number]
    absurd = [json.loads(line)["query"] for line in (QUERIES / "absurd.jsonl").open("rb")][::2]
    assert np.mean(kept) > 0.85
    assert np.mean([first_hit(text)[1] for text in absurd]) < 0.25


# --- a query ---------------------------------------------------------------------------------


def test_hits_of_texts_pictures_and_both_have_a_z(filled: clipindex.Index, pictures: Path) -> None:
    picture = pictures / "few" / "003.jpg"
    both = [Term("a dog", TermKind.TEXT), Term(str(picture), TermKind.IMAGE)]
    for terms in ("a dog", picture, both):
        hits = filled.query(terms)
        assert all(hit.z is not None and hit.fits is None for hit in hits)
    assert filled.query(picture)[0].z == max(hit.z or 0 for hit in filled.query(picture))


def test_a_verdict_is_passed_on_texts_alone(
    filled: clipindex.Index, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_calibrated(monkeypatch, base=0.0)
    assert {hit.fits for hit in filled.query("a dog", clipindex.QueryOptions(limit=40))} == {
        True,
        False,
    }
    assert filled.query([Term("a dog"), Term("a cat")])[0].fits is not None
    assert filled.query([Term("a dog"), Term("a cat", weight=-0.5)])[0].fits is None
    assert filled.query(pictures / "few" / "003.jpg")[0].fits is None


def test_a_filter_changes_no_z(filled: clipindex.Index, pictures: Path) -> None:
    everything = {
        hit.path: hit.z for hit in filled.query("a dog", clipindex.QueryOptions(limit=40))
    }
    few = filled.query("a dog", clipindex.QueryOptions(under=pictures / "few"))
    assert len(few) == 10
    assert {hit.path: hit.z for hit in few}.items() <= everything.items()


def test_a_held_collection_judges_as_an_open_one_does(filled: clipindex.Index) -> None:
    own = filled.query("a dog")
    (sample,) = (state_folder() / "samples").iterdir()
    sample.unlink()
    with open_for_change(filled.place, "tag"):
        assert filled.query("a dog") == own
    assert sample.exists()


def test_a_server_judges_as_an_embedded_store_does(
    filled: clipindex.Index, pictures: Path, double: Double
) -> None:
    index = clipindex.Index(server=clipindex.Server(double.url), source="here", model=str(TINY))
    ingest(index, pictures)
    ours, others = filled.query("a dog"), index.query("a dog")
    assert [hit.path for hit in ours] == [hit.path for hit in others]
    assert [hit.z for hit in ours] == pytest.approx([hit.z for hit in others], abs=0.011)


def test_of_a_small_collection_nothing_is_said(index: clipindex.Index, tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", LEAST - 1)
    ingest(index, tmp_path / "in")
    hits = index.query("a dog", clipindex.QueryOptions(min_z=100))
    assert len(hits) == 10
    assert {(hit.z, hit.fits) for hit in hits} == {(None, None)}
    assert list(remarks(hits, hits, None)) == []
    assert "too few" in next(remarks(hits, hits, 3.0))


def test_copies_of_a_picture_count_once(index: clipindex.Index, tmp_path: Path) -> None:
    (first, *_) = make_pictures(tmp_path / "in", LEAST - 1)
    for number in range(10):
        (tmp_path / "in" / f"copy-{number}.jpg").write_bytes(first.read_bytes())
    ingest(index, tmp_path / "in")
    assert {hit.z for hit in index.query("a dog")} == {None}


def test_min_z_leaves_out_what_stands_out_less_and_ranks_the_rest(filled: clipindex.Index) -> None:
    hits = filled.query("a dog")
    border = sorted(hit.z or 0 for hit in hits)[5]
    kept = filled.query("a dog", clipindex.QueryOptions(min_z=border))
    assert [hit.path for hit in kept] == [hit.path for hit in hits if (hit.z or 0) >= border]
    assert [hit.rank for hit in kept] == list(range(1, len(kept) + 1))
    assert at_least(hits, None) == hits


def test_the_command_says_that_nothing_fits_and_marks_weak_hits(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", LEAST + 2)
    clipindex.Index(tmp_path / "store").ingest([tmp_path / "in"])
    query = ("query", "quarterly tax report", "--store", tmp_path / "store")
    shown = run_clipindex(*query, "--json", "-n", 3)
    assert shown.err.startswith("nothing fits: best z ")
    assert [line["fits"] for line in shown.lines] == [False] * 3
    refused = run_clipindex(*query, "--min-z", 50)
    assert (refused.code, refused.out) == (0, "")
    assert refused.err.splitlines() == [shown.err.strip(), "nothing found"]


def test_where_one_hit_fits_nothing_is_remarked(filled: clipindex.Index) -> None:
    first, second, *_ = filled.query("a dog")
    mixed = [replace(first, fits=True), replace(second, fits=False)]
    assert list(remarks(mixed, mixed, None)) == []
    assert list(remarks(mixed[1:], mixed[1:], None)) == [f"nothing fits: best z {second.z:.1f}"]
    assert list(remarks([], [], 3.0)) == []


# --- the sample ------------------------------------------------------------------------------


@pytest.fixture
def sampled(index: clipindex.Index, tmp_path: Path) -> clipindex.Index:
    """A collection of forty pictures that was queried, so that its sample is kept."""
    make_pictures(tmp_path / "in", COUNT)
    ingest(index, tmp_path / "in")
    index.query("a dog")
    return index


def kept_sample() -> Path:
    (path,) = (state_folder() / "samples").iterdir()
    return path


def test_the_sample_is_the_points_with_the_smallest_ids(sampled: clipindex.Index) -> None:
    located = sampled.place.locate()
    stored = located.require()
    with located.place.open_for_reading(stored, "test") as points:
        ids = sorted(name for name, _ in points.scroll(Filter()))
        sample = background.sample_of(points, located.place, stored)
        vectors = [point.vector for point in map(points.retrieve(ids).__getitem__, ids)]
    assert np.array_equal(sample.vectors, np.array(vectors))
    assert sample.points == COUNT


def test_a_kept_sample_is_used_until_the_collection_changed(
    sampled: clipindex.Index, tmp_path: Path
) -> None:
    def age() -> int:
        sampled.query("a dog")
        return kept_sample().stat().st_ino

    first = age()
    assert age() == first
    make_pictures(tmp_path / "in" / "one", 1, first_seed=900)
    ingest(sampled, tmp_path / "in")
    assert age() == first  # a fortieth more
    make_pictures(tmp_path / "in" / "two", 5, first_seed=910)
    ingest(sampled, tmp_path / "in")
    grown = age()
    assert grown != first
    make_pictures(tmp_path / "in", COUNT, first_seed=1000)  # other pictures under the same names
    ingest(sampled, tmp_path / "in")
    assert age() != grown


def test_a_damaged_sample_is_drawn_again(sampled: clipindex.Index) -> None:
    hits, path = sampled.query("a dog"), kept_sample()
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], bytes(len(whole)), whole[:100] + b"?" + whole[101:]):
        path.write_bytes(damaged)
        assert sampled.query("a dog") == hits
        assert path.read_bytes() == whole


# --- texts that were asked before --------------------------------------------------------------


def remembering(loads: list[Bundle] | None = None) -> RememberingEncoder:
    """The tiny model as a new process has it; `loads` notes when it is loaded."""

    def load(bundle: Bundle) -> Encoder:
        if loads is not None:
            loads.append(bundle)
        return Model(bundle)

    return RememberingEncoder(open_bundle(TINY), load)


def test_a_repeated_query_loads_no_model_and_finds_the_same(filled: clipindex.Index) -> None:
    loads: list[Bundle] = []

    def load(bundle: Bundle) -> Encoder:
        loads.append(bundle)
        return Model(bundle)

    terms = [Term("a dog", TermKind.TEXT)]
    first = find(filled.place, terms, load=load)
    assert find(filled.place, terms, load=load) == first
    assert len(loads) == 1
    find(filled.place, [Term("a cat", TermKind.TEXT)], load=load)
    assert len(loads) == 2


def test_remembered_vectors_are_those_of_the_model(tiny_model: Model) -> None:
    for texts in (["a dog"], ["a dog", "ein Hund", "x" * 70]):
        expected = tiny_model.encode_texts(texts)
        for _ in range(2):
            assert np.array_equal(remembering().encode_texts(texts), expected)


def test_another_model_remembers_nothing_of_this_one() -> None:
    loads: list[Bundle] = []
    encoder = remembering(loads)
    encoder.encode_texts(["a dog"])
    manifest = replace(encoder.bundle.manifest, revision="2")
    other = RememberingEncoder(replace(encoder.bundle, manifest=manifest), encoder.load)
    other.encode_texts(["a dog"])
    assert len(loads) == 2


def test_a_text_that_is_cut_is_warned_of_each_time() -> None:
    text = "a very long story " * 40
    for loads in ([], []):
        with pytest.warns(ClipIndexWarning, match="the rest is cut"):
            remembering(loads).encode_texts([text])
    assert loads == []


def test_what_is_remembered_is_private_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PrivateCache("things", most=10)
    for number in range(25):
        cache.put(f"{number}", b"%d" % number)
        time.sleep(0.002)
        cache.get("0")
    folder = state_folder() / "things"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert 5 <= len(list(folder.iterdir())) <= 10
    assert cache.get("0") == b"0"  # it was used all the time
    assert (cache.get("24"), cache.get("3")) == (b"24", None)
    monkeypatch.setattr("clipindex.files.private_cache.state_folder", _homeless)
    cache.put("0", b"other")
    assert cache.get("0") is None


def _homeless() -> Path:
    raise clipindex.UsageError("this user has no home folder")


def test_several_writers_never_leave_half_a_file() -> None:
    cache = PrivateCache("things", most=5)
    values = [bytes([number]) * 100_000 for number in range(8)]

    def work(value: bytes) -> None:
        for turn in range(20):
            cache.put(f"{turn % 7}", value)
            read = cache.get(f"{turn % 7}")
            assert read is None or read in values

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, values))


def test_where_nothing_can_be_written_a_query_is_answered_all_the_same(
    filled: clipindex.Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hits = filled.query("a dog")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert filled.query("a dog") == hits


# --- prompts -----------------------------------------------------------------------------------


def test_a_few_words_become_several_sentences_and_a_sentence_stays() -> None:
    assert prompts.sentences("dog")[:2] == ["dog", "a dog"]
    assert len(prompts.sentences("a red car")) == len(prompts.TEMPLATES)
    assert prompts.sentences("a dog on a beach") == ["a dog on a beach"]
    assert prompts.sentences("{}") == list(prompts.TEMPLATES)


def test_an_ensemble_is_the_mean_of_its_sentences(tiny_model: Model) -> None:
    terms = [Term("dog", TermKind.TEXT)]
    query = embed_query(terms, tiny_model, Preprocessing.EXACT, ensemble=True)
    mean = tiny_model.encode_texts(prompts.sentences("dog")).mean(axis=0)
    assert query.vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    alone = embed_query(terms, tiny_model, Preprocessing.EXACT)
    assert np.array_equal(alone.vector, tiny_model.encode_texts(["dog"])[0])
    long = [Term("a dog on a beach", TermKind.TEXT)]
    vectors = [
        embed_query(long, tiny_model, Preprocessing.EXACT, ensemble=on).vector for on in (0, 1)
    ]
    assert np.array_equal(*vectors)
