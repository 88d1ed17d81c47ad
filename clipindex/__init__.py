"""clipindex turns folders of photographs into a searchable index.

The way of a picture: walk -> FileRecord -> plan -> content (one read, one hash) -> pixels
-> embedding -> point -> upsert, flush, read back -> reported. `Index` does all of it:

    hits = clipindex.Index("./index").query("a dog on a beach")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from clipindex._version import __version__ as __version__

if TYPE_CHECKING:  # for type checkers; the table below is what runs (a test holds them equal)
    from clipindex.collection.questions import StandingQuestion as StandingQuestion
    from clipindex.collection.root_options import RootOptions as RootOptions
    from clipindex.collection.status import CollectionStatus as CollectionStatus
    from clipindex.errors import ClipIndexError as ClipIndexError
    from clipindex.errors import ClipIndexWarning as ClipIndexWarning
    from clipindex.errors import CollectionBusy as CollectionBusy
    from clipindex.errors import ContractMismatch as ContractMismatch
    from clipindex.errors import DiskFull as DiskFull
    from clipindex.errors import DiskNotMounted as DiskNotMounted
    from clipindex.errors import ExitCode as ExitCode
    from clipindex.errors import ModelError as ModelError
    from clipindex.errors import ProviderUnavailable as ProviderUnavailable
    from clipindex.errors import Refused as Refused
    from clipindex.errors import StoreError as StoreError
    from clipindex.errors import Switched as Switched
    from clipindex.errors import UsageError as UsageError
    from clipindex.errors import VerificationFailed as VerificationFailed
    from clipindex.files.walk import WalkPolicy as WalkPolicy
    from clipindex.index import Index as Index
    from clipindex.ingest.dry_run import DryRun as DryRun
    from clipindex.ingest.events import ActorLost as ActorLost
    from clipindex.ingest.events import EmbeddingOn as EmbeddingOn
    from clipindex.ingest.events import Event as Event
    from clipindex.ingest.events import FileDone as FileDone
    from clipindex.ingest.events import FileVanished as FileVanished
    from clipindex.ingest.events import FolderFault as FolderFault
    from clipindex.ingest.events import NodesSeen as NodesSeen
    from clipindex.ingest.events import NodeState as NodeState
    from clipindex.ingest.events import OldCollectionFed as OldCollectionFed
    from clipindex.ingest.events import PointsMissing as PointsMissing
    from clipindex.ingest.events import RootOptionsUsed as RootOptionsUsed
    from clipindex.ingest.events import RootRenamed as RootRenamed
    from clipindex.ingest.events import RunFinished as RunFinished
    from clipindex.ingest.events import RunPlanned as RunPlanned
    from clipindex.ingest.events import RunStarted as RunStarted
    from clipindex.ingest.events import Scanning as Scanning
    from clipindex.ingest.events import SlowFile as SlowFile
    from clipindex.ingest.events import Status as Status
    from clipindex.ingest.events import Summary as Summary
    from clipindex.ingest.events import Undescribed as Undescribed
    from clipindex.ingest.events import Untouched as Untouched
    from clipindex.ingest.options import IngestOptions as IngestOptions
    from clipindex.ingest.options import PruneOptions as PruneOptions
    from clipindex.ingest.options import RayOptions as RayOptions
    from clipindex.ingest.options import Redecode as Redecode
    from clipindex.ingest.prunable import Kept as Kept
    from clipindex.ingest.prunable import Prunable as Prunable
    from clipindex.ingest.prunable import PrunePlan as PrunePlan
    from clipindex.ingest.prune import PruneReport as PruneReport
    from clipindex.ingest.scope import Part as Part
    from clipindex.model.providers import Provider as Provider
    from clipindex.pictures.preprocessing import Preprocessing as Preprocessing
    from clipindex.search.classifying import Label as Label
    from clipindex.search.filters import Condition as Condition
    from clipindex.search.filters import PictureFilter as PictureFilter
    from clipindex.search.hits import Hit as Hit
    from clipindex.search.order import Sort as Sort
    from clipindex.search.query import QueryOptions as QueryOptions
    from clipindex.search.tag_list import KeyValue as KeyValue
    from clipindex.search.terms import Term as Term
    from clipindex.search.terms import TermKind as TermKind
    from clipindex.stores.address import Server as Server
    from clipindex.stores.search_method import Accuracy as Accuracy
    from clipindex.stores.verified import BatchVerified as BatchVerified
    from clipindex.upkeep.backup import Backup as Backup
    from clipindex.upkeep.classify import Classified as Classified
    from clipindex.upkeep.classify import ClassifyOptions as ClassifyOptions
    from clipindex.upkeep.classify import Unclassified as Unclassified
    from clipindex.upkeep.compact import Compaction as Compaction
    from clipindex.upkeep.doctor.checks import Check as Check
    from clipindex.upkeep.duplicates.findings import DuplicateFile as DuplicateFile
    from clipindex.upkeep.duplicates.findings import DuplicateGroup as DuplicateGroup
    from clipindex.upkeep.duplicates.findings import DuplicatesFinished as DuplicatesFinished
    from clipindex.upkeep.duplicates.findings import DuplicatesOptions as DuplicatesOptions
    from clipindex.upkeep.duplicates.findings import DuplicatesProgress as DuplicatesProgress
    from clipindex.upkeep.duplicates.findings import DuplicatesSummary as DuplicatesSummary
    from clipindex.upkeep.duplicates.findings import NotCompared as NotCompared
    from clipindex.upkeep.duplicates.findings import Role as Role
    from clipindex.upkeep.duplicates.findings import Step as Step
    from clipindex.upkeep.duplicates.findings import Unread as Unread
    from clipindex.upkeep.duplicates.verdicts import Verdict as Verdict
    from clipindex.upkeep.metadata import MetadataReport as MetadataReport
    from clipindex.upkeep.quarantine import Quarantined as Quarantined
    from clipindex.upkeep.restore import Restored as Restored
    from clipindex.upkeep.selection import Selected as Selected
    from clipindex.upkeep.selection import Selection as Selection
    from clipindex.upkeep.selection import SelectOptions as SelectOptions
    from clipindex.upkeep.standing.asking import QuestionUnasked as QuestionUnasked
    from clipindex.upkeep.standing.asking import StandingHit as StandingHit
    from clipindex.upkeep.standing.editing import QuestionOptions as QuestionOptions
    from clipindex.upkeep.standing.editing import StandingFound as StandingFound
    from clipindex.upkeep.tag_table import TagReport as TagReport
    from clipindex.upkeep.verify.findings import Finding as Finding
    from clipindex.upkeep.verify.findings import Sample as Sample
    from clipindex.upkeep.verify.findings import Verification as Verification
    from clipindex.upkeep.verify.findings import VerifyOptions as VerifyOptions

_EXPORTS = {  # module -> its public names
    "collection.questions": "StandingQuestion",
    "collection.root_options": "RootOptions",
    "collection.status": "CollectionStatus",
    "errors": (
        "ClipIndexError ClipIndexWarning CollectionBusy ContractMismatch DiskFull "
        "DiskNotMounted ExitCode ModelError ProviderUnavailable Refused StoreError "
        "Switched UsageError VerificationFailed"
    ),
    "files.walk": "WalkPolicy",
    "index": "Index",
    "ingest.dry_run": "DryRun",
    "ingest.events": (
        "ActorLost EmbeddingOn Event FileDone FileVanished FolderFault NodesSeen NodeState "
        "OldCollectionFed PointsMissing RootOptionsUsed RootRenamed RunFinished RunPlanned "
        "RunStarted Scanning SlowFile Status Summary Undescribed Untouched"
    ),
    "ingest.options": "IngestOptions PruneOptions RayOptions Redecode",
    "ingest.prunable": "Kept Prunable PrunePlan",
    "ingest.prune": "PruneReport",
    "ingest.scope": "Part",
    "model.providers": "Provider",
    "pictures.preprocessing": "Preprocessing",
    "search.classifying": "Label",
    "search.filters": "Condition PictureFilter",
    "search.hits": "Hit",
    "search.order": "Sort",
    "search.query": "QueryOptions",
    "search.tag_list": "KeyValue",
    "search.terms": "Term TermKind",
    "stores.address": "Server",
    "stores.search_method": "Accuracy",
    "stores.verified": "BatchVerified",
    "upkeep.backup": "Backup",
    "upkeep.classify": "Classified ClassifyOptions Unclassified",
    "upkeep.compact": "Compaction",
    "upkeep.duplicates.findings": (
        "DuplicateFile DuplicateGroup DuplicatesFinished DuplicatesOptions DuplicatesProgress "
        "DuplicatesSummary NotCompared Role Step Unread"
    ),
    "upkeep.duplicates.verdicts": "Verdict",
    "upkeep.restore": "Restored",
    "upkeep.doctor.checks": "Check",
    "upkeep.metadata": "MetadataReport",
    "upkeep.quarantine": "Quarantined",
    "upkeep.selection": "Selected SelectOptions Selection",
    "upkeep.tag_table": "TagReport",
    "upkeep.standing.asking": "QuestionUnasked StandingHit",
    "upkeep.standing.editing": "QuestionOptions StandingFound",
    "upkeep.verify.findings": "Finding Sample Verification VerifyOptions",
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `clipindex --help` needs none of them."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'clipindex' has no attribute '{name}'")
    return getattr(import_module(f"clipindex.{_MODULE_OF[name]}"), name)
