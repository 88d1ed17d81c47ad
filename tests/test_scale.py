"""The job files of docs/scale.md and the arithmetic to a billion: what a test can know of them
without a cluster."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from benchmarks import arithmetic
from benchmarks.arithmetic import Figures, costs
from clipindex.cli.app import app
from clipindex.errors import ExitCode

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "scale.md").read_text("utf-8")
JOB, RAY_JOB = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
(SLURM,) = (text for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "#SBATCH" in text)
FIELDS = json.loads((ROOT / "tests" / "data" / "rayjob_fields.json").read_text("utf-8"))
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def faults(value: Any, schema: dict[str, Any], where: str = "spec") -> list[str]:
    """What a schema of Kubernetes does not allow: unknown fields, missing ones, other types."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    if not isinstance(value, kinds.get(schema["type"], object)):
        return [f"{where}: no {schema['type']}"]
    if "items" in schema:
        parts = [faults(one, schema["items"], f"{where}[]") for one in value]
        return [fault for part in parts for fault in part]
    if "properties" not in schema:
        return []
    found = [f"{where}: lacks {name}" for name in schema["required"] if name not in value]
    for name, inner in value.items():
        if name not in schema["properties"]:
            found.append(f"{where}: no field {name}")
        else:
            found += faults(inner, schema["properties"][name], f"{where}.{name}")
    return found


def test_the_ray_job_has_only_fields_of_the_schema() -> None:
    assert (RAY_JOB["apiVersion"], RAY_JOB["kind"]) == ("ray.io/v1", "RayJob")
    assert faults(RAY_JOB["spec"], FIELDS["spec"]) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"entrypoints": "x"}, "spec: no field entrypoints"),
        ({"backoffLimit": "3"}, "spec.backoffLimit: no integer"),
        (
            {"rayClusterSpec": {"workerGroupSpecs": [{"groupName": "cpu"}]}},
            "spec.rayClusterSpec.workerGroupSpecs[]: lacks template",
        ),
    ],
)
def test_a_field_that_is_not_in_the_schema_is_noticed(change: dict[str, Any], fault: str) -> None:
    assert fault in faults(RAY_JOB["spec"] | change, FIELDS["spec"])


def test_containers_mount_only_volumes_of_their_pod_and_the_pictures_read_only() -> None:
    cluster = RAY_JOB["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods = [JOB["spec"]["template"]["spec"], *(group["template"]["spec"] for group in groups)]
    for pod in pods:
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            mounts = container["volumeMounts"]
            assert {mount["name"] for mount in mounts} == volumes
            assert all(m.get("readOnly") for m in mounts if m["mountPath"] == "/archive")
            assert {"name": "CLIPINDEX_URL", "value": "http://qdrant:6333"} in container["env"]


def test_the_indexed_job_has_as_many_indexes_as_parts() -> None:
    spec = JOB["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["completionMode"] == "Indexed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # as a podFailurePolicy wants it
    (script,) = container["args"]
    assert f"--part $((JOB_COMPLETION_INDEX + 1))/{spec['completions']}" in script
    (rule,) = spec["podFailurePolicy"]["rules"]
    lasting = {ExitCode.USAGE, ExitCode.MODEL, ExitCode.CONTRACT, ExitCode.REFUSED}
    assert set(rule["onExitCodes"]["values"]) == lasting


@pytest.mark.parametrize("code", [0, 3, 6, 143])
@pytest.mark.parametrize("kind", ["job", "ray"])
def test_pictures_in_quarantine_do_not_fail_a_job(kind: str, code: int, tmp_path: Path) -> None:
    """The scripts as they are run, with a clipindex that ends with a code."""
    (script,) = JOB["spec"]["template"]["spec"]["containers"][0]["args"]
    command = ["sh", "-c", script] if kind == "job" else ["sh", "-c", RAY_JOB["spec"]["entrypoint"]]
    fake = tmp_path / "clipindex"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\nexit {code}\n')
    fake.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": "4"}
    ended = subprocess.run(command, env=env, check=False)
    assert ended.returncode == (0 if code == 3 else code)
    called = (tmp_path / "called").read_text()
    assert ("--part 5/16" in called) == (kind == "job")


def test_the_slurm_array_has_as_many_tasks_as_parts() -> None:
    tasks = re.search(r"--array=1-(\d+)", SLURM)
    assert tasks
    assert f'--part "$SLURM_ARRAY_TASK_ID/{tasks[1]}"' in SLURM
    assert subprocess.run(["bash", "-n", "-c", SLURM], check=False).returncode == 0


def test_every_option_of_a_job_file_is_one_of_clipindex() -> None:
    known = {name for p in COMMANDS["ingest"].params for name in (*p.opts, *p.secondary_opts)}
    blocks = re.findall(r"```(?:sh|yaml)\n(.*?)```", PAGE, re.DOTALL)
    calls = [
        call
        for block in blocks
        for call in re.findall(r"clipindex ingest (.*?)(?=;|\n\S|\Z)", block, re.DOTALL)
    ]
    assert len(calls) == 8
    for call in calls:
        used = set(re.findall(r"(?<![\w-])--[a-z-]+", call.split("\nray ")[0]))
        assert used <= known, used - known


def test_the_arithmetic_is_what_a_reader_would_do_by_hand() -> None:
    given = Figures(cpu_ms=36.0, cores=10, hours=10, points_a_second=1000, megabytes=1.0)
    one = costs(100_000_000, given)
    assert one.core_hours == pytest.approx(1000)  # 100,000,000 times 36 ms
    assert one.machines == 10  # of 10 cores, for 10 hours
    assert one.steps["embedding"] == pytest.approx(10)
    assert one.nodes == 2  # 95 GB, in 64 GB each
    assert one.steps["writing"] == pytest.approx(100_000_000 / 2000 / 3600)
    assert one.drivers == 1  # 2.7 hours of one core
    assert one.catalogue == pytest.approx(43)
    assert one.disk == pytest.approx(300)
    assert one.bottleneck == "writing"


def test_the_page_shows_what_the_script_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert arithmetic.main([]) == 0
    assert capsys.readouterr().out.strip() in PAGE
    arithmetic.main(["--cpu-ms", "48.4", "--cores", "64", "--hours", "72", "--pictures", "1e6"])
    assert "| 1,000,000 | 13 | 1 |" in capsys.readouterr().out
