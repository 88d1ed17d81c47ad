"""File systems of a test's own: ext4 on a loop device, tmpfs. Only root on Linux may mount them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# No thread of the kernel goes on writing after the start.
MAKE = ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"]


class CannotMount(Exception):
    """Why not."""


@contextmanager
def mounted(source: Path | None, target: Path, *options: str) -> Iterator[Path]:
    """An image, or a tmpfs, mounted at `target`. Raises CannotMount."""
    target.mkdir(parents=True, exist_ok=True)
    what = ["-t", "tmpfs", "tmpfs"] if source is None else ["-t", "ext4", str(source)]
    flags = ",".join([*options, *([] if source is None else ["loop"])])
    command = ["mount", *(["-o", flags] if flags else []), *what, str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CannotMount("there is no `mount`") from error
    if done.returncode:
        raise CannotMount(done.stderr.strip())
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)


def make_image(image: Path, megabytes: int) -> None:
    """An empty ext4 file system. Raises CannotMount where there is no mkfs.ext4."""
    image.unlink(missing_ok=True)
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    if shutil.which(MAKE[0]) is None:
        raise CannotMount("there is no mkfs.ext4")
    subprocess.run([*MAKE, str(image)], check=True, capture_output=True)


def copy_image(image: Path, target: Path) -> None:
    """The blocks as they are; holes stay holes."""
    subprocess.run(["cp", "--sparse=always", str(image), str(target)], check=True)


def writes_to(target: Path) -> int:
    """Writes that the device of a mounted image has done, and flushes."""
    for line in Path("/proc/mounts").read_text().splitlines():
        device, place, *_ = line.split()
        if place == str(target):
            fields = Path(f"/sys/block/{Path(device).name}/stat").read_text().split()
            return int(fields[4])
    raise CannotMount(f"{target} is not mounted")
