"""Read pictures and text files straight from a git clone."""

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path


class Clone:
    """A git clone read without a work tree: its pictures may lie in older commits only."""

    def __init__(self, root: Path, repository: str):
        folder = root / repository.replace("/", "+")
        heads = [head for depth in ("HEAD", "*/HEAD", "*/.git/HEAD") for head in folder.glob(depth)]
        self.git_dir = heads[0].parent

    def list_files(self) -> dict[str, str]:
        """Path -> object id, over all commits; the first object seen for a path wins."""
        command = ["git", f"--git-dir={self.git_dir}", "rev-list", "--all", "--objects"]
        text = subprocess.run(
            [*command, "--missing=print"], capture_output=True, check=True
        ).stdout.decode("utf-8", "replace")
        files: dict[str, str] = {}
        for line in text.splitlines():
            object_id, _, path = line.partition(" ")
            if path and not object_id.startswith("?"):
                files.setdefault(path, object_id)
        return files

    def read(self, object_ids: list[str]) -> Iterator[bytes]:
        """The bytes of each object, in order; empty where the clone lacks it."""
        command = ["git", f"--git-dir={self.git_dir}", "cat-file", "--batch"]
        for start in range(0, len(object_ids), 500):
            request = "".join(f"{object_id}\n" for object_id in object_ids[start : start + 500])
            answer = io.BytesIO(
                subprocess.run(
                    command, input=request.encode(), capture_output=True, check=True
                ).stdout
            )
            while header := answer.readline().split():
                if header[1] == b"missing":
                    yield b""
                    continue
                yield answer.read(int(header[2]))
                answer.read(1)

    def read_text(self, path: str) -> str:
        """One text file of the newest commit."""
        command = ["git", f"--git-dir={self.git_dir}", "show", f"HEAD:{path}"]
        return subprocess.run(command, capture_output=True, check=True).stdout.decode()
