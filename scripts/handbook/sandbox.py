"""A fresh home to run a page's commands in: nothing of this machine's settings, no network.

The home holds a clone (`~/clipindex`, with the example photographs) and `~/Pictures`, a copy of
them. `clipindex` is the package that runs this; `pip` does nothing, because CI tries that for real.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from handbook.blocks import Block, session
from handbook.terminal import Screen, run_on_terminal

ROOT = Path(__file__).parents[2]
HOME = "/home/ann"
PROGRAM = f"{HOME}/.local/bin/clipindex"  # where pip puts it, in the pages
SERVER = "http://localhost:6333"  # in the pages; a test's server is elsewhere
SERVICE = "http://localhost:8420"  # `clipindex serve`; here at a port that is free
COLUMNS = 96
BLOCK_SECONDS = 300
OWN_SETTINGS = re.compile(r"CLIPINDEX_|XDG_|VIRTUAL_ENV$|PYTEST_|COV_|NO_COLOR|COLUMNS|LINES")


@dataclass
class Sandbox:
    """A home, and what a shell keeps from one block to the next (variables, folder)."""

    folder: Path
    server: str = SERVER
    env: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / HOME.lstrip("/")

    @property
    def _memory(self) -> Path:
        return self.folder / "shell"

    def run(self, block: Block) -> str:
        """Run a block; returns the text that belongs between its fences.

        Raises AssertionError where a command ends with another exit code than the page says.
        """
        if block.language != "console":
            self._bash(f"set -euo pipefail\n{self._command(block.text)}", block.exit_code)
            return block.text
        shown: list[str] = []
        turns = session(block.text)
        for number, (command, _) in enumerate(turns, 1):
            expected = block.exit_code if number == len(turns) else 0
            lines = self.screen(command, expected).text()
            shown += [f"$ {command}", *map(self._as_in_the_page, lines)]
        return "\n".join(shown)

    def screen(self, command: str, exit_code: int = 0) -> Screen:
        """Run one command on a terminal."""
        wide = COLUMNS + len(str(self.folder))  # the folder is taken out of the lines afterwards
        code, written = run_on_terminal(
            ["bash", "-c", self._remembering(self._command(command))],
            cwd=self.home / "clipindex",
            env=self.env,
            columns=wide,
        )
        assert code == exit_code, f"$ {command}\nended with {code}, not {exit_code}:\n{written}"
        screen = Screen()
        clone = f"{HOME}/clipindex"
        written = written.replace(f"{sys.executable} -m clipindex", PROGRAM)
        screen.feed(written.replace(str(self.folder), "").replace(str(ROOT), clone))
        return screen

    def _bash(self, script: str, exit_code: int) -> None:
        done = subprocess.run(
            ["bash", "-c", self._remembering(script)],
            cwd=self.home / "clipindex",
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        said = f"{script}\nended with {done.returncode}, not {exit_code}:\n{done.stdout}"
        assert done.returncode == exit_code, said

    def _remembering(self, script: str) -> str:
        """The script in a shell that starts where the one before it ended."""
        memory = self._memory
        keep = f'trap \'export -p > "{memory}"; echo "cd \\"$PWD\\"" >> "{memory}"\' EXIT'
        return f'[ ! -f "{memory}" ] || . "{memory}"\n{keep}\n{script}'

    @property
    def _service(self) -> str:
        return f"http://localhost:{self.env['CLIPINDEX_PORT']}"

    def _command(self, text: str) -> str:
        return text.replace(SERVER, self.server).replace(SERVICE, self._service)

    def _as_in_the_page(self, line: str) -> str:
        return line.replace(self.server, SERVER).replace(self._service, SERVICE)


@contextmanager
def sandbox(server: str = SERVER) -> Iterator[Sandbox]:
    """A new home, taken away at the end."""
    with tempfile.TemporaryDirectory(prefix="handbook-") as name:
        box = Sandbox(Path(name).resolve(), server)
        clone, programs = box.home / "clipindex", box.folder / "bin"
        shutil.copytree(ROOT / "examples", clone / "examples")
        shutil.copytree(ROOT / "examples" / "photos", box.home / "Pictures")
        programs.mkdir()
        _program(programs / "clipindex", f'exec "{sys.executable}" -m clipindex "$@"')
        _program(programs / "python", f'exec "{sys.executable}" "$@"')
        _program(programs / "pip", "exit 0")
        inherited = {key: value for key, value in os.environ.items() if not OWN_SETTINGS.match(key)}
        box.env = {
            **inherited,
            "HOME": str(box.home),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "TZ": "UTC",
            "CLIPINDEX_PORT": str(_free_port()),
        }
        yield box


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
    path.chmod(0o755)
