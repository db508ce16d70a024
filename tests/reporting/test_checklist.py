"""The checklist of records, and what it must not say."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.data.datasets import load
from cellcount_lib.data.images import write_labels, write_png
from cellcount_lib.errors import DataError, InputError
from cellcount_lib.records import read_record, write_record
from cellcount_lib.reporting.checklist import ASKED, SECTIONS, to_markdown
from cellcount_lib.reporting.evidence import Evidence, read_columns
from cellcount_lib.reporting.known import read_run, read_runs
from cellcount_lib.reporting.leakage import across, same_files, units
from cellcount_lib.reporting.score_answers import counted
from cellcount_lib.scoring.stats import interval
from cellcount_lib.tables.committed import table
from cellcount_lib.tables.compare import row_counts
from tests.command import cellcount

RESULTS = Path(__file__).parents[2] / "results"
DICE = table("losses", "study").results.runs.query("label == 'Dice'")
RUNS = [RESULTS / "study" / "runs" / f"{run}.ipynb" for run in DICE["run"]]


def lines(text):
    return dict(re.findall(r"^- \*\*(.+?)\*\* (.*)$", text, re.M))


@pytest.fixture(scope="module")
def answered():
    """The answers of three trainings, by item."""
    return lines(to_markdown(Evidence(read_runs(RUNS))))


def test_every_item_stands_in_it_once_and_says_something(answered):
    names = [item.name for items in SECTIONS.values() for item in items]
    assert list(answered) == names
    for name, said in answered.items():
        assert re.fullmatch(r"\((?:CLAIM|REFORMS|Metrics Reloaded)[^)]*\)\. .+", said), name


def test_it_repeats_the_record_and_the_table(answered):
    record = read_record(RUNS[0])
    seeds = ", ".join(map(str, sorted(DICE["seed"])))
    assert f"{seeds} ({len(DICE)} trainings)" in answered["Seeds"]
    assert record.versions["torch"] in answered["Software"]
    assert record.machine["processor"] in answered["Machine and time"]
    assert record.identity["data"] in answered["Source"]
    assert "learning rate 0.001" in answered["Optimiser and steps"]
    assert "16 of at most 16 epochs, each of 90 steps of 8 crops" in answered["Optimiser and steps"]
    assert "1,707,287" in answered["Architecture"]  # as S3 prints
    # the same runs in the committed table, which was collected on another way
    results = table("losses", "study").results
    low, high = interval(row_counts(DICE, results.images), "f1")
    wanted = f"F1 {DICE['f1'].mean():.3f} ({low:.3f} to {high:.3f})"
    assert wanted in answered["Scores with intervals"]


def test_one_run_has_an_interval_over_pictures_and_says_that_it_is_one():
    (run,) = runs = read_runs(RUNS[:1])
    said = lines(to_markdown(Evidence(runs)))["Scores with intervals"]
    tp, fp, fn = (run.images[name].sum() for name in ("tp", "fp", "fn"))
    assert f"F1 {2 * tp / (2 * tp + fp + fn):.3f} (" in said
    off = (run.images["n_objects_pred"] - run.images["n_objects_true"]).abs().mean()
    assert f"mean absolute error of the count {off:.3f}" in said, "objects, not the released rule"
    assert "another training would score otherwise" in said


def test_two_trainings_have_no_interval():
    said = lines(to_markdown(Evidence(read_runs(RUNS[:2]))))["Scores with intervals"]
    assert " to " not in said
    assert "too few" in said


def test_what_is_not_trained_says_so():
    (path,) = (RESULTS / "laptop" / "runs").glob("simulated-predict-zero-recommended-*.ipynb")
    said = lines(to_markdown(Evidence([read_run(path)])))
    for item in ("Architecture", "Loss", "Optimiser and steps", "Selection of the model"):
        assert "Not trained: `predict-zero`, always answers 0." in said[item]
    assert "recall 0.000" in said["Scores with intervals"]
    assert "epoch" not in said["Use of the test pictures"]


def test_a_failed_run_has_a_reason_and_no_scores(tmp_path):
    record = read_record(RUNS[0])
    why = "DataError: /home/ada/cells/a.png: it is empty"
    failed = replace(record, status="failed", reason=why, images=[], scores={}, history=[])
    write_record(tmp_path, replace(failed, cutoff=None, choice={}, lr=None))
    said = lines(to_markdown(Evidence([read_run(tmp_path)])))
    assert "Seed 0 failed: DataError: a.png: it is empty" in said["Failures"]
    assert said["Scores with intervals"].partition("). ")[2].startswith(ASKED)
    assert "learning rate" not in said["Optimiser and steps"]


def test_what_cannot_be_one_design_is_refused():
    other = RESULTS / "study" / "runs" / f"{table('losses', 'study').results.runs['run'][0]}.ipynb"
    assert other not in RUNS
    with pytest.raises(InputError, match="nothing else to differ, found loss"):
        read_runs([RUNS[0], other])
    with pytest.raises(InputError, match="not even the seed"):
        read_runs([RUNS[0], RUNS[0]])


def test_mistakes_are_one_sentence(tmp_path):
    (tmp_path / "counts.csv").write_text("image,count\na,1\n")
    with pytest.raises(DataError, match=r"training\.json in the folder, found counts\.csv"):
        read_run(tmp_path)
    with pytest.raises(DataError, match=r"\['status', 'check'\] missing"):
        read_columns(tmp_path / "counts.csv", "count", "status", "check")
    (tmp_path / "training.json").write_text('{"status": "completed"}')
    done = cellcount("report", "checklist", tmp_path, "--out", tmp_path / "list.md")
    assert done.returncode == 1
    assert "expected the summary of a training" in done.stderr
    assert not (tmp_path / "list.md").exists()


@pytest.mark.parametrize(("check", "flagged"), [("", 0), ("no cells found", 1)])
def test_counts_say_how_many_failed_and_how_many_to_look_at(tmp_path, check, flagged):
    rows = ("a.png,3,nuclei,,ok", f"b.png,0,nuclei,{check},ok", "c.png,,,,failed")
    table = tmp_path / "counts.csv"
    table.write_text("\n".join(["image,count,model,check,status", *rows]))
    counts = read_columns(table, "count", "status", "check")
    said = counted(Evidence([read_run(RUNS[0])], counts=counts))
    assert "2 pictures with 3 cells" in said
    assert f"1 could not be counted, {flagged} have a reason" in said
    assert "`model`: nuclei" in said


@pytest.fixture
def leaky(tmp_path):
    """Four pictures of three animals: one picture is there twice, one animal is in two parts."""
    pictures = [np.full((40, 40, 3), value, np.uint8) for value in (10, 20, 10, 30)]
    rows = []
    for number, (pixels, animal, part) in enumerate(
        zip(pictures, ("a", "b", "c", "b"), ("train", "train", "test", "val"), strict=True)
    ):
        write_png(tmp_path / f"{number}.png", pixels)
        write_labels(tmp_path / f"l{number}.png", np.ones((40, 40), np.int32))
        rows.append((f"{number}.png", f"l{number}.png", animal, part))
    columns = ["image", "label", "animal", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "index.csv", index=False)
    return tmp_path


def test_leakage_is_found(leaky):
    data = load(f"folder:{leaky}")
    assert across(units(data, "animal")) == ["b"]
    assert across(same_files(data, leaky)) == ["0"]
    with pytest.raises(
        InputError, match=r"expected a column of index\.csv, found 'slide'; it has an"
    ):
        units(data, "slide")


def test_leakage_stands_in_the_checklist_while_the_data_are_those_of_the_run(leaky):
    name = f"folder:{leaky}"
    run = replace(
        read_run(RUNS[0]),
        parameters={**read_run(RUNS[0]).parameters, "dataset": name},
        data=load(name).fingerprint,
        record=None,
    )
    said = lines(to_markdown(Evidence([run], unit="animal")))
    assert "**leakage**: b in two parts" in said["Animals, slides or days in two parts"]
    assert "**Leakage**: 0" in said["Pictures in two parts"]
    assert "2 train, 1 val, 1 test" in said["Sample size"]
    write_png(leaky / "1.png", np.full((40, 40, 3), 21, np.uint8))
    said = lines(to_markdown(Evidence([run], unit="animal")))
    assert "is not what the run saw" in said["Source"]
    assert ASKED in said["Animals, slides or days in two parts"]
