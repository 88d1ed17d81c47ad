"""The part of an index that keeps a collection in order: tags, paths, what vanished, quarantine,
verification."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from clipindex.collection.places import AnyPath
from clipindex.collection.questions import StandingQuestion
from clipindex.index.held import Held
from clipindex.ingest import prune as pruning
from clipindex.ingest.cores import usable_cores
from clipindex.ingest.options import PruneOptions
from clipindex.ingest.prunable import PrunePlan
from clipindex.ingest.prune import PruneReport
from clipindex.ingest.scope import Part
from clipindex.search import tag_list
from clipindex.search.classifying import Label
from clipindex.search.tag_list import KeyValue
from clipindex.search.terms import Term
from clipindex.upkeep import classify as classifying
from clipindex.upkeep import compact as compacting
from clipindex.upkeep import metadata as joining
from clipindex.upkeep import quarantine as refused
from clipindex.upkeep import relocate as relocating
from clipindex.upkeep import roots, tag_table, tagging, transfer
from clipindex.upkeep import selection as selecting
from clipindex.upkeep.classify import ClassifyOptions
from clipindex.upkeep.compact import Compaction
from clipindex.upkeep.duplicates import run as duplicating
from clipindex.upkeep.duplicates import verdicts
from clipindex.upkeep.duplicates.findings import (
    DuplicateGroup,
    DuplicatesEvent,
    DuplicatesOptions,
)
from clipindex.upkeep.duplicates.verdicts import Verdict
from clipindex.upkeep.metadata import MetadataReport
from clipindex.upkeep.quarantine import Quarantined
from clipindex.upkeep.roots import Below
from clipindex.upkeep.selection import EVERYTHING, Selection, SelectOptions
from clipindex.upkeep.standing import editing as questions
from clipindex.upkeep.standing.asking import StandingEvent
from clipindex.upkeep.standing.editing import QuestionOptions, StandingFound
from clipindex.upkeep.tag_table import TagReport
from clipindex.upkeep.transfer import Progress
from clipindex.upkeep.verify import run as verifying
from clipindex.upkeep.verify.findings import Verification, VerifyEvent, VerifyOptions


class Upkeep(Held):
    """What changes or checks a collection without embedding new pictures."""

    def select(
        self, paths: Sequence[AnyPath] = (), options: SelectOptions = EVERYTHING
    ) -> Selection:
        """Choose indexed pictures by paths and patterns, by a query, by a filter: to look at, and
        to tag. Raises UsageError where nothing is named, and for a path that names nothing."""
        model = self._settings.model
        return selecting.select(self.place, paths, options, model=model, load=self._loaded)

    def tag(self, tags: Mapping[str, str], pictures: Sequence[AnyPath] | Selection) -> int:
        """Put tags on every indexed picture at or below paths, or on those of a selection; returns
        how many lacked them.

        Raises UsageError for a key that no tag can have, and for a path at or below which nothing
        is indexed.
        """
        return tagging.tag(self.place, tags, pictures)

    def untag(self, keys: Sequence[str], pictures: Sequence[AnyPath] | Selection) -> int:
        """Take tags off every indexed picture at or below paths, or off those of a selection;
        returns how many had them. Raises as `tag` does, and for a key that none of them has."""
        return tagging.untag(self.place, keys, pictures)

    def tag_from(self, file: Path, *, remove: bool = False, dry_run: bool = False) -> TagReport:
        """Put the tags of a CSV or JSONL file on the pictures that its rows name, or with `remove`
        take them off; with `dry_run` only count. Raises UsageError for a file that is no table."""
        return tag_table.tag_from(self.place, file, remove=remove, dry_run=dry_run)

    def tags(self, keys: Sequence[str] = ()) -> list[KeyValue]:
        """The tags and metadata of the pictures, with how many have each value; `keys`: only of
        these. Raises UsageError for a key that no picture has."""
        return tag_list.tags_in(self.place, keys)

    def metadata(
        self, file: Path, *, key: str | None = None, texts: Sequence[str] = ()
    ) -> MetadataReport:
        """Join the columns of a CSV or JSONL file to the pictures that its rows name, and remember
        it for later runs. Raises UsageError for a file that is no such table."""
        return joining.join(self.place, file, key=key, texts=texts)

    def forget_metadata(self, file: Path) -> int:
        """Forget a file of metadata and take what it brought off the pictures; returns off how
        many. Raises UsageError for a file that is not remembered."""
        return joining.forget(self.place, file)

    def relocate(self, old: AnyPath, new: AnyPath) -> int:
        """Rewrite the paths of everything below `old` to lie below `new`; returns how many.

        Raises UsageError when `new` is not a folder, or nothing is remembered below `old`.
        """
        return relocating.relocate(self.place, old, new)

    def forget(self, path: AnyPath) -> None:
        """Forget a root: `reindex` no longer looks there; its points stay.

        Raises UsageError when it is not remembered.
        """
        roots.forget(self.place, path)

    def forget_and_prune(self, path: AnyPath) -> int:
        """Remove every file at or below a path from the index, whether it exists or not, and
        forget the roots there; returns how many. Raises UsageError when nothing is remembered
        there, and on a server without a `source`."""
        return roots.forget_and_prune(self.place, path)

    def remembered_below(self, path: AnyPath) -> Below:
        """What `forget_and_prune` would remove. Raises UsageError for nothing."""
        return roots.remembered_below(self.place, path)

    def prune(
        self,
        paths: Sequence[AnyPath] = (),
        options: PruneOptions = PruneOptions(),
        *,
        part: Part = Part(),
        agree: pruning.Agree | None = None,
    ) -> PruneReport:
        """Remove the points and rows of files that are proved to be gone, at or below `paths`;
        none named: below every remembered root. `agree` is called with the plan and answers
        whether to go on; None: go on.

        Raises Refused when a disk is away or too many pictures would go, UsageError when nothing
        there was ever ingested, and on a server without a `source`.
        """
        return pruning.prune(self.place, paths, options, part, agree)

    def foresee_prune(
        self,
        paths: Sequence[AnyPath] = (),
        options: PruneOptions = PruneOptions(),
        *,
        part: Part = Part(),
    ) -> PrunePlan:
        """What `prune` would remove; nothing is locked or written. A refusal is in the plan."""
        return pruning.foresee(self.place, paths, options, part)

    def quarantine(self, paths: Sequence[AnyPath] = ()) -> list[Quarantined]:
        """Pictures that were refused, at or below `paths`; none named: all. Nothing is locked."""
        return refused.listed(self.place, paths)

    def retry_quarantine(self, paths: Sequence[AnyPath] = ()) -> int:
        """Have the next run read pictures in quarantine once more; returns how many."""
        return refused.retry(self.place, paths)

    def clear_quarantine(self, paths: Sequence[AnyPath] = ()) -> int:
        """Forget that pictures were refused; the next run reads what exists as new files."""
        return refused.clear(self.place, paths)

    def accept_quarantine(self, paths: Sequence[AnyPath] = ()) -> int:
        """Accept that pictures are refused: until their files change they are counted, but
        neither reported nor a reason for exit code 3; returns how many."""
        return refused.accept(self.place, paths)

    def duplicates(
        self, paths: Sequence[AnyPath] = (), options: DuplicatesOptions = DuplicatesOptions()
    ) -> list[DuplicateGroup]:
        """Groups of files that show the same picture, the best first: copies, and what was
        resized, re-encoded or cropped a little. `paths`: only files at or below these."""
        events = self.duplicates_events(paths, options)
        return [event for event in events if isinstance(event, DuplicateGroup)]

    def duplicates_events(
        self, paths: Sequence[AnyPath] = (), options: DuplicatesOptions = DuplicatesOptions()
    ) -> Generator[DuplicatesEvent, None, None]:
        """`duplicates`, step by step: the work is done while the events are read. What could not
        be read is a `NotCompared`; the last event has the counts."""
        return duplicating.duplicates(self.place, paths, options, cores=usable_cores())

    def mark_different(self, paths: Sequence[AnyPath]) -> int:
        """Each two of these indexed pictures are different, and never again in one group of
        duplicates; returns how many pairs were not marked before."""
        return verdicts.mark_different(self.place, paths)

    def mark_keep(self, paths: Sequence[AnyPath]) -> int:
        """These indexed pictures are to be kept: they come first in their groups."""
        return verdicts.mark_keep(self.place, paths)

    def forget_verdicts(self, paths: Sequence[AnyPath] = ()) -> int:
        """Forget both kinds of verdict about pictures, or every one; returns how many."""
        return verdicts.forget_verdicts(self.place, paths)

    def verdicts(self) -> list[Verdict]:
        """Every verdict about duplicates."""
        return verdicts.verdicts_of(self.place)

    def verify(self, options: VerifyOptions = VerifyOptions()) -> Verification:
        """Read every point back and check it: vector, payload, id, the catalogue's row; with
        `options.files` also the files' bytes, with `options.embed` their embeddings.

        What is wrong is counted in the result, and listed by `verify_events`.
        """
        return verifying.verify_all(self.verify_events(options))[0]

    def verify_events(
        self, options: VerifyOptions = VerifyOptions()
    ) -> Generator[VerifyEvent, None, None]:
        """`verify`, step by step: the work is done while the events are read. A `Finding` is a
        point, row or file that is not as it should be; the last event has the result. Closed
        early, the next call with the same options goes on."""
        model, cores = self._settings.model, usable_cores()
        return verifying.verify(self.place, options, self._loaded, model=model, cores=cores)

    def compact(
        self, progress: Progress | None = None, *, only_if_worthwhile: bool = False
    ) -> Compaction | None:
        """Free the space that edits, renames and deletions left behind in an embedded store.
        `only_if_worthwhile`: where more than half would be freed (else None); it then stops, with
        CollectionBusy, for any process that wants to write.

        Raises UsageError on a server, DiskFull, VerificationFailed for a point that cannot be
        copied; the collection is then as it was.
        """
        progress = progress or transfer.no_progress
        return compacting.compact(self.place, progress, yielding=only_if_worthwhile)

    def add_standing(
        self, name: str, terms: Sequence[Term], options: QuestionOptions = QuestionOptions()
    ) -> StandingQuestion:
        """Ask this of every picture that later runs index. Raises UsageError for a name that is
        taken, and where nothing says which pictures are hits."""
        return questions.add(self.place, name, terms, options, self._loaded)

    def remove_standing(self, name: str) -> None:
        """Forget a standing question and what it found; its tags stay. Raises UsageError for an
        unknown one."""
        questions.remove(self.place, name)

    def standing(self, name: str | None = None) -> list[StandingQuestion]:
        """The standing questions of the collection, or the one of this name. Raises UsageError
        for an unknown one."""
        return questions.questions_of(self.place, name)

    def standing_hits(self, name: str, since: str | None = None) -> list[StandingFound]:
        """What a standing question found, as far as it is still indexed; `since`: from this time
        on (ISO 8601). Raises UsageError for an unknown one."""
        return questions.found_by(self.place, name, since)

    def run_standing(self, names: Sequence[str] = ()) -> Generator[StandingEvent, None, None]:
        """Ask standing questions (without names all) of every picture, step by step: the work is
        done while the events are read. Raises UsageError for an unknown one."""
        return questions.run(self.place, names, self._loaded)

    def classify(
        self,
        labels: Sequence[Label],
        files: Sequence[Path] = (),
        options: ClassifyOptions = ClassifyOptions(),
    ) -> classifying.Results:
        """The label of each picture of the collection, or of `files`, indexed or not. With a
        `tag` in the options labels are written as the results are read."""
        model = self._settings.model
        return classifying.classify(
            self.place, labels, files, options, model=model, load=self._loaded
        )
