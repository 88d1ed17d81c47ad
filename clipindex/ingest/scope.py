"""Which files a run takes: its roots and named files, the part of them, and their tags."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath
from clipindex.errors import DiskNotMounted, UsageError
from clipindex.files.access import check_stores, exists, is_file, is_folder
from clipindex.files.addresses import name_host
from clipindex.files.identity import display_path, folders_of, resolve_root
from clipindex.files.walk import Root, WalkPolicy
from clipindex.stores.payload import check_key

# Files that are named one by one; a mapping gives each its own tags.
Files = Sequence[AnyPath | bytes] | Mapping[AnyPath | bytes, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `of`: the files whose path hashes to it (CRC-32), on every machine alike.

    Raises UsageError when there is no such part.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(
                f"there is no part {self.number} of {self.of}", hint="the first part is 1"
            )

    def holds(self, path: bytes) -> bool:
        """Whether a file belongs to this part."""
        return self.of == 1 or zlib.crc32(path) % self.of == self.number - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which files a run takes."""

    roots: tuple[Root, ...]
    files: frozenset[bytes] = frozenset()  # named one by one, beside the roots
    part: Part = Part()
    tags: tuple[tuple[str, str], ...] = ()  # of the named files
    own_tags: Mapping[bytes, Mapping[str, str]] = field(default_factory=dict)  # of single files
    excluded_folder: bytes | None = None  # the store's own folder
    globs: frozenset[str] = frozenset()  # typed for this run, to be told when they match nothing
    policy_given: bool = True  # else a remembered root keeps the policy it is remembered with
    tags_given: bool = True  # else it keeps the tags
    remember: bool = False  # what is given, in place of what is remembered
    retag: bool = True  # put the tags on unchanged files too, replacing the tags they have
    _tagged: dict[bytes, list[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tagged: dict[bytes, list[int]] = {}
        for number, root in enumerate(self.roots):
            if root.tags:
                tagged.setdefault(root.path, []).append(number)
        object.__setattr__(self, "_tagged", tagged)

    def tags_for(self, path: bytes) -> dict[str, str]:
        """The tags of a file: those of every root above it, a later root's before an earlier's."""
        tags = dict(self.tags) if path in self.files else {}
        if self._tagged:
            above = (self._tagged.get(folder, ()) for folder in (path, *folders_of(path)))
            for number in sorted(chain.from_iterable(above)):
                tags.update(self.roots[number].tags)
        tags.update(self.own_tags.get(path, {}))
        return tags

    def keys(self) -> set[str]:
        """Every tag that the run sets."""
        several = (self.tags, *(root.tags for root in self.roots))
        named = {key for tags in several for key, _ in tags}
        return named.union(*self.own_tags.values())


def scope_of(
    paths: AnyPath | Sequence[AnyPath],
    files: Files | None,
    policy: WalkPolicy | None,
    part: Part,
    tags: Mapping[str, str] | None,
    place: Place,
    *,
    remember: bool = False,
) -> Scope:
    """The scope of folders and files that a user names. `policy` and `tags` are None where they
    are not given; a mapping of `files` gives each its own tags.

    Raises UsageError when nothing is named; an empty list of files is not nothing: a script may
    have found none.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if not paths and files is None:
        raise UsageError("nothing to ingest is named", hint="name a folder, or files")
    own = {resolve_root(path): dict(its) for path, its in _own_tags(files)}
    for key in {*(tags or ())}.union(*own.values()):
        check_key(key)
    pairs = tuple(sorted((tags or {}).items()))
    roots, named = tuple(map(resolve_root, paths)), frozenset(map(resolve_root, files or ()))
    for path in (*roots, *named):
        name_host(path)
    walking = policy or WalkPolicy()
    return Scope(
        roots=tuple(Root(path, walking, pairs) for path in roots),
        files=named,
        part=part,
        tags=pairs,
        own_tags=own,
        excluded_folder=excluded_path(place),
        globs=frozenset((*walking.exclude, *walking.include)),
        policy_given=policy is not None,
        tags_given=tags is not None or bool(own),
        remember=remember,
    )


def _own_tags(files: Files | None) -> Iterable[tuple[AnyPath | bytes, Mapping[str, str]]]:
    return files.items() if isinstance(files, Mapping) else ()


def excluded_path(place: Place) -> bytes:
    """The store's own folder as the walk names it: it is never walked."""
    return resolve_root(place.excluded_folder)


def check_roots(
    roots: Sequence[bytes],
    folders_remembered: Callable[[], Mapping[bytes, int]],
    files: Collection[bytes] = (),
) -> None:
    """Raises for the first root that does not exist: DiskNotMounted when pictures below it are
    remembered, else UsageError. `folders_remembered` is called only when one is missing.

    Raises UsageError when neither a root nor one of the named `files` can be reached, for want of
    a library or of credentials."""
    check_stores((*roots, *files))
    for root in roots:
        if is_folder(root) or is_file(root):
            continue
        refuse_empty({root}, folders_remembered())
        what = "a pipe, a device, a socket or a broken link, and neither a file nor a folder"
        raise UsageError(
            f"this is {what}" if exists(root) else "no such file or folder",
            path=display_path(root),
            hint="check the spelling; `clipindex forget` drops a remembered folder",
        )


def refuse_empty(roots: Collection[bytes], folders_remembered: Mapping[bytes, int]) -> None:
    """Raises DiskNotMounted for the first of these empty or missing roots below which pictures
    are remembered. `folders_remembered`: folder -> how many indexed files it held."""
    counts: Counter[bytes] = Counter()
    for folder, count in folders_remembered.items() if roots else ():
        for path in (folder, *folders_of(folder)):
            if path in roots:
                counts[path] += count
    for root in sorted(roots):
        if count := counts[root]:
            raise DiskNotMounted(
                f"nothing is there, but the collection remembers {count} pictures below it",
                path=display_path(root),
                hint="is the disk mounted? Nothing was changed. If the folder was renamed: "
                "`clipindex relocate OLD NEW`; if it is gone for good: `clipindex forget FOLDER`",
            )


def memory_of(root: Root) -> dict[str, object]:
    """The options of a root as the catalogue keeps them, for `reindex`."""
    return {"policy": asdict(root.policy), "tags": dict(root.tags)}


def root_from_memory(path: bytes, memory: Mapping[str, Any]) -> Root:
    """The inverse of `memory_of`. A person named it when it was ingested."""
    name_host(path)
    policy = memory["policy"]
    globs = {name: tuple(policy[name]) for name in ("exclude", "include")}
    return Root(path, WalkPolicy(**{**policy, **globs}), tuple(sorted(memory["tags"].items())))
