"""An environment of its own for each peer: what they ask for clashes.

    python -m benchmarks.environments FOLDER [PEER...]

Versions are pinned; pip takes them from wherever it is set up to. An environment that is there
is kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

TORCH = "torch==2.13.0"
TORCHVISION = "torchvision==0.28.0"


@dataclass(frozen=True)
class Needs:
    """What pip installs, with what each asks for, and without."""

    whole: tuple[str, ...]
    alone: tuple[str, ...] = ()


HEIC = "pillow-heif==1.8.1"  # no peer reads HEIC on Linux by itself
PEERS = {
    "fastembed": Needs(("fastembed==0.9.1", HEIC)),
    # rclip 4 asks for Python 3.12 and a numpy that has left 3.11. Its code runs on 3.11, so that
    # every program of a comparison has the same Python.
    "rclip": Needs(
        (
            *("ftfy", "huggingface-hub<2", "numpy", "onnxruntime", "pillow<14", "rawpy<0.27"),
            *("regex", "requests", "textual<9", "tqdm", HEIC),
        ),
        ("rclip==4.0.8", "textual-image==0.14.1"),
    ),
    "sentence-transformers": Needs(
        (TORCH, "sentence-transformers==6.2.0", "pillow", HEIC), (TORCHVISION,)
    ),
    # open_clip asks for a torchvision, and that for a torch, of their own choice.
    "open_clip": Needs(
        (TORCH, "ftfy", "huggingface_hub", "pillow", "regex", "safetensors", "timm", "tqdm", HEIC),
        ("open_clip_torch==3.3.0", TORCHVISION),
    ),
}
TELLING = ("onnxruntime", "torch", "transformers", "pillow", "pillow_heif", "numpy")


class Unavailable(Exception):
    """What a program of the comparison needs cannot be made here."""


def python_of(peer: str, folder: Path) -> Path:
    """The interpreter of a peer's environment, made when it is missing.

    Raises Unavailable with pip's last words.
    """
    place, needs = folder / peer, PEERS[peer]
    python, finished = place / "bin" / "python", place / ".finished"
    wanted = "\n".join(needs.whole + needs.alone)
    if finished.exists() and finished.read_text("utf-8") == wanted:
        return python
    print(f"making the environment of {peer}...", file=sys.stderr, flush=True)
    venv.create(place, with_pip=True, clear=True)
    _install(python, *needs.whole)
    if needs.alone:
        _install(python, "--no-deps", "--ignore-requires-python", *needs.alone)
    finished.write_text(wanted, "utf-8")
    return python


def versions(python: Path, peer: str) -> dict[str, str]:
    """Versions of the peer and of what does its work, as its environment has them."""
    names = (PEERS[peer].alone or PEERS[peer].whole)[0].split("=")[0], *TELLING, peer
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    found = dict(line.split("==", 1) for line in listed if "==" in line)
    return {name: found[name] for name in names if name in found}


def _install(python: Path, *what: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    done = subprocess.run(
        [python, "-m", "pip", "install", *quiet, *what], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise Unavailable(last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("peers", nargs="*", choices=[[], *PEERS], default=[])
    options = parser.parse_args()
    for peer in options.peers or PEERS:
        try:
            print(peer, versions(python_of(peer, options.folder), peer))
        except Unavailable as error:
            print(f"{peer}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
