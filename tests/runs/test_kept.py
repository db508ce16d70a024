"""What is committed is a cache: on a new machine a table grows by the seeds that it lacks."""

import json
import shutil

from benchmarks.quick_project import make_project
from tests.runs.test_launch import Place


def test_a_table_grows_on_another_machine(tmp_path):
    here = Place(make_project(tmp_path / "project"), tmp_path / "here")
    results = here.project / "results"
    notebooks = results / "smoke" / "runs"
    assert here.run("run", "--seeds", "0", "--jobs", "2").returncode == 0
    made = here.run("tables", "--seeds", "0", "--out", str(results))
    assert made.returncode == 0, made.stderr
    first = (results / "smoke" / "quick.csv").read_text()
    for path in notebooks.glob("*.ipynb"):
        text = path.read_text()
        small = json.dumps(json.loads(text), separators=(",", ":"), sort_keys=True) + "\n"
        assert text == small
    shutil.rmtree(here.runs)
    again = here.run("tables", "--seeds", "0", "--out", str(results))
    assert again.returncode == 0, "collected from kept notebooks alone"
    assert (results / "smoke" / "quick.csv").read_text() == first

    there = Place(here.project, tmp_path / "there")
    status = there.run("status", "--seeds", "0,1")
    assert "4 runs: 0 done, 2 kept, 0 stale, 0 failed, 2 missing" in status.stdout
    ended = there.run("run", "--seeds", "0,1", "--jobs", "2")
    assert ended.returncode == 0, ended.stderr
    assert "4 runs: 2 done, 2 kept" in ended.stdout
    assert set(there.executions().values()) == {1}
    assert len(there.executions()) == 2
    assert all("seed1" in name for name in there.executions())
    grown = there.run("tables", "--seeds", "0,1", "--out", str(results))
    assert grown.returncode == 0, grown.stderr
    rows = (results / "smoke" / "quick.csv").read_text().splitlines()
    assert set(first.splitlines()) <= set(rows)
    assert len(rows) == 5
    assert len(list(notebooks.glob("*.ipynb"))) == 4
    verified = there.run_plain("tables", "--verify", "--out", str(results))
    assert "1 tables, 0 differences; 0 of 4 rows are stale" in verified.stdout, verified.stderr

    chapter = here.project / "chapters" / "03_one_experiment.ipynb"
    chapter.write_text(chapter.read_text().replace("- (i + seed) % 3", "- (i + seed) % 2"))
    verified = there.run_plain("tables", "--verify", "--out", str(results))
    assert verified.stdout.count("stale: ") == 4
    assert "smoke/quick: stale: one, seed 0: changed since: the chapter" in verified.stdout
    assert "4 of 4 rows are stale" in verified.stdout
    status = Place(here.project, tmp_path / "third").run("status", "--seeds", "0")
    assert "what is kept is stale, changed since: the chapter" in status.stdout
