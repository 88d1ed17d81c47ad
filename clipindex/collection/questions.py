"""Standing questions: what is asked of every new picture, and what they found.

A hit belongs to a content, by its SHA-256: a question tags it once, whatever becomes of the tag,
the path or the model. Pictures that wait to be asked are noted in the transaction that writes their
rows, so that an interrupted run loses none.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clipindex.collection.schema import Database, transaction
from clipindex.stores.points import Vector

if TYPE_CHECKING:
    import sqlite3

FROM_THE_FIRST = ""  # `since` of a question that was asked of all pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingQuestion:
    """What is asked, and what makes a picture a hit: all that is given must hold; with neither
    `min_z` nor `min_score`, that it fits. `vectors` are those of the query and of what is
    subtracted from it to judge a hit, as `model` made them."""

    name: str
    terms: tuple[tuple[str, str, float], ...]  # value, kind (text or image), weight
    tag: tuple[str, str] | None = None
    min_z: float | None = None
    min_score: float | None = None
    under: tuple[str, ...] = ()
    filters: Mapping[str, Any] = field(default_factory=dict)  # of a PictureFilter, as JSON
    added: str = ""  # ISO 8601, UTC
    since: str = FROM_THE_FIRST  # pictures indexed from then on are asked
    model: str = ""
    is_text: bool = False  # whether there is nothing in it but texts that are added
    vectors: tuple[str, str] = ("", "")  # little-endian float32, Base64

    def with_vectors(self, query: Vector, neutral: Vector, model: str) -> StandingQuestion:
        """The question as a model embeds it."""
        texts = (base64.b64encode(v.astype("<f4").tobytes()).decode() for v in (query, neutral))
        one, other = texts
        return replace(self, vectors=(one, other), model=model)

    @property
    def query(self) -> Vector:
        """What is compared with a picture for its score."""
        return _vector(self.vectors[0])

    @property
    def neutral(self) -> Vector:
        """What is subtracted from it for z."""
        return _vector(self.vectors[1])

    def to_json(self) -> dict[str, Any]:
        """All of it but the name."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        del values["name"]
        return values

    @classmethod
    def from_json(cls, name: str, about: Mapping[str, Any]) -> StandingQuestion:
        """The inverse of `to_json`."""
        terms = tuple(
            (str(value), str(kind), float(weight)) for value, kind, weight in about["terms"]
        )
        tag = about["tag"]
        return cls(
            **{
                **about,
                "name": name,
                "terms": terms,
                "tag": None if tag is None else (str(tag[0]), str(tag[1])),
                "under": tuple(about["under"]),
                "vectors": tuple(about["vectors"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundContent:
    """A content that a question found."""

    sha256: bytes
    score: float
    z: float | None
    found: str  # ISO 8601, UTC


Standing = Sequence[tuple[StandingQuestion, Sequence[FoundContent]]]


def standing_to_json(standing: Standing) -> dict[str, Any]:
    """Questions with what they found, by name."""
    return {
        question.name: {
            "about": question.to_json(),
            "found": [[each.sha256.hex(), each.score, each.z, each.found] for each in contents],
        }
        for question, contents in standing
    }


def standing_from_json(raw: Mapping[str, Any]) -> Standing:
    """The inverse. Raises what wrong values raise: ValueError, TypeError, KeyError."""
    questions = {name: StandingQuestion.from_json(name, raw[name]["about"]) for name in raw}
    for question in questions.values():
        if question.query.shape != question.neutral.shape:
            raise ValueError("it contains vectors of different lengths")
    return tuple(
        (
            questions[name],
            tuple(
                FoundContent(
                    sha256=bytes.fromhex(sha256),
                    score=float(score),
                    z=None if z is None else float(z),
                    found=str(found),
                )
                for sha256, score, z, found in entry["found"]
            ),
        )
        for name, entry in raw.items()
    )


class QuestionTables(Database):
    """The standing questions of one catalogue."""

    def questions(self) -> list[StandingQuestion]:
        """In the order in which they were added."""
        with self._held() as database:
            rows = database.execute("SELECT name, about FROM questions ORDER BY rowid").fetchall()
        return [StandingQuestion.from_json(name, json.loads(about)) for name, about in rows]

    def save_question(self, question: StandingQuestion) -> None:
        """Add a question, or change one."""
        with self._held() as database:
            database.execute(
                "INSERT INTO questions (name, about) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET about = excluded.about",
                (question.name, json.dumps(question.to_json())),
            )

    def standing(self) -> Standing:
        """All questions with what they found."""
        return tuple((question, self.found_by(question.name)) for question in self.questions())

    def add_standing(self, standing: Standing) -> None:
        """Add questions that are not there yet, and what is known to have been found."""
        known = {question.name for question in self.questions()}
        for question, contents in standing:
            if question.name not in known:
                self.save_question(question)
            self.add_found(question.name, contents)

    def remove_question(self, name: str) -> None:
        """Forget a question and what it found."""
        with self._held() as database, transaction(database):
            database.execute("DELETE FROM questions WHERE name = ?", (name,))
            database.execute("DELETE FROM answers WHERE name = ?", (name,))

    def found_by(self, name: str) -> list[FoundContent]:
        """What a question found, in the order in which it did."""
        with self._held() as database:
            rows = database.execute(
                "SELECT sha256, score, z, found FROM answers WHERE name = ? ORDER BY found, sha256",
                (name,),
            ).fetchall()
        return [
            FoundContent(sha256=sha256, score=score, z=z, found=found)
            for sha256, score, z, found in rows
        ]

    def add_found(self, name: str, contents: Iterable[FoundContent]) -> None:
        """Remember what a question found; what it had found before stays as it was."""
        rows = [(name, each.sha256, each.score, each.z, each.found) for each in contents]
        with self._held() as database, transaction(database):
            database.executemany("INSERT OR IGNORE INTO answers VALUES (?,?,?,?,?)", rows)

    def waiting(self) -> list[bytes]:
        """Paths of pictures that are still to be asked."""
        with self._held() as database:
            return [path for (path,) in database.execute("SELECT path FROM unasked").fetchall()]

    def _let_wait(self, database: sqlite3.Connection, paths: Iterable[bytes]) -> None:
        """Note new pictures that are to be asked, in the transaction that writes their rows."""
        database.executemany(
            "INSERT OR IGNORE INTO unasked SELECT ? WHERE EXISTS (SELECT 1 FROM questions)",
            zip(paths),
        )

    def asked(self, paths: Sequence[bytes]) -> None:
        """These wait no longer."""
        with self._held() as database, transaction(database):
            database.executemany("DELETE FROM unasked WHERE path = ?", zip(paths))


def _vector(text: str) -> Vector:
    vector: Vector = np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)
    return vector
