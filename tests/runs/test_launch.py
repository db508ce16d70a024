"""``cellcount run`` for real: Snakemake, papermill, kernels, with chapters that take a second."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from benchmarks.quick_project import GRID, make_project
from cellcount_lib.data.folder import write_simulated
from cellcount_lib.errors import InputError
from cellcount_lib.fingerprint import digest
from cellcount_lib.machine import cores
from cellcount_lib.records import read_record, write_record
from cellcount_lib.runs.execute import Job, check_parameters, execute, reason, take_threads
from cellcount_lib.runs.grid import load_grid
from cellcount_lib.runs.status import chapter_of
from cellcount_lib.training.checkpoint import write_checkpoint
from cellcount_lib.training.code import training_code
from cellcount_lib.training.spec import Training
from tests.command import cellcount

ROOT = Path(__file__).resolve().parents[2]
# what a shell, Python, Snakemake, papermill or YAML could take for something else than a name
ODD = "ü {0} {x} %s $(touch made) `touch made` $HOME 'a' \"b\" \\ ; touch made; # [c] * ~\n!"

ONE_ROW = GRID[: GRID.index("  - label: two")]


@pytest.fixture
def place(tmp_path):
    return Place(make_project(tmp_path / "project"), tmp_path / "runs")


@pytest.fixture
def odd_place(tmp_path):
    folder = tmp_path / ODD
    write_simulated(folder / ODD, n=3, style="nuclei", seed=0, size=(32, 32))
    grid = GRID.replace("dataset: simulated", f"dataset: {json.dumps(f'folder:{folder / ODD}')}")
    return Place(make_project(folder / "project", grid), folder / "runs")


class Place:
    """A project and the folder of its runs."""

    def __init__(self, project, runs):
        self.project, self.runs = project, runs

    def arguments(self, name, *options):
        return [name, "quick", "--profile", "smoke", "--runs-dir", str(self.runs), *options]

    def command(self, name, *options):
        return [sys.executable, "-m", "cellcount_lib", *self.arguments(name, *options)]

    def environment(self, **more):
        return os.environ | {"CELLCOUNT_PROJECT": str(self.project), "PYTHONPATH": str(ROOT)} | more

    def run(self, name, *options, **more):
        """Give a command to this process; what it starts has processes of its own."""
        return self.run_plain(*self.arguments(name, *options), **more)

    def run_plain(self, *arguments, **more):
        """Run a command that is given no grid."""
        with patch.dict(os.environ, self.environment(**more)):
            return cellcount(*arguments)

    def run_apart(self, name, *options, **more):
        """Give a command to a process of its own."""
        return subprocess.run(
            self.command(name, *options),
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=280,
            cwd=ROOT,
        )

    def executions(self):
        path = self.runs / "smoke" / "executions.txt"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def threads(self):
        """Numbers of threads that the runs were given."""
        return [path.read_text() for path in self.runs.glob("smoke/*/threads.txt")]

    def processes(self):
        """Processes that have to do with these runs, found by their command line."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                environment = (folder / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            mine = str(self.project) in environment or str(self.runs) in line
            if mine and int(folder.name) != os.getpid():
                found.append((int(folder.name), line))
        return found


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_everything_once_then_nothing(odd_place, tmp_path):
    place = odd_place
    dry = place.run("run", "--dry-run")
    assert "4 of 4 to run" in dry.stdout
    assert not place.runs.exists()
    first = place.run_apart("run", "--jobs", str(cores()), OMP_NUM_THREADS="")
    assert first.returncode == 0, first.stderr
    assert "4 runs: 4 done, 0 kept, 0 stale, 0 failed, 0 missing" in first.stdout
    assert set(place.executions().values()) == {1}
    for path in (place.runs / "smoke").glob("*/record.json"):
        record = read_record(path)
        assert record == read_record(path.with_name("notebook.ipynb"))
        assert f"-{record.parameters['arch']}-" in path.parent.name
        assert record.parameters["dataset"].endswith(ODD)
    assert place.threads() == ["1"] * 4, "runs beside each other share the cores"
    (plan,) = (place.runs / "smoke" / ".plans").glob("*.json")
    planned = json.loads(plan.read_text())["runs"]
    assert len(planned) == 4
    lines = re.findall(r"^\d\d:\d\d (\d) of 4: (\S+): (completed|collapsed)", first.stdout, re.M)
    assert [number for number, *_ in lines] == list("1234"), "a log shows progress"
    assert {name for _, name, _ in lines} == set(planned)
    begun = (place.runs / "smoke" / "executions.txt").read_text().split()
    assert set(begun[: cores()]) == set(list(planned)[: cores()]), "in the order of the rows"
    for name, run in planned.items():
        assert run["record"] == f"{name}/record.json"
        assert (plan.parent.parent / run["record"]).exists()
    second = place.run("run", "--jobs", "2")
    assert second.returncode == 0
    assert sum(place.executions().values()) == 4
    again = place.run("status", "--all")
    assert again.stdout.count("(completed)") == 3
    assert again.stdout.count("(collapsed)") == 1
    out = place.runs / ODD
    assert place.run("tables", "--out", str(out)).returncode == 0
    assert (out / "smoke" / "quick.md").exists()
    assert not [*tmp_path.rglob("made"), *ROOT.glob("made")], "a name was executed"


