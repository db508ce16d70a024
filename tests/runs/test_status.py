"""States of runs, from their folders and from kept notebooks, on records made here."""

import dataclasses
import json

import pytest

from cellcount_lib.data.datasets import load
from cellcount_lib.methods.score import Scoring
from cellcount_lib.records import MIME, Record, as_json, write_record
from cellcount_lib.runs.grid import NETWORK, WITHOUT, Run
from cellcount_lib.runs.identity import identity_of
from cellcount_lib.runs.launch import to_do
from cellcount_lib.runs.status import chapter_of, count, states
from cellcount_lib.tables.stale import stale
from cellcount_lib.training.spec import Training

TRAINED = Run(NETWORK, dataclasses.asdict(Training(profile="smoke")))
AGAIN = Run(
    WITHOUT,
    dataclasses.asdict(Scoring("run", profile="smoke", run=TRAINED.id)),
    needs=(TRAINED.id,),
)
ORACLE = Run(WITHOUT, dataclasses.asdict(Scoring("oracle", profile="smoke")))
ALL = [TRAINED, AGAIN, ORACLE]


EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def record(run, status="completed", code=None, started=LATE, finished=LATE):
    data = load("simulated", split="train").fingerprint
    identity = identity_of(chapter_of(run), run.parameters, data=data)
    return Record(
        status=status,
        reason="it failed" if status == "failed" else "",
        chapter=run.chapter,
        parameters=run.parameters,
        identity=identity | ({"code": identity["code"] | code} if code else {}),
        protocol="recommended",
        protocol_scale=1.0,
        cutoff=0.5,
        scores={},
        images=[],
        history=[],
        seconds={"total": 1.0},
        started=started,
        finished=finished,
    )


def keep(folder, run, **about):
    output = {"output_type": "display_data", "data": {MIME: as_json(record(run, **about))}}
    cells = [{"cell_type": "code", "metadata": {}, "source": "", "outputs": [output]}]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{run.id}.ipynb").write_text(json.dumps({"cells": cells}))


@pytest.fixture
def look(tmp_path):
    def look(runs=ALL):
        return states(runs, tmp_path / "here", kept=tmp_path / "runs")

    look.runs, look.kept = tmp_path / "here", tmp_path / "runs"
    return look


def said(found):
    return [state.state for state in found]


def ids(found):
    return [state.run.id for state in found]


def test_nothing_is_there(look):
    found = look()
    assert said(found) == ["missing"] * 3
    assert {state.why for state in found} == {"not begun"}
    assert ids(to_do(found)) == [run.id for run in ALL]


def test_kept_is_as_good_as_done(look):
    for run in ALL:
        keep(look.kept, run)
    found = look()
    assert said(found) == ["kept"] * 3
    assert found[2].record.parameters == ORACLE.parameters
    assert to_do(found) == []
    assert count(found) == {"done": 0, "kept": 3, "stale": 0, "failed": 0, "missing": 0}
    assert said(states(ALL, look.runs)) == ["missing"] * 3, "without a folder, nothing is kept"


def test_weights_that_another_run_needs_are_made_again(look):
    keep(look.kept, TRAINED)
    keep(look.kept, ORACLE)
    found = look()
    assert said(found) == ["kept", "missing", "kept"]
    assert ids(to_do(found)) == [TRAINED.id, AGAIN.id]


def test_a_kept_notebook_of_other_code_says_which(look):
    keep(look.kept, ORACLE, code={"oracle": "00000000"})
    (found,) = look([ORACLE])
    assert found.state == "missing"
    assert found.why == "not begun; what is kept is stale, changed since: oracle"


def test_a_kept_record_of_a_folder_does_not_say_where_it_lay(look, tmp_path):
    asked = Scoring("oracle", f"folder:{tmp_path}/cells", profile="smoke")
    run = Run(WITHOUT, dataclasses.asdict(asked))
    keep(look.kept, run)
    path = look.kept / f"{run.id}.ipynb"
    path.write_text(path.read_text().replace(f"{tmp_path}/", ""))
    (found,) = look([run])
    assert (found.state, found.record.parameters["dataset"]) == ("kept", "folder:cells")
    assert stale(look.kept.parent) == {run.id: []}


