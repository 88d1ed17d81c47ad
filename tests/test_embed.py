"""`clipindex embed`: embeddings of texts and pictures, outside any collection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clipindex.errors import ExitCode
from conftest import TINY, make_pictures, run_clipindex


def embed(*arguments: str | Path, code: ExitCode = ExitCode.OK) -> Any:
    result = run_clipindex("embed", *arguments, "--model", TINY, code=code)
    return result


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "photos", 1)[0]
