"""Opening a picture in the desktop's viewer, without waiting for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from clipindex.cli.output import Output
from clipindex.cli.words import count_of, printable_path
from clipindex.errors import ClipIndexError
from clipindex.files.access import exists
from clipindex.files.addresses import is_address, tar_in

OPENERS = (("xdg-open",), ("gio", "open"), ("wslview",))  # on Linux and the BSDs
HINT = "run it in a desktop session, or copy the paths: clipindex query ... --paths"


def viewer() -> tuple[str, ...]:
    """The command that opens a file; empty on Windows, whose shell does it.

    Raises ClipIndexError where there is no desktop: under cron, or at the end of an ssh connection.
    """
    if sys.platform == "win32":
        return ()
    if sys.platform == "darwin":
        if os.environ.get("SSH_CONNECTION") and not os.environ.get("TERM_PROGRAM"):
            raise ClipIndexError("there is no desktop to open a picture on", hint=HINT)
        return ("open",)
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")):
        raise ClipIndexError("there is no desktop to open a picture on", hint=HINT)
    for command in OPENERS:
        if program := shutil.which(command[0]):
            return (program, *command[1:])
    raise ClipIndexError(
        "no program opens pictures here", hint="install xdg-utils, which has xdg-open"
    )


def open_pictures(paths: Sequence[bytes], output: Output) -> None:
    """Hand each to the viewer. One that is gone is said, and the others are opened."""
    command = [os.fsencode(word) for word in viewer()]
    opened = 0
    for path in paths:
        if not path.startswith((b"http://", b"https://")) and (is_address(path) or tar_in(path)):
            output.problem(f"not opened, because no viewer reads it there: {printable_path(path)}")
            continue
        if not exists(path):
            output.problem(f"not opened, because it is not there: {printable_path(path)}")
            continue
        _start(command, path)
        opened += 1
    if opened:
        output.say(f"opened {count_of(opened, 'picture')}")


def _start(command: Sequence[bytes], path: bytes) -> None:
    """The program goes on by itself: Ctrl-C and the end of this process do not reach it."""
    if sys.platform == "win32":
        os.startfile(os.fsdecode(path))
        return
    try:
        subprocess.Popen(
            [*command, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise ClipIndexError(
            f"the viewer cannot be started: {error.strerror}", path=os.fsdecode(command[0])
        ) from error
