"""Every way in which clipindex ends badly: one tree, each class with its exit code.

    ClipIndexError            1   failed for a reason without a code of its own
    ├── UsageError            2   bad option, no such folder, unreadable query picture
    │   └── DiskNotMounted    2   a remembered root is empty or gone
    ├── ModelError            4   model missing, damaged, or wrong on this processor
    ├── ContractMismatch      5   model or preprocessing differ from the collection's
    ├── StoreError            6   store or collection unreachable, missing or damaged
    ├── VerificationFailed    7   what was read back is not what was written
    ├── Refused               8   refused for safety: a key over plain http
    ├── DiskFull              9   no room for the next batch
    ├── ProviderUnavailable  10   asked-for provider is missing or does not start
    └── CollectionBusy       11   another run holds the collection
        └── Switched         11   its name stands for another model's collection by now

`FileFault` stands beside the tree: a bad file is not the end of a run but a result of it.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes. A test compares them with the table in docs/reference.md."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    ATTENTION = 3  # done, but files were newly quarantined or could not be read
    MODEL = 4
    CONTRACT = 5
    STORE = 6
    VERIFICATION = 7
    REFUSED = 8
    DISK_FULL = 9
    PROVIDER = 10
    BUSY = 11
    INTERRUPTED = 130
    TERMINATED = 143


class ClipIndexError(Exception):
    """Base of all errors a user meets: what happened, to which file, what to do next."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.hint = hint

    @property
    def kind(self) -> str:
        """The class's name, as `--json` prints it."""
        return type(self).__name__


class UsageError(ClipIndexError):
    """The call cannot be carried out as it was typed."""

    exit_code = ExitCode.USAGE


class DiskNotMounted(UsageError):
    """A root is empty or missing although the collection remembers pictures below it."""


class ModelError(ClipIndexError):
    """A model bundle is missing, incomplete, damaged, or not computed rightly here."""

    exit_code = ExitCode.MODEL


class ContractMismatch(ClipIndexError):
    """A setting or a model disagrees with what the collection was made with."""

    exit_code = ExitCode.CONTRACT


class StoreError(ClipIndexError):
    """A store or collection is unreachable, missing, damaged, or access is denied."""

    exit_code = ExitCode.STORE


class VerificationFailed(ClipIndexError):
    """A batch read back from the store differs from what was written."""

    exit_code = ExitCode.VERIFICATION


class Refused(ClipIndexError):
    """Carrying it out would put something at risk that cannot be taken back."""

    exit_code = ExitCode.REFUSED


class DiskFull(ClipIndexError):
    """Too little free space for the next batch; the finished batches are safe."""

    exit_code = ExitCode.DISK_FULL


class ProviderUnavailable(ClipIndexError):
    """The provider that was asked for is not installed, or does not start."""

    exit_code = ExitCode.PROVIDER


class CollectionBusy(ClipIndexError):
    """Another process holds the collection's lock."""

    exit_code = ExitCode.BUSY


class Switched(CollectionBusy):
    """While a command waited, the name was switched to the collection of another model."""


class FileFault(Exception):
    """One file that cannot be indexed, and why; the run notes it and goes on.

    `skipped`: not a picture, or gone; otherwise the file is quarantined. `transient` faults
    (permission, I/O) are tried again in every run, the others once file or decoder change.
    """

    def __init__(self, reason: str, *, skipped: bool = False, transient: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.skipped = skipped
        self.transient = transient


class OverBudget(FileFault):
    """A picture that would take more memory or time to decode than any may."""


class ClipIndexWarning(UserWarning):
    """Something the user should know that changes no exit code, such as a text cut short."""
