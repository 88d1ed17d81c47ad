"""The comparison of two bundles on captioned pictures."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks import retrieval
from conftest import TINY, make_pictures


def test_the_rank_of_the_right_picture_counts_equals_against_it() -> None:
    """So that a blind model, for which all pictures are alike, finds nothing."""
    scores = np.float32([[0.1, 0.9, 0.3], [0.5, 0.5, 0.5], [0.2, 0.1, 0.3]])
    assert retrieval.ranks_of(scores, np.array([1, 0, 1])).tolist() == [0, 2, 2]


def test_the_sign_test_is_the_binomial_tail() -> None:
    assert retrieval.sign_test(0, 0) == 1
    assert retrieval.sign_test(5, 5) == 1
    assert retrieval.sign_test(8, 0) == retrieval.sign_test(0, 8) == pytest.approx(2 / 256)


def test_two_bundles_are_compared_on_a_folder_or_a_tar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bundle against itself: the same figures, and no caption that only one is right for."""
    folder = tmp_path / "set"
    photos = make_pictures(folder, 12)
    lines = [
        json.dumps({"file": path.name, "captions": [f"picture {number}", "a thing"]})
        for number, path in enumerate(photos)
    ]
    (folder / "captions.jsonl").write_text("\n".join(lines))
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for path in photos:
            tar.add(path, path.name)
    shutil.copy(folder / "captions.jsonl", tmp_path / "set.jsonl")
    for where in (folder, tmp_path / "set.tar"):
        retrieval.main([str(TINY), str(TINY), str(where)])
        printed = capsys.readouterr().out
        assert "12 pictures, 24 captions" in printed
        rows = [row.split(" | ")[:4] for row in printed.splitlines() if "tiny-clip" in row]
        assert len(rows) == 2
        assert rows[0] == rows[1]
        assert printed.count("alone is right for 0 captions, the second alone for 0") == 2
