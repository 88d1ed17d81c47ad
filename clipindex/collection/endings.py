"""How a run ended that did not do all its work, noted in the catalogue for `status`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime

from clipindex.collection.catalogue import Catalogue
from clipindex.collection.place import Located
from clipindex.errors import (
    ClipIndexError,
    DiskNotMounted,
    ExitCode,
    StoreError,
    Switched,
    UsageError,
)


@contextmanager
def noted_end(catalogue: Catalogue, command: str) -> Iterator[None]:
    """Note the bad end of a run of the block. A run that is killed notes nothing, and is known by
    that."""
    try:
        yield
    except BaseException as error:
        with suppress(ClipIndexError):  # the disk is full, perhaps that is why
            if catalogue.has_begun:
                catalogue.stop_run(_now(), exit_code_of(error), reason_of(error))
            else:
                _note_refusal(catalogue, command, error)
        raise


@contextmanager
def noted_refusal(located: Located, command: str) -> Iterator[None]:
    """Note that a run could not begin: the collection is busy, a disk is away, there is no model.
    What was wrong with the command line itself is no run."""
    try:
        yield
    except BaseException as error:
        with suppress(ClipIndexError):
            if located.catalogue is not None:
                with closing(Catalogue(located.catalogue)) as catalogue:
                    _note_refusal(catalogue, command, error)
        raise


def _note_refusal(catalogue: Catalogue, command: str, error: BaseException) -> None:
    """A store that could not be locked or read is left as it is."""
    is_no_run = isinstance(error, UsageError) and not isinstance(error, DiskNotMounted)
    is_no_run = is_no_run or isinstance(error, Switched)  # it begins anew with the other collection
    if not is_no_run and not isinstance(error, StoreError):
        catalogue.refuse_run(_now(), command, exit_code_of(error), reason_of(error))


def exit_code_of(error: BaseException) -> int | None:
    """The exit code that the program ends with; None for a run that its caller gave up."""
    if isinstance(error, GeneratorExit):  # closed by whatever its caller is handling
        return None if error.__context__ is None else exit_code_of(error.__context__)
    if isinstance(error, KeyboardInterrupt):
        return int(ExitCode.INTERRUPTED)
    return int(getattr(error, "exit_code", ExitCode.FAILED))


def reason_of(error: BaseException) -> str:
    """Why, in a line."""
    code = exit_code_of(error)
    if isinstance(error, ClipIndexError):
        return f"{error.message} ({error.path})" if error.path else error.message
    if code == ExitCode.INTERRUPTED:
        return "interrupted"
    if code == ExitCode.TERMINATED:
        return "terminated"
    return "given up" if code is None else f"unexpected {type(error).__name__}: {error}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