def test_a_run_on_a_cluster_uses_the_cores_it_was_given(monkeypatch):
    monkeypatch.setattr(os, "environ", {"SLURM_CPUS_PER_TASK": "4", "OMP_NUM_THREADS": "1"})
    take_threads()
    assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "4"


def test_a_failed_run_stops_no_other_is_recorded_and_tried_again(place):
    grid = ONE_ROW + "  - label: three\n    set: {arch: fcn}\n"
    (place.project / "experiments" / "quick.yaml").write_text(grid)
    ended = place.run("run", "--seeds", "0", "--jobs", "2")
    assert ended.returncode == 1
    assert "2 runs: 1 done, 0 kept, 0 stale, 1 failed, 0 missing" in ended.stdout
    assert "ValueError: this one fails" in ended.stderr
    (folder,) = (place.runs / "smoke").glob("simulated-fcn-*")
    record = read_record(folder / "record.json")
    assert (record.status, record.reason) == ("failed", "ValueError: this one fails")
    assert (folder / "notebook.ipynb").exists()
    chapter = place.project / "chapters" / "03_one_experiment.ipynb"
    chapter.write_text(chapter.read_text().replace("fcn", "nothing"))
    mended = place.run("run", "--seeds", "0")
    assert mended.returncode == 0, mended.stderr
    assert sorted(place.executions().values()) == [1, 1], "the other is stale, and waits"
    assert read_record(folder / "record.json").status == "completed"


def test_stale_runs_say_why_and_wait_for_refresh(place):
    (place.project / "experiments" / "quick.yaml").write_text(ONE_ROW)
    place.run("run", OMP_NUM_THREADS="")
    assert place.threads() == [str(cores())] * 2, "one run at a time has all cores"
    chapter = place.project / "chapters" / "03_one_experiment.ipynb"
    chapter.write_text(chapter.read_text().replace("- (i + seed) % 3", "- (i + seed) % 2"))
    state = place.run("status")
    assert state.stdout.count("stale") == 3
    assert "changed since: the chapter" in state.stdout
    same = place.run("run")
    assert "2 runs are stale; --refresh runs them again" in same.stdout
    assert same.returncode == 0
    assert set(place.executions().values()) == {1}
    fresh = place.run("run", "--refresh", OMP_NUM_THREADS="5")
    assert "2 runs: 2 done, 0 kept, 0 stale" in fresh.stdout, fresh.stderr
    assert set(place.executions().values()) == {2}
    assert place.threads() == ["5", "5"], "as many as the reader asks for"


