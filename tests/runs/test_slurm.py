"""A grid through SLURM, for real: submitted, killed, resumed, and the same table as a local one."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from benchmarks.quick_project import make_project
from cellcount_lib.records import read_record
from cellcount_lib.runs.grid import project
from tests.runs.cluster import cluster, why_not
from tests.runs.test_launch import Place, wait_until

pytestmark = [
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.timeout(400),
]

PROFILE = """\
executor: slurm
jobs: 4
latency-wait: 5
slurm-init-seconds-before-status-checks: 2
seconds-between-status-checks: 2
slurm-status-command: squeue
slurm-no-account: true
default-resources:
  slurm_partition: debug
  mem_mb: 500
  cpus_per_task: 1
  runtime: 10
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture
def place(tmp_path):
    project = make_project(tmp_path / "project")
    settings = project / "workflow" / "here"
    settings.mkdir()
    (settings / "config.yaml").write_text(PROFILE)
    return Place(project, tmp_path / "runs")


def queue():
    shown = subprocess.run(["squeue", "-h", "-o", "%i %j %T"], capture_output=True, text=True)
    return shown.stdout.splitlines()


def test_a_grid_on_slurm_is_a_grid(slurm, place, tmp_path):
    options = ["--slurm", str(place.project / "workflow" / "here"), "--seeds", "0,1"]
    process = subprocess.Popen(
        place.command("run", *options),
        env=place.environment(QUICK_SECONDS="3"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=place.project,
    )
    assert wait_until(lambda: sum(place.executions().values()) >= 1, 120)
    for pid, line in place.processes():  # Snakemake, so that it cannot cancel its jobs either
        if "cellcount_lib.runs.leash" in line:
            os.kill(pid, signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert queue(), "the killed command leaves jobs in the queue"
    left = sum(place.executions().values())
    assert left < 4

    resumed = place.run("run", *options)
    assert resumed.returncode == 0, resumed.stderr
    assert "4 runs: 4 done" in resumed.stdout
    assert "jobs that an earlier, killed command had left" in resumed.stdout
    assert wait_until(lambda: not queue(), 30), queue()
    assert set(place.executions().values()) == {1}
    records = [read_record(p) for p in (place.runs / "smoke").glob("*/record.json")]
    assert len(records) == 4
    assert all(record.machine["slurm_job"] for record in records)

    local = Place(place.project, tmp_path / "local")
    assert local.run("run", "--jobs", "2", "--seeds", "0,1").returncode == 0
    texts = []
    for one in (place, local):
        out = tmp_path / one.runs.name / "out"
        made = one.run("tables", "--seeds", "0,1", "--out", str(out))
        assert made.returncode == 0, made.stderr
        texts.append((out / "smoke" / "quick.md").read_text())
    assert texts[0] == texts[1]


def test_jobs_of_others_are_left_alone(slurm, tmp_path):
    from cellcount_lib.runs.launch import cancel_left

    for name in ("cellcountaaaa-1", "cellcountbbbb-1"):
        command = ["sbatch", "-J", name, "-o", str(tmp_path / "o"), "--wrap", "sleep 60"]
        subprocess.run(command, check=True, capture_output=True)
    time.sleep(0.5)
    assert cancel_left("cellcountaaaa") == 1
    assert wait_until(lambda: not any("aaaa" in line for line in queue()), 20)
    assert any("bbbb" in line for line in queue())
    assert cancel_left("cellcountbbbb") == 1


def test_a_chapter_is_executed_as_a_batch_job(slurm, tmp_path):
    made = new_notebook(cells=[new_code_cell("n = 1"), new_code_cell("print(n + 1)")])
    made.cells[0].metadata["tags"] = ["parameters"]
    made.metadata["language_info"] = {"name": "python"}
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "chapters").mkdir()
    nbformat.write(made, tmp_path / "chapters" / "quick.ipynb")
    here = ["--gpus=0", "--cpus-per-task=1", "--mem=500"]  # what this cluster has
    script = [str(project() / "workflow" / "chapter.sbatch"), "quick", "-p", "n", "41"]
    subprocess.run(["sbatch", *here, *script], cwd=tmp_path, check=True, capture_output=True)
    assert wait_until(lambda: not queue(), 120), queue()
    (log,) = tmp_path.glob("cellcount-*.log")
    (done,) = tmp_path.glob("executed/quick-*.ipynb")
    assert nbformat.read(done, 4).cells[-1].outputs[0].text == "42\n", log.read_text()