def test_a_kept_failure_and_a_damaged_notebook_are_no_results(look):
    keep(look.kept, ORACLE, status="failed")
    assert said(look([ORACLE])) == ["missing"]
    (look.kept / f"{ORACLE.id}.ipynb").write_text('{"cells": []}')
    (found,) = look([ORACLE])
    assert found.state == "missing"
    assert "expected an executed notebook with a record" in found.why


def test_what_lies_here_comes_before_what_is_kept(look):
    keep(look.kept, ORACLE)
    write_record(look.runs / ORACLE.id, record(ORACLE, code={"oracle": "00000000"}))
    (found,) = look([ORACLE])
    assert (found.state, found.why) == ("stale", "changed since: oracle")
    assert to_do([found]) == []
    assert ids(to_do([found], refresh=True)) == [ORACLE.id]


def test_a_run_has_one_record_the_newest(look):
    write_record(look.runs / ORACLE.id, record(ORACLE))
    keep(look.kept, ORACLE, finished=EARLY)
    assert said(look([ORACLE])) == ["done"]
    keep(look.kept, ORACLE, finished="2026-01-02T00:00:00Z")  # by another machine
    (found,) = look([ORACLE])
    assert (found.state, found.record.finished) == ("kept", "2026-01-02T00:00:00Z")
    write_record(look.runs / ORACLE.id, record(ORACLE, "failed"))
    assert said(look([ORACLE])) == ["kept"], "a failure here does not undo a result elsewhere"


def test_a_run_is_stale_where_what_it_needs_was_executed_again(look):
    keep(look.kept, TRAINED, finished="2026-01-02T00:00:00Z")
    write_record(look.runs / AGAIN.id, record(AGAIN))
    found = look()
    assert said(found) == ["kept", "stale", "missing"]
    assert found[1].why == f"{TRAINED.id} was executed again since"


def test_what_is_only_kept_is_missing_where_what_it_needs_was_executed_again(look):
    keep(look.kept, AGAIN)
    keep(look.kept, ORACLE)
    keep(look.kept, TRAINED, finished="2026-01-02T00:00:00Z")
    found = look()
    assert said(found) == ["kept", "missing", "kept"]
    assert found[1].why == f"what is kept is stale: {TRAINED.id} was executed again since"
    assert ids(to_do(found)) == [TRAINED.id, AGAIN.id], "as what is kept of other code"
    assert stale(look.kept.parent) == {
        run.id: [f"the run {TRAINED.id}"] if run is AGAIN else [] for run in ALL
    }
    write_record(look.runs / TRAINED.id, record(TRAINED, finished="2026-01-03T00:00:00Z"))
    found = look()
    assert said(found) == ["done", "missing", "kept"]
    assert ids(to_do(found)) == [AGAIN.id], "trained here: only scored again"


def test_a_run_is_stale_where_what_it_needs_is(look):
    write_record(look.runs / TRAINED.id, record(TRAINED, code={"evaluate": "00000000"}))
    write_record(look.runs / AGAIN.id, record(AGAIN))
    found = look()
    assert said(found) == ["stale", "stale", "missing"]
    assert found[1].why == f"{TRAINED.id} is stale"
    assert ids(to_do(found, refresh=True)) == [run.id for run in ALL]


def test_failed_and_interrupted_runs_are_told_apart(look):
    write_record(look.runs / ORACLE.id, record(ORACLE, status="failed"))
    (look.runs / TRAINED.id).mkdir(parents=True)
    (look.runs / TRAINED.id / "notebook.ipynb").write_text("{")
    found = look([TRAINED, ORACLE])
    assert [(s.state, s.why) for s in found] == [
        ("missing", "interrupted"),
        ("failed", "it failed"),
    ]
    (look.runs / TRAINED.id / "record.json").write_text('{"version": 1')
    assert "expected a record, the file cannot be read" in look([TRAINED])[0].why
