"""Whatever is changed in committed results is found, and named by file, run and field."""

import json
import os
import re
import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest

from benchmarks.quick_project import make_project
from cellcount_lib.data.datasets import load
from cellcount_lib.methods.score import Scoring, score
from cellcount_lib.records import MIME, Record, as_json, write_record
from cellcount_lib.runs.grid import load_grid
from cellcount_lib.runs.identity import identity_of
from cellcount_lib.runs.leaving import record_of_scoring
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from tests.command import cellcount

ROOT = Path(__file__).resolve().parents[2]
GRID = """
title: Quick
base: {dataset: simulated, protocol: recommended}
seeds: [0, 1]
columns: {f1: F1, mae: MAE}
rows:
  - label: one
    set: {arch: c-resunet}
    published: {f1: 0.8}
  - label: two
    set: {arch: unet}
  - label: oracle
    method: oracle
"""
EARLY = "2026-01-01T00:00:00Z"
TRUE = (4, 6, 5, 4)  # objects of the pictures a, b, c, d


def trained(run, chapter):
    """The record of a network that misses one more object with every seed."""
    seed = run.parameters["seed"]
    rows = [
        {"image": name, "n_true": n, "n_pred": n - 1 - seed, "tp": n - 1 - seed, "fp": 0}
        | {"fn": 1 + seed, "status": "ok", "n_objects_true": n, "n_objects_pred": n - 1 - seed}
        for name, n in zip("abcd", TRUE, strict=True)
    ]
    data = load("simulated", split="train").fingerprint
    return Record(
        status="collapsed" if run.parameters["arch"] == "unet" and seed else "completed",
        reason="",
        chapter=run.chapter,
        parameters=run.parameters,
        identity=identity_of(chapter, run.parameters, data=data),
        protocol="recommended",
        protocol_scale=1.0,
        cutoff=0.5,
        scores=pooled(pd.DataFrame(rows)),
        images=rows,
        history=[],
        seconds={"total": 1.0, "training": 0.5},
        started=EARLY,
    )


