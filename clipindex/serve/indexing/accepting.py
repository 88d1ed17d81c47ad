"""What becomes of a picture that is sent or named: a job, or one that is indexed already."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, ItemsView, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from clipindex.errors import CollectionBusy, FileFault, StoreError
from clipindex.files.identity import point_id
from clipindex.index import Index
from clipindex.pictures.content import read_content
from clipindex.pictures.size import refuse_larger
from clipindex.search.indexed import IndexedPicture
from clipindex.search.scoped import Scope
from clipindex.serve.access import Access
from clipindex.serve.indexing.inbox import Inbox, now
from clipindex.serve.indexing.jobs import Job, State
from clipindex.serve.indexing.named import Named, named_file
from clipindex.serve.indexing.parts import part_of, tags_within
from clipindex.serve.problems import RETRY, Problem
from clipindex.stores.payload import mtime_of, tags_of

T = TypeVar("T")
ID = "upload"  # the tag that holds the id which a picture was sent with


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A picture that is to be indexed: its bytes, or the path of its file. `name`: the id that its
    sender gives it; `replaces`: it may take the place of another one with this id."""

    data: bytes | None = None
    path: str | None = None
    name: str | None = None
    tags: Mapping[str, str]
    replaces: bool = False


class Accepting:
    """Takes pictures in. Any thread may call."""

    def __init__(self, index: Index, inbox: Inbox, pixels: int, guarded: frozenset[str]) -> None:
        """`pixels`: of the largest picture; `guarded`: keys by which tokens are told apart."""
        self._index = index
        self._inbox = inbox
        self._pixels = pixels
        self._guarded = guarded

    def accept(self, wish: Wish, access: Access) -> Job | IndexedPicture:
        """A job that is on the disk, or the picture that there is already. Raises Problem,
        FileFault for what is no picture, OverBudget, DiskFull, StoreError."""
        if self._inbox.is_full:
            raise Problem(503, "too many pictures wait to be indexed", "try again", RETRY)
        if wish.data is None:
            return self._accept_file(wish, access)
        refuse_larger(wish.data, self._pixels)
        return self._accept_picture(wish, wish.data, access)

    # --- a picture that is sent -----------------------------------------------------------------

    def _accept_picture(self, wish: Wish, data: bytes, access: Access) -> Job | IndexedPicture:
        sha256 = hashlib.sha256(data)
        part = part_of(access.scope)
        name = wish.name or sha256.hexdigest()
        job = Job(
            id="",
            created=now(),
            path=self._inbox.place_of(part, name),
            part=part,
            name=name,
            tags=self._checked(tags_within(access, {**wish.tags, ID: name}, self._guarded)),
            sha256=sha256.hexdigest(),
        )
        spooled = ""
        try:
            while True:
                latest = self._inbox.latest_at(job.path)
                known = self._known(job, latest, access, replaces=wish.replaces)
                if known is not None:
                    return known
                spooled = spooled or self._inbox.spool(data)
                added = self._inbox.add(replace(job, id=spooled), latest)
                if added is not None:
                    spooled = ""
                    return added
        finally:
            if spooled:
                self._inbox.discard(spooled)

    def _known(
        self, job: Job, latest: Job | None, access: Access, *, replaces: bool
    ) -> Job | IndexedPicture | None:
        """The picture that has these bytes, if it is indexed or waits to be. Raises Problem 409
        for an id that another picture has."""
        is_same, is_free = self._at_place(job, latest)
        if latest is not None and not latest.has_ended:
            if is_same and latest.tags == job.tags:
                return latest
        elif is_same and not replaces:
            own = self._indexed(self._index.picture, self._point_of(job.path), access.scope)
            if own is not None:
                return own
        if not (is_same or is_free or replaces):
            raise Problem(
                409, "another picture has this id", "send replace=true to put this one in its place"
            )
        if is_free and not replaces:
            sha256 = bytes.fromhex(job.sha256 or "")
            return self._indexed(self._index.picture_with, sha256, access.scope)
        return None

    def _indexed(
        self, look: Callable[[T, Scope], IndexedPicture | None], key: T, scope: Scope
    ) -> IndexedPicture | None:
        """A picture of the index; None also where that cannot be read now: the ingest, whose turn
        comes later, embeds nothing twice."""
        try:
            return look(key, scope)
        except (CollectionBusy, StoreError):
            return None

    def _at_place(self, job: Job, latest: Job | None) -> tuple[bool, bool]:
        """Whether the picture with this id has the same bytes; whether there is none, or one that
        cannot be read."""
        if latest is not None and not latest.has_ended:
            return latest.sha256 == job.sha256, False
        if latest is not None and latest.state is not State.DONE:
            return False, True
        if self._inbox.is_folder(job.path):
            raise Problem(409, "a folder has this name", "give the picture another id")
        try:
            content = read_content(os.fsencode(job.path))
        except FileFault as fault:
            if fault.transient and not fault.skipped:
                raise Problem(
                    503, f"the picture with this id {fault.reason}", headers=RETRY
                ) from None
            return False, True
        return content.sha256.hex() == job.sha256, False

    # --- a file that is named -------------------------------------------------------------------

    def _accept_file(self, wish: Wish, access: Access) -> Job | IndexedPicture:
        """A token that sees a part cannot name files: it would get to see whatever they show."""
        if access.scope:
            raise Problem(
                403, "this token may send pictures, but name no files", "send it as image"
            )
        named = named_file(self._index.place, wish.path or "")
        tags = self._checked({**named.tags, **wish.tags})
        path = os.fsdecode(named.record.path)
        while True:
            latest = self._inbox.latest_at(path)
            if latest is not None and not latest.has_ended and latest.tags == tags:
                return latest
            own = self._indexed(self._index.picture, self._point_of(path), ())
            if own is not None and _is_as_it_was(own, named) and tags.items() <= _tags(own):
                return own
            job = Job(id=str(uuid.uuid4()), created=now(), path=path, tags=tags)
            added = self._inbox.add(job, latest)
            if added is not None:
                return added

    def _point_of(self, path: str) -> uuid.UUID:
        return point_id(self._index.place.source, os.fsencode(path))

    def _checked(self, tags: dict[str, str]) -> dict[str, str]:
        """Raises Problem 409 for a tag that would hide metadata of its name from the conditions of
        tokens: they would see none of their pictures."""
        if guarded := tags.keys() & self._guarded:
            for key in sorted(guarded & self._index.metadata_keys()):
                raise Problem(
                    409,
                    f"'{key}' is metadata, by which tokens are told apart, and cannot be a tag too",
                    "tag all pictures with it: clipindex tag",
                )
        return tags


def _is_as_it_was(picture: IndexedPicture, named: Named) -> bool:
    record, payload = named.record, picture.payload
    return (payload.get("bytes"), mtime_of(payload)) == (record.size, record.mtime_ns)


def _tags(picture: IndexedPicture) -> ItemsView[str, str]:
    return tags_of(picture.payload).items()
