"""350 damaged and odd files of the reference data: one run ends by itself, each as expected."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from conftest import reconciles, run_clipindex, unpack

from conftest import TINY  # isort: skip
from clipindex.pictures.formats import HEAD, picture_format

INDEXED = {"new", "duplicate"}
# A file of a format that is not read (tga, ico, psd, jp2 ...) has not to be judged as a picture:
# it is skipped with a reason.
ALLOWED = {
    "index": INDEXED,
    "quarantine": {"quarantined"},
    "either": INDEXED | {"quarantined", "skipped"},
}


def test_every_nasty_file_ends_as_expected_and_none_stops_the_run(
    test_data: Path, tmp_path: Path
) -> None:
    with tarfile.open(test_data / "nasty" / "nasty.tar") as tar:
        unpack(tar, tmp_path)
    store = ["--store", tmp_path / "store", "--model", TINY]
    run = run_clipindex("ingest", tmp_path / "nasty", *store, "--json")
    assert "Traceback" not in run.err
    assert run.code == 3
    *lines, summary = run.lines
    files = {Path(str(line["path"])).name: line for line in lines if line["type"] == "file"}
    counts = clip_summary(summary)
    assert reconciles(counts)
    expected = [
        json.loads(line)
        for line in (test_data / "nasty" / "expected.jsonl").read_text("utf-8").splitlines()
    ]
    assert len(files) == counts.found == len(expected) == 350
    wrong = []
    for wanted in expected:
        file = files[wanted["file"]]
        allowed = set(ALLOWED[wanted["expect"]])
        head = (tmp_path / "nasty" / wanted["file"]).read_bytes()[:HEAD]
        if wanted["kind"] == "not-image" or picture_format(head) is None:
            allowed.add("skipped")
        if file["status"] not in allowed or (file["status"] not in INDEXED and not file["reason"]):
            wrong.append((wanted["file"], wanted["expect"], file["status"], file["reason"]))
    assert not wrong


def clip_summary(line: dict[str, object]):  # type: ignore[no-untyped-def]
    from clipindex import Summary

    return Summary(**{name: value for name, value in line.items() if name != "type"})  # type: ignore[arg-type]
