"""From a text to token ids: OpenAI's ids, on every golden text."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from pathlib import Path

import ftfy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipindex.errors import ModelError
from clipindex.model.bundle import open_bundle
from clipindex.model.manifest import TextSpec
from clipindex.model.text import TextTokenizer, Tokens, clean, part_for
from conftest import TINY

GOLDEN = json.loads((Path(__file__).parent / "data" / "tokens.json").read_text("utf-8"))
TEXTS = GOLDEN["texts"]
START, END = 49406, 49407


@pytest.fixture(scope="module")
def spec() -> TextSpec:
    return open_bundle(TINY).manifest.text


@pytest.fixture(scope="module")
def tokenizer(spec: TextSpec) -> TextTokenizer:
    return TextTokenizer(TINY / "tokenizer.json", spec)


def test_the_bundle_says_what_the_golden_ids_were_made_with(spec: TextSpec) -> None:
    assert (spec.context_length, spec.pad_id) == (GOLDEN["context"], GOLDEN["pad"])
    assert len(TEXTS) == 66


@pytest.mark.parametrize("golden", TEXTS, ids=lambda golden: repr(golden["text"])[:40])
def test_ids_equal_openai_s_golden_ids(tokenizer: TextTokenizer, golden: dict[str, object]) -> None:
    """Through clean() and the tokenizer, as the model gets them; special tokens typed in a
    text are the real ones, as in OpenAI's own code."""
    tokens = tokenizer.encode(str(golden["text"]))
    padded = tokens.ids + [GOLDEN["pad"]] * (GOLDEN["context"] - len(tokens.ids))
    assert padded == golden["ids"]
    assert tokens.uncut == golden["length_untruncated"]
    assert (tokens.uncut > len(tokens.ids)) == golden["truncated"]


@pytest.mark.parametrize("text", ["", " ", "\t\n ", "\u00a0\u2003"])
def test_an_empty_text_is_start_and_end(tokenizer: TextTokenizer, text: str) -> None:
    assert tokenizer.encode(text) == Tokens([START, END], 2)


def test_a_long_text_is_cut_at_77_and_keeps_its_end(tokenizer: TextTokenizer) -> None:
    tokens = tokenizer.encode("cat " * 200)
    assert len(tokens.ids) == 77
    assert (tokens.ids[0], tokens.ids[-1]) == (START, END)
    assert set(tokens.ids[1:-1]) == {2368}
    assert tokens.uncut == 202


@pytest.mark.parametrize("words", [74, 75, 76])
def test_only_what_does_not_fit_is_cut(tokenizer: TextTokenizer, words: int) -> None:
    tokens = tokenizer.encode("cat " * words)
    assert tokens.uncut == words + 2
    assert len(tokens.ids) == min(words + 2, 77)


def test_another_context_length_cuts_elsewhere(spec: TextSpec) -> None:
    short = TextTokenizer(
        TINY / "tokenizer.json", dataclasses.replace(spec, context_length=5)
    ).encode("a photo of a cat")
    assert short == Tokens([START, 320, 1125, 539, END], 7)


@given(text=st.text(max_size=200))
@settings(max_examples=150, deadline=None)
def test_every_text_has_a_start_an_end_and_at_most_77_ids(
    tokenizer: TextTokenizer, text: str
) -> None:
    tokens = tokenizer.encode(text)
    assert (tokens.ids[0], tokens.ids[-1]) == (START, END)
    assert 2 <= len(tokens.ids) <= min(77, tokens.uncut)
    assert clean(clean(text)) == clean(clean(clean(text)))


def test_bytes_that_are_no_text_do_not_stop_a_query(tokenizer: TextTokenizer) -> None:
    """A shell hands over an argument that is not UTF-8 with lone surrogates in it."""
    tokens = tokenizer.encode(b"caf\xe9 at night".decode("utf-8", "surrogateescape"))
    assert (tokens.ids[0], tokens.ids[-1]) == (START, END)
    assert tokenizer.encode("night").ids[1] in tokens.ids


def test_a_batch_is_padded_to_its_longest_text(tokenizer: TextTokenizer) -> None:
    batch = [tokenizer.encode(text) for text in ("", "a photo of a cat", "a")]
    padded = tokenizer.pad(batch)
    assert padded.dtype == np.int64
    assert padded.tolist() == [
        [START, END, 0, 0, 0, 0, 0],
        [START, 320, 1125, 539, 320, 2368, END],
        [START, 320, END, 0, 0, 0, 0],
    ]


def test_the_pad_id_is_the_bundle_s(spec: TextSpec) -> None:
    other = TextTokenizer(TINY / "tokenizer.json", dataclasses.replace(spec, pad_id=END))
    assert other.pad([other.encode(""), other.encode("a")]).tolist()[0] == [START, END, END]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("A  Photo\tOF\na CAT ", "a photo of a cat"),
        ("it\u2019s a \u201ccat\u201d", 'it\'s a "cat"'),
        ("caf&eacute; &amp;lt;b&gt;", "café <b>"),
        ("cafÃ©", "café"),
        ("ﬁsh", "fish"),
        ("ＣＡＴ", "cat"),
        ("ÉCOLE", "école"),
        ("a\u00a0cat", "a cat"),
        ("", ""),
    ],
)
def test_cleaning_makes_what_a_person_meant(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_plain_text_is_cleaned_alike_whether_mended_first_or_not(text: str) -> None:
    mended = html.unescape(html.unescape(ftfy.fix_text(text)))
    assert clean(text) == re.sub(r"\s+", " ", mended).strip().lower()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_the_first_text_has_the_ids_that_it_has_later(spec: TextSpec, text: str) -> None:
    fresh = TextTokenizer(TINY / "tokenizer.json", spec)
    assert fresh.encode(text) == fresh.encode(text)


@pytest.mark.parametrize("text", ["na\u00efve", "\U0001f600", "\u732b"])
def test_only_plain_text_is_encoded_by_a_part_of_the_tokenizer(text: str) -> None:
    whole = json.loads((TINY / "tokenizer.json").read_text("utf-8"))
    assert part_for(whole, text) is None
    assert len(part_for(whole, "a dog")["model"]["vocab"]) < 20  # type: ignore[index]


def test_a_bundle_may_ask_for_no_cleaning(spec: TextSpec) -> None:
    raw = TextTokenizer(TINY / "tokenizer.json", dataclasses.replace(spec, cleaning="none"))
    curly = "it\u2019s"
    golden = next(each for each in TEXTS if not each["hf_same"])
    assert (
        raw.encode(str(golden["text"])).ids == golden["hf_ids"][: golden["hf_ids"].index(END) + 1]
    )
    assert raw.encode(curly).ids != raw.encode("it's").ids


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"version": "9"}'])
def test_a_damaged_tokenizer_is_a_model_error(
    spec: TextSpec, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="tokenizer cannot be read") as caught:
        TextTokenizer(path, spec).encode("a dog")
    assert caught.value.path == str(path)
    path.unlink()
    with pytest.raises(ModelError):
        TextTokenizer(path, spec).encode("a dog")