@pytest.mark.timeout(600)
def test_killed_in_every_way_it_leaves_no_process_and_goes_on(place):
    """One run is killed as it sweeps heatmaps in parallel, one between its record and its end."""

    def sweeping():
        return sum("LokyProcess" in line for _, line in place.processes()) == 2

    ways = [
        *((os.kill, signal.SIGKILL), (os.killpg, signal.SIGTERM)),
        *((os.killpg, signal.SIGINT), (os.kill, signal.SIGHUP)),
    ]
    for kill, number in ways:
        process = subprocess.Popen(
            place.command("run", "--jobs", "2", "--seeds", "0"),
            env=place.environment(QUICK_STUCK="unet"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            start_new_session=True,
        )
        assert wait_until(lambda: place.executions() and sweeping(), 120)
        kill(process.pid, number)
        process.wait(15)
        assert wait_until(lambda: not place.processes(), 10), (number, place.processes())
        (record,) = place.runs.glob("smoke/*/record.json")
        assert read_record(record).parameters["arch"] == "c-resunet"
    ended = place.run("run", "--jobs", "2", "--seeds", "0")
    assert ended.returncode == 0, ended.stderr
    assert "2 runs: 2 done" in ended.stdout
    assert sorted(place.executions().values()) == [1, 1], "what left a record is not done again"
    assert len([*place.runs.glob("smoke/*/record.json")]) == 2


def test_a_record_left_from_before_is_not_the_runs(place, monkeypatch):
    chapter = place.project / "chapters" / "03_one_experiment.ipynb"
    monkeypatch.setenv("CELLCOUNT_PROJECT", str(place.project))
    monkeypatch.setattr("cellcount_lib.runs.execute._papermill", lambda job: None)
    run = load_grid("quick", profile="smoke").runs[0]
    job = Job(chapter, run.parameters, place.runs / "x", {})
    failed = execute(job)
    assert (
        failed.reason
        == f"DataError: 03_one_experiment.ipynb ended without leaving {job.folder / 'record.json'}"
    )
    write_record(job.folder, replace(failed, status="completed", reason=""))
    assert execute(job).status == "failed"


def test_a_checkpoint_that_other_code_began_is_dropped_and_no_other(place, monkeypatch):
    monkeypatch.setenv("CELLCOUNT_PROJECT", str(place.project))
    monkeypatch.setattr("cellcount_lib.runs.execute._papermill", lambda job: None)
    run = load_grid("quick", profile="smoke").runs[-1]
    job = Job(chapter_of(run), run.parameters, place.runs / "x", {})
    checkpoint = job.folder / "checkpoint.safetensors"
    code = training_code(Training(**run.parameters))  # what `training.prepare` puts into it
    for began, stays in ((code, True), (code | {"Dice": "0"}, False)):
        job.folder.mkdir(parents=True, exist_ok=True)
        about = {"settings": {"code": digest(began)}}
        write_checkpoint(checkpoint, {"weight": torch.ones(2)}, about)
        execute(job)
        assert checkpoint.exists() == stays
    checkpoint.write_text("cut short")
    execute(job)
    assert checkpoint.exists(), "the training says so"


def test_waiting_for_a_kernel_takes_no_torch():
    code = "import sys, cellcount_lib.runs.execute; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr


def test_parameters_that_a_chapter_lacks_are_refused(place, monkeypatch):
    chapter = place.project / "chapters" / "03_one_experiment.ipynb"
    monkeypatch.setenv("CELLCOUNT_PROJECT", str(place.project))
    run = load_grid("quick", profile="smoke").runs[0]
    good = Job(chapter, run.parameters, place.runs / "x", {"out": "x"})
    check_parameters(good)
    bad = Job(chapter, {**run.parameters, "sede": 1}, place.runs / "x", {})
    with pytest.raises(InputError, match=r"unknown parameter .*'sede'; did you mean 'seed'"):
        execute(bad)
    assert not place.runs.exists()


def test_the_reason_is_the_chapters_own_error():
    class Papermills(Exception):
        ename, evalue = "DataError", "no pictures\nat all"

    assert reason(Papermills("a long report")) == "DataError: no pictures"
    assert reason(ValueError("")) == "ValueError: no message"


def test_gpus_are_shared_out(tmp_path, monkeypatch):
    from cellcount_lib.runs.execute import _gpu

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with _gpu(tmp_path):
        first = os.environ["CUDA_VISIBLE_DEVICES"]
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
        with _gpu(tmp_path):
            second = os.environ["CUDA_VISIBLE_DEVICES"]
    assert {first, second} == {"3", "5"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with _gpu(tmp_path):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