def leave(run, record, folder):
    """Leave what a run leaves: the record, and the notebook with its parameters and the record."""
    write_record(folder / run.id, record)
    given = "\n".join(f"{name} = {value!r}" for name, value in run.parameters.items())
    shown = {"output_type": "display_data", "metadata": {}, "data": {MIME: as_json(record)}}
    cells = [
        {"cell_type": "code", "metadata": {"tags": tags}, "source": source, "outputs": outputs}
        for tags, source, outputs in ((["injected-parameters"], given, []), ([], "", [shown]))
    ]
    metadata = {"kernelspec": {"name": "python3"}, "language_info": {}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    (folder / run.id / "notebook.ipynb").write_text(json.dumps(notebook))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Small results: two designs with two seeds each, and a control that was really scored."""
    base = tmp_path_factory.mktemp("made")
    project = make_project(base / "project", GRID)
    shutil.copy(ROOT / "chapters" / "scoring_without_training.ipynb", project / "chapters")
    environment = {"CELLCOUNT_PROJECT": str(project)}

    def command(*arguments):
        with patch.dict(os.environ, environment), chdir(base):
            return cellcount("tables", *arguments)

    with patch.dict(os.environ, environment):
        grid = load_grid("quick", profile="smoke")
        for run in grid.runs:
            if "method" in run.parameters:
                asked = Scoring(**run.parameters)
                record = record_of_scoring(asked, score(asked), begun=EARLY, total=1.0)
            else:
                record = trained(run, project / "chapters" / f"{run.chapter}.ipynb")
            leave(run, record, base / "runs" / "smoke")
    ended = command("quick", "--profile", "smoke")
    assert ended.returncode == 0, ended.stderr
    whole = command("--verify")
    assert "1 tables, 0 differences; 0 of 5 rows are stale" in whole.stdout, whole
    return base / "results" / "smoke", command, grid


def edit(name, old, new, count=1):
    """Replace text in a file of the table; RUN0 to RUN3 are the ids of the trained runs."""

    def change(folder, ids):
        path = folder / named(name, ids)
        text = path.read_text()
        assert named(old, ids) in text, (path, named(old, ids))
        path.write_text(text.replace(named(old, ids), named(new, ids), count))

    return change


def named(text, ids):
    return re.sub(r"RUN(\d)", lambda found: ids[int(found[1])], text)


def record(number, change):
    """Change the record inside a kept notebook."""

    def changed(folder, ids):
        path = folder / "runs" / f"{ids[number]}.ipynb"
        notebook = json.loads(path.read_text())
        change(notebook["cells"][-1]["outputs"][0]["data"][MIME])
        path.write_text(json.dumps(notebook))

    return changed


def both(*changes):
    def change(folder, ids):
        for one in changes:
            one(folder, ids)

    return change


def swapped(name, first, second):
    return both(edit(name, first, "?!"), edit(name, second, first), edit(name, "?!", second))


def put(field, value):
    return lambda kept: kept.__setitem__(field, value)


def row(number, **values):
    return lambda kept: kept["images"][number].update(values)


def swap_pictures(kept):
    a, b = kept["images"][:2]
    a["image"], b["image"] = "b", "a"


def one_notebook_for_another(folder, ids):
    shutil.copy(folder / "runs" / f"{ids[0]}.ipynb", folder / "runs" / f"{ids[2]}.ipynb")


def without(run, picture=""):
    """Take a run, or a picture of it, out of the CSV files."""

    def change(folder, ids):
        for name in ("quick.csv", "quick-images.csv"):
            lines = (folder / name).read_text().splitlines()
            (folder / name).write_text(
                "\n".join(x for x in lines if ids[run] + picture not in x) + "\n"
            )

    return change


def gone(name):
    return lambda folder, ids: (folder / named(name, ids)).unlink()


A, B = "RUN0,a,4,3,3,0,1,ok", "RUN0,b,6,5,5,0,1,ok"
TAMPERINGS = {
    "counts swapped between two pictures": (
        swapped("quick-images.csv", "RUN0,a,", "RUN0,b,"),
        "quick-images.csv: RUN0, .: n_true: it is '.', expected '.' as in its notebook",
    ),
    "a true positive moved to another picture": (
        both(
            edit("quick-images.csv", A, "RUN0,a,4,4,4,0,0,ok"),
            edit("quick-images.csv", B, "RUN0,b,6,4,4,0,2,ok"),
        ),
        "quick-images.csv: RUN0, a: tp: it is '4', expected '3' as in its notebook",
    ),
    "a status rewritten": (
        edit("quick.csv", "collapsed", "completed"),
        "quick.csv: two, RUN3: status: it is 'completed', expected 'collapsed'",
    ),
    "a score": (
        edit("quick.csv", "0.882352", "0.882353"),
        "quick.csv: one, RUN0: f1: it is '0.882353",
    ),
    "a cutoff": (
        edit("quick.csv", ",completed,,0.5,", ",completed,,0.6,"),
        "quick.csv: one, RUN0: cutoff: it is '0.6', expected '0.5'",
    ),
    "a seed": (edit("quick.csv", "one,1,", "one,2,"), "quick.csv: 'one', seed 2: the grid asks"),
    "a dataset": (
        edit("quick.csv", "RUN1,simulated,", "RUN1,fnc-v1,"),
        "quick.csv: one, RUN1: dataset: it is 'fnc-v1', expected 'simulated'",
    ),
    "a protocol": (
        edit("quick.csv", ",recommended,", ",morelli2021,"),
        "quick.csv: one, RUN0: protocol: it is 'morelli2021'",
    ),
    "the time a training took": (
        edit("quick.csv", ",0.5,", ",0.25,", 2),
        "quick.csv: one, RUN0: seconds: it is '0.25', expected '0.5'",
    ),
    "a label moved to another run": (
        swapped("quick.csv", "one,0,", "two,0,"),
        "quick.csv: RUN0: label: it is 'two', seed 0; in the grid this run is 'one', seed 0",
    ),
    "a run that stands there twice": (
        lambda folder, ids: (folder / "quick.csv").write_text(
            (text := (folder / "quick.csv").read_text()) + text.splitlines()[1] + "\n"
        ),
        "quick.csv: 'one', seed 0: it is there 2 times",
    ),
    "a run taken out": (without(1), r"quick.json: missing: it is \[\], expected \['one, seed 1:"),
    "a run taken out, and called missing": (
        both(without(1), edit("quick.json", '"missing": []', '"missing": ["one, seed 1: x"]')),
        "runs/RUN1.ipynb: it stands in no table",
    ),
    "a picture taken out": (
        without(0, ",c,"),
        "quick-images.csv: RUN0, c: expected this row, found none",
    ),
    "a notebook taken out": (gone("runs/RUN0.ipynb"), "RUN0.ipynb: expected a record, found noth"),
    "a file taken out": (gone("quick.tex"), "quick.tex: expected it beside the table's other"),
    "a notebook in place of another": (
        one_notebook_for_another,
        "runs/RUN2.ipynb: its record is that of the run RUN0",
    ),
    "a picture's row in a kept notebook": (
        record(0, row(0, tp=4, fn=0, n_pred=4, n_objects_pred=4)),
        "runs/RUN0.ipynb: scores: tp: it is 15, 16 from its pictures",
    ),
    "a picture's row in a kept notebook, and its sums": (
        record(0, lambda kept: (row(0, tp=4, fn=0)(kept), row(1, tp=4, fn=2)(kept))),
        "quick-images.csv: RUN0, a: tp: it is '3', expected '4' as in its notebook",
    ),
    "counts swapped between two pictures in notebook and table": (
        both(record(0, swap_pictures), swapped("quick-images.csv", "RUN0,a,", "RUN0,b,")),
        "images: [ab]: . true objects, . in simulated",
    ),
    "a row that does not add up": (record(0, row(2, n_objects_true=9)), "RUN0.*c: tp . fn is not"),
    "a status in a kept notebook": (
        record(3, put("status", "completed")),
        "quick.csv: two, RUN3: status: it is 'collapsed', expected 'completed'",
    ),
    "a cutoff in a kept notebook": (
        record(0, put("cutoff", 0.9)),
        "quick.csv: one, RUN0: cutoff: it is '0.5', expected '0.9'",
    ),
    "a parameter in a kept notebook": (
        record(0, lambda kept: kept["parameters"].update(loss="dice")),
        "runs/RUN0.ipynb: parameters: loss: 'dice' in its record, None where it was given",
    ),
    "a seed in a kept notebook": (
        record(0, lambda kept: kept["parameters"].update(seed=7)),
        "runs/RUN0.ipynb: its record is that of the run .*seed7",
    ),
    "a machine in a kept notebook": (
        record(0, lambda kept: kept["machine"].update(processor="another")),
        "quick.csv: one, RUN0: processor: .* expected 'another'",
    ),
    "a digit in Markdown": (edit("quick.md", "0.808", "0.809"), "quick.md: line . is not what"),
    "a digit in HTML": (edit("quick.html", "0.808", "0.809"), "quick.html: line . is not what"),
    "a digit in LaTeX": (edit("quick.tex", "0.808", "0.809"), "quick.tex: line . is not what"),
    "a link": (edit("quick.md", "RUN0.ipynb", "RUN1.ipynb"), "quick.md: line . is not what"),
    "a published value": (
        edit("quick.json", '"f1": 0.8', '"f1": 0.9'),
        "quick.json: published: one: f1: it is 0.9, expected 0.8",
    ),
    "a title of a column": (
        edit("quick.json", '"mae": "MAE"', '"mae": "F1"'),
        "quick.json: columns: mae: it is 'F1', expected 'MAE'",
    ),
    "the seeds of the plan": (
        edit("quick.json", '"seeds": null', '"seeds": [0]'),
        "quick.csv: 'one', seed 1: the grid asks for no such row",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampering_is_found_and_named(made, name, tmp_path):
    folder, command, grid = made
    ids = [run.id for run in grid.runs]
    place = tmp_path / "results" / "smoke"
    shutil.copytree(folder, place)
    change, expected = TAMPERINGS[name]
    change(place, ids)
    ended = command("--verify", "--out", tmp_path / "results")
    assert ended.returncode == 1, ended.stdout
    assert re.search(named(expected, ids), ended.stderr), ended.stderr
    assert re.search(r"[1-9]\d* differences", ended.stdout)


def control(folder, grid):
    (run,) = [run for run in grid.runs if "method" in run.parameters]
    path = folder / "runs" / f"{run.id}.ipynb"
    rows = json.loads(path.read_text())["cells"][-1]["outputs"][0]["data"][MIME]["images"]
    return run, path, max(rows, key=lambda r: r["n_true"])["image"]


def test_a_control_is_scored_again(made, tmp_path):
    """Its notebook and all tables say the same, but it is not what the oracle gives."""
    folder, command, grid = made
    place = tmp_path / "results" / "smoke"
    shutil.copytree(folder, place)
    run, path, picture = control(place, grid)
    notebook = json.loads(path.read_text())
    kept = notebook["cells"][-1]["outputs"][0]["data"][MIME]
    rows = {r["image"]: r for r in kept["images"]}
    largest, other = rows.pop(picture), next(r for r in rows.values() if r["tp"])
    for one in (largest, other):
        one.update(tp=one["tp"] - 1, fp=one["fp"] + 1, fn=one["fn"] + 1)
    kept["scores"] = pooled(pd.DataFrame(kept["images"]))
    path.write_text(json.dumps(notebook))
    out = ("--out", tmp_path / "results")
    assert command("--render", *out).returncode == 0
    ended = command("--verify", *out)
    assert ended.returncode == 1
    was = largest["tp"]
    expected = f"runs/{run.id}.ipynb: images: {picture}: tp: it is {was}, scored again {was + 1}"
    assert expected in ended.stderr
    assert f"images: {other['image']}: tp" not in ended.stderr, "one picture, unless more is asked"
    whole = command("--verify", "--rescore", *out)
    assert f"images: {other['image']}: tp: it is {other['tp']}, scored again" in whole.stderr


def test_a_protocol_that_changed_gives_a_control_other_scores(made, monkeypatch):
    _, command, grid = made
    run, _, picture = control(made[0], grid)
    strict = replace(protocol("recommended").primary, threshold=0.99)
    changed = replace(protocol("recommended"), primary=strict)
    monkeypatch.setattr("cellcount_lib.tables.rescore.protocol", lambda name: changed)
    ended = command("--verify")
    assert ended.returncode == 1
    assert f"runs/{run.id}.ipynb: images: {picture}: tp: it is" in ended.stderr


def test_a_row_that_the_grid_asks_for_otherwise_is_stale(made, tmp_path):
    folder, command, _ = made
    project = folder.parents[1] / "project"
    path = project / "experiments" / "quick.yaml"
    before = path.read_text()
    path.write_text(before.replace("arch: unet", "arch: unet, loss: dice"))
    try:
        ended = command("--verify")
    finally:
        path.write_text(before)
    assert ended.stdout.count("quick: stale: two, seed") == 2
    assert "changed since: the grid: loss ('dice', was None)" in ended.stdout
    assert "0 differences; 2 of 5 rows are stale" in ended.stdout
