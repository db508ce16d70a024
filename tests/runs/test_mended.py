"""Mends: a spared run stays current, others do not, and none is listed for nothing."""

from dataclasses import replace

import pytest

from cellcount_lib.fingerprint import closure
from cellcount_lib.records import read_record
from cellcount_lib.runs.grid import load_grid, project
from cellcount_lib.runs.mended import MENDED, Mend, as_now
from cellcount_lib.runs.status import differences
from cellcount_lib.tables.committed import table

TABLE1 = {"recipe": "morelli2021", "profile": "study", "epochs": None, "weight_map": None}
KEPT = project() / "results" / "laptop" / "runs"


def test_mends_are_followed_in_their_order():
    mends = (Mend("f", "1", "2", ""), Mend("g", "1", "9", ""), Mend("f", "2", "3", ""))
    assert [as_now("f", old, {}, mends) for old in "1234"] == ["3", "3", "3", "4"]
    assert as_now("g", "1", {}, mends) == "9"
    assert as_now("h", "1", {}, mends) == "1"


def test_every_mend_leads_to_what_there_is_now():
    now = closure(("score", "train_command")) | closure(("identity",))
    assert {mend.name for mend in MENDED} <= set(now)
    for mend in MENDED:
        spared = {"dataset": "simulated", "run": None}
        assert as_now(mend.name, mend.before, spared) == now[mend.name]
        assert mend.why


@pytest.mark.parametrize(
    ("name", "parameters", "spared"),
    [
        ("Batches", {"dataset": "patches:5:simulated"}, False),
        ("Batches", {"dataset": "patches:8:simulated"}, True),
        ("Batches", {"dataset": "patches:55:simulated"}, True),
        ("Batches", {"dataset": "simulated"}, True),
        ("_predict_mean", {"dataset": "patches:55:simulated"}, False),
        ("_predict_mean", {"dataset": "simulated"}, True),
        ("apply", {"run": "simulated-c-resunet-three-class-4-seed0-1"}, False),
        ("_home", {"run": "simulated-c-resunet-flows-seed0-1"}, False),
        ("apply", {"run": "simulated-c-resunet-focal-tversky-seed0-1"}, True),
        ("Recipe", {"recipe": "recommended"}, True),
        ("Recipe", {"recipe": "morelli2021", "profile": "laptop", "epochs": None}, True),
        ("Recipe", {"recipe": "morelli2021", "profile": "laptop", "epochs": 8}, False),
        ("Recipe", TABLE1 | {"arch": "unet", "seed": 3}, True),
        ("Recipe", TABLE1 | {"arch": "unet", "seed": 3, "weight_map": False}, False),
        ("Recipe", TABLE1 | {"arch": "c-resunet", "seed": 3}, False),
    ],
)
def test_only_runs_that_did_not_meet_the_mistake_are_spared(name, parameters, spared):
    mends = [one for one in MENDED if one.name == name]
    assert (as_now(name, mends[0].before, parameters) == mends[-1].after) is spared


@pytest.mark.parametrize(("profile", "epochs"), [("laptop", 4), ("study", 16)])
def test_a_new_stop_spares_only_trainings_that_had_all_their_epochs(profile, epochs):
    runs = table("table1", profile).results.runs.dropna(subset="epochs")
    designs = load_grid("table1", profile=profile).rows
    parameters = {run.id: run.parameters for row in designs for run in row.runs}
    spared = [as_now("Recipe", "93b5f88c", parameters[name]) != "93b5f88c" for name in runs["run"]]
    assert runs.loc[spared, "epochs"].eq(epochs).all()
    assert sum(spared) == (len(runs) if profile == "laptop" else 4)


def test_a_record_from_before_a_mend_is_current_where_it_is_spared():
    path = min(KEPT.glob("simulated-nuclei-medium-c-resunet-recommended-seed0-*.ipynb"))
    record = read_record(path)
    chapter = project() / "chapters" / f"{record.chapter}.ipynb"
    (mend,) = (one for one in MENDED if one.name == "Batches")
    code = record.identity["code"]
    before = replace(record, identity=record.identity | {"code": code | {"Batches": mend.before}})
    assert differences(before, chapter, data=None) == []
    other = replace(before, identity=record.identity | {"code": code | {"Batches": "another"}})
    assert differences(other, chapter, data=None) == ["Batches"]
