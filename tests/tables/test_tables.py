"""Tables from records, on numbers that are worked out by hand or by a plain loop."""

import json
import os
import re
import shutil
from contextlib import chdir
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from benchmarks.quick_project import make_project
from cellcount_lib.runs.grid import NETWORK, WITHOUT, Grid, Row, Run
from cellcount_lib.scoring.cutoff import NO_KNEE
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.tables.collect import from_csv, scores, to_csv
from cellcount_lib.tables.formats import to_latex
from cellcount_lib.tables.kept import lean, public_name
from cellcount_lib.tables.render import tables
from tests.command import cellcount
from tests.tables.made_results import BAD, GOOD, images, results

ROOT = Path(__file__).resolve().parents[2]


def test_the_counting_error_of_objects_under_the_released_rule():
    rows = images("x", [3, 4]).assign(
        n_objects_true=[10, 10], n_objects_pred=[0, 25], tp_iou=0, fp_iou=0, fn_iou=10
    )
    assert scores(rows, "clissa2023")["mae_objects"] == (10 + 15) / 2
    assert scores(rows, "clissa2023-corrected")["mae_objects"] == scores(rows, "clissa2023")["mae"]


def test_tidy_files_come_back_to_the_last_digit():
    made = results(a=[GOOD, [t - 1 for t in GOOD]])
    made.runs.loc[0, "cutoff"] = 0.1 + 0.2
    runs, pictures = from_csv(to_csv(made.runs)), from_csv(to_csv(made.images))
    for column in made.runs:
        if made.runs[column].dtype.kind == "f":
            np.testing.assert_array_equal(runs[column], made.runs[column])
    assert pooled(pictures[pictures["run"] == "a0"])["f1"] == made.runs["f1"][0]
    assert to_csv(runs) == to_csv(made.runs)


def test_a_folder_of_somebody_is_named_without_its_place():
    assert public_name("folder:/home/me/secret/cells") == "folder:cells"
    assert public_name("simulated") == "simulated"
    assert public_name("patches:5:folder:/a/b+folder:/c/d") == "patches:5:folder:b+folder:d"


def test_a_kept_notebook_has_no_pictures_and_no_places():
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "words"},
        {
            "cell_type": "code",
            "metadata": {"tags": ["injected-parameters"], "papermill": {"duration": 1}},
            "source": 'seed = 3\nout = "/home/me/runs/x"\nroot = "/data"\n'
            'dataset = "patches:5:folder:/home/me/cells"',
            "outputs": [],
        },
        {
            "cell_type": "code",
            "metadata": {},
            "source": "plot()",
            "outputs": [
                {
                    "output_type": "display_data",
                    "data": {"image/png": "iVBOR", "text/plain": "<Figure>"},
                    "metadata": {},
                },
                {"output_type": "stream", "name": "stdout", "text": "F1 0.5"},
                {"output_type": "stream", "name": "stderr", "text": "/home/me/x.py: careful"},
                {
                    "output_type": "error",
                    "ename": "DataError",
                    "evalue": "/home/me/data/a.png: empty",
                    "traceback": ["/home/me/lib.py"],
                },
            ],
        },
    ]
    metadata = {"kernelspec": {"name": "python3"}, "language_info": {}, "papermill": {"path": "/x"}}
    text = json.dumps(lean({"cells": cells, "metadata": metadata, "nbformat": 4}))
    assert "iVBOR" not in text
    assert "/home" not in text
    assert "/data" not in text
    assert "papermill" not in text
    assert "seed = 3" in text
    assert "F1 0.5" in text
    assert "left out" in text
    assert "a.png: empty" in text


# --- the command, on real records ----------------------------------------------------------------


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """Run the quick grid once and make its tables."""
    base = tmp_path_factory.mktemp("tables")
    project = make_project(base / "project")
    environment = {"CELLCOUNT_PROJECT": str(project), "PYTHONPATH": str(ROOT)}

    def command(*arguments):
        with patch.dict(os.environ, environment), chdir(base):
            return cellcount(*arguments)

    early = command("tables", "quick", "--profile", "smoke")
    assert command("run", "quick", "--profile", "smoke", "--seeds", "0").returncode == 0
    partly = command("tables", "quick", "--profile", "smoke")
    allowed = command("tables", "quick", "--profile", "smoke", "--allow-missing", "--out", "partly")
    assert command("run", "quick", "--profile", "smoke").returncode == 0
    whole = command("tables", "quick", "--profile", "smoke")
    return base, command, early, partly, allowed, whole


def test_missing_runs_are_an_error_or_a_cell(collected):
    base, _, early, partly, allowed, whole = collected
    assert early.returncode == 1
    assert "4 runs of quick are not there" in early.stderr
    assert "run them: cellcount run quick --profile smoke" in early.stderr
    assert partly.returncode == 1
    assert "2 runs of quick are not there" in partly.stderr
    assert allowed.returncode == 0, allowed.stderr
    assert "1 of 2" in (base / "partly" / "smoke" / "quick.md").read_text()
    assert whole.returncode == 0, whole.stderr
    assert "missing" not in (base / "results" / "smoke" / "quick.md").read_text()


def test_the_table_says_what_the_records_say(collected):
    base = collected[0]
    text = (base / "results" / "smoke" / "quick.md").read_text()
    # tp of picture i with seed s is 4 - (i + s) % 3: 3 + 3 missed of 24 in any order
    f1 = 2 * 18 / (2 * 18 + 6)
    line = next(row for row in text.splitlines() if row.startswith("| one"))
    assert f"| 0.800 | {f1:.3f} ± 0.000 |" in line
    assert f"| {f1 - 0.8:+.3f} |" in line
    two = next(row for row in text.splitlines() if row.startswith("| two"))
    last = [c.strip() for c in two.split("|")][-6:-1]
    # runs, pictures, collapsed, learning rates, time
    assert last == ["2", "6 (few)", "1", "0.001 to 0.002", "0 s"]
    for place in re.findall(r"\((runs/[^)]+)\)", line):
        assert (base / "results" / "smoke" / place).exists()
    assert line.count("runs/") == 2
    assert "1.00" in next(row for row in text.splitlines() if row.startswith("| one |"))
    for extension in ("html", "tex"):
        assert f"{f1:.3f}" in (base / "results" / "smoke" / f"quick.{extension}").read_text()


def test_render_makes_the_tables_again_from_their_notebooks(collected):
    base, command, *_ = collected
    folder = base / "results" / "smoke"
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    (folder / "quick.md").write_text("old")
    (folder / "quick.csv").write_text((folder / "quick.csv").read_text().replace("0.85", "0.95"))
    (folder / "quick.tex").unlink()
    ended = command("tables", "--verify")
    assert ended.returncode == 1
    assert "cellcount tables --render" in ended.stderr
    ended = command("tables", "--render")
    assert ended.returncode == 0, ended.stderr
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    nothing = command("tables", "other", "--render")
    assert nothing.returncode == 1
    assert "expected collected tables, found none" in nothing.stderr
    both = command("tables", "--render", "--verify")
    assert both.returncode != 0
    assert "give --verify or --render" in both.stderr


def test_a_table_of_some_rows_stays_a_table_of_these_rows(collected):
    base, command, *_ = collected
    asked = ("tables", "quick", "--profile", "smoke", "--rows", "two", "--out", "some")
    assert command(*asked).returncode == 0
    made = base / "some" / "smoke" / "quick.md"
    rows = [line for line in made.read_text().splitlines() if line.startswith(("| one", "| two"))]
    assert rows
    assert all(line.startswith("| two") for line in rows)
    before = made.read_text()
    made.write_text("old")
    for flag in ("--render", "--verify"):
        ended = command("tables", flag, "--out", "some")
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert made.read_text() == before
    none = command(*asked[:-3], "three", "--out", "some")
    assert none.returncode != 0
    assert "expected a part of a label" in none.stderr


def test_some_rows_are_put_into_the_table_that_is_there(collected):
    base, command, *_ = collected

    def files(folder):
        return {path.name: path.read_text() for path in (base / folder / "smoke").glob("quick*")}

    asked = ("tables", "quick", "--profile", "smoke")
    whole = files("results")
    for word in ("one", "two", "one"):  # of a whole table, and of one that grows
        for out in ("results", "grows"):
            assert command(*asked, "--rows", word, "--out", out).returncode == 0
    assert files("results") == whole
    grown, plan = files("grows"), json.loads(files("grows")["quick.json"])
    assert plan == json.loads(whole["quick.json"]) | {"rows": ["one", "two"]}
    for ending in (".csv", "-images.csv", ".md"):
        assert grown[f"quick{ending}"] == whole[f"quick{ending}"], ending
    first = ("--seeds", "0", "--rows", "two", "--out")
    other = command(*asked, *first, "grows")
    assert other.returncode != 0
    assert "expected its seeds (the default), found [0]" in other.stderr
    assert files("grows") == grown
    assert command(*asked, *first, "early").returncode == 0
    assert command("tables", "--verify", "--out", "grows").returncode == 0


def test_a_table_with_missing_runs_takes_the_rows_that_are_there_now(collected):
    base, command, *_ = collected
    out = base / "lacks" / "smoke"
    shutil.copytree(base / "partly" / "smoke", out)
    before = json.loads((out / "quick.json").read_text())["missing"]
    assert [name[:11] for name in before] == ["one, seed 1", "two, seed 1"]
    asked = ("tables", "quick", "--profile", "smoke", "--rows", "two", "--out", "lacks")
    ended = command(*asked)
    assert ended.returncode == 1
    assert "1 runs of quick are not there" in ended.stderr
    assert command(*asked, "--allow-missing").returncode == 0
    assert json.loads((out / "quick.json").read_text())["missing"] == before[:1]
    text = (out / "quick.md").read_text().splitlines()
    assert "1 of 2" in next(row for row in text if row.startswith("| one"))
    assert "1 of 2" not in next(row for row in text if row.startswith("| two"))


def test_learning_rates_have_a_column_where_they_differ():
    found = results(a=[(5, 5), (6, 6)], b=[(7, 3), (7, 3)], otsu=[(1, 1)])
    runs = (Run(NETWORK, {"profile": "smoke"}),)
    grid = Grid(
        "g", "G", "", "", {"f1": "F1"}, tuple(Row(name, {}, runs) for name in ("a", "b", "otsu"))
    )

    def column(*rates):
        found.runs["lr"] = rates
        table = tables(grid, found)[0]
        if "learning rate" not in table.header:
            return None
        return [row[table.header.index("learning rate")].text for row in table.rows]

    assert column(1e-3, 1e-3, 1e-3, 1e-3, np.nan) is None
    assert column(1e-3, 1e-3, 2e-3, 2e-3, np.nan) == ["0.001", "0.002", ""]
    assert column(0.00013, 0.0051, 1e-3, 1e-3, np.nan) == ["0.00013 to 0.0051", "0.001", ""]


def test_epochs_have_a_column_where_they_differ_and_a_note_where_a_recipe_stopped():
    made = results(a=[GOOD] * 3, b=[GOOD, BAD, None], otsu=[GOOD])
    runs = (Run(NETWORK, {"profile": "smoke"}),)
    grid = Grid(
        "g", "G", "", "", {"f1": "F1"}, tuple(Row(name, {}, runs) for name in ("a", "b", "otsu"))
    )

    def said(*epochs, stopped=(), later=()):
        made.runs["epochs"] = epochs
        made.runs["reason"] = ""
        for wait, ended in ((2, stopped), (10, later)):
            made.runs.loc[list(ended), "reason"] = f"no gain in valid_loss for {wait} epochs"
        table = tables(grid, made)[0]
        notes = [note for note in table.notes if "ended by their recipe" in note]
        if "epochs" not in table.header:
            return None, notes
        return [row[table.header.index("epochs")].text for row in table.rows], notes

    none = np.nan
    assert said(4, 4, 4, 4, 4, none, none) == (None, [])
    assert said(8, 4, 16, 16, 16, none, none) == (["4 to 16", "16", ""], [])
    column, (note,) = said(8, 4, 16, 5, 16, none, none, stopped=(0, 1, 3))
    assert column == ["4 to 16", "5 to 16", ""]
    stop = "were ended by their recipe, which stops where validation pictures show no gain"
    assert note == f"3 of 5 trainings {stop} for 2 epochs."
    _, (note,) = said(8, 4, 16, 12, 16, none, none, stopped=(0, 1), later=(3,))
    assert note == f"3 of 5 trainings {stop} for 2 epochs (a) or 10 epochs (b)."
    _, (note,) = said(8, 4, 16, 12, 16, none, none, stopped=(0, 3), later=(1,))
    assert note == f"3 of 5 trainings {stop} for 2 epochs (a; b) or 10 epochs (a)."


def test_a_cutoff_on_an_edge_and_a_curve_without_knee_are_marked():
    runs = (Run(NETWORK, {"profile": "smoke"}),) * 3
    grid = Grid("g", "G", "", "", {"f1": "F1"}, tuple(Row(name, {}, runs) for name in "ab"))
    made = results(a=[GOOD] * 3, b=[GOOD] * 3)
    plain = tables(grid, made)
    made.runs["cutoff_edge"] = ["lowest", "", "highest", "", "", ""]
    made.runs["cutoff_rule"] = ["argmax", "argmax", NO_KNEE, "knee", "knee", "knee"]
    marked, *_ = tables(grid, made)
    column = marked.header.index("runs")
    assert [row[column].text for row in marked.rows] == ["3 (2 †, 1 ‡)", "3"]
    assert [row[column].text for row in plain[0].rows] == ["3", "3"]
    assert [n[0] for n in marked.notes if n not in plain[0].notes] == ["†", "‡"]
    assert r"3 (2 \dag{}, 1 \ddag{})" in to_latex([marked])


def test_runs_of_another_machine_say_so():
    runs = (Run(NETWORK, {"profile": "smoke"}),) * 2
    grid = Grid("g", "G", "", "", {"f1": "F1"}, tuple(Row(name, {}, runs) for name in "ab"))
    made = results(a=[GOOD] * 2, b=[GOOD] * 2)
    alike, *_ = tables(grid, made, notebook=str)
    assert alike.notes[-1] == "Run on CPU; torch 2."
    made.runs.loc[3, "gpu"] = "H100"
    mixed, *_ = tables(grid, made, notebook=str)
    assert mixed.notes[-2:] == (
        "Run on CPU; torch 2.",
        "§ Run on H100; torch 2, which gives other digits: b (seed 1).",
    )
    assert [name for row in mixed.rows for name, _ in row[0].links] == ["0", "1", "0", "1 §"]
    made.runs["data"] = "8baf40"
    made.runs.loc[0, "data"] = "23f272"  # the pictures were drawn by another version
    drawn, *_ = tables(grid, made, notebook=str)
    assert (
        "§ Run on CPU; torch 2; data 23f272, which gives other digits: a (seed 0)." in drawn.notes
    )
    assert "Run on CPU; torch 2; data 8baf40." in drawn.notes
    made.runs.loc[0, ["data", "status"]] = "", "failed"  # no data, and no digits at all
    failed, *_ = tables(grid, made, notebook=str)
    assert failed.notes[-2:] == mixed.notes[-2:]
    made.runs.loc[0, "gpu"] = "H100"
    assert tables(grid, made, notebook=str)[0].notes[-1] == mixed.notes[-1]


def grid_of(*rows, published_on=(), columns=("f1",)):
    columns = {name: name.upper() for name in columns}
    return Grid("g", "G", "", "", columns, rows, published_on=published_on)


def trainings(number, dataset="simulated"):
    return (Run(NETWORK, {"profile": "smoke", "dataset": dataset}),) * number


def test_columns_of_published_values_are_there_where_there_are_any():
    made = results(a=[(5, 5)], b=[(7, 3)])

    def header(a, b, **options):
        rows = Row("a", a, trainings(1)), Row("b", b, trainings(1, "simulated:nuclei"))
        return tables(grid_of(*rows, columns=("f1", "mae"), **options), made)[0]

    plain, one = header({}, {"mae": 1.0}), header({}, {"f1": 0.25})
    rest = ("95% interval, or range", "runs", "pictures", "collapsed", "time")
    assert plain.header == ("row", "F1", *rest)
    assert one.header == ("row", "F1, published", "F1, regenerated", *rest)
    assert [row[1].text for row in one.rows] == ["–", "0.250"]
    assert [row[0].text for row in plain.rows] == ["a", "b"]


def test_published_values_are_subtracted_only_from_scores_of_the_same_data():
    made = results(a=[(5, 5)], b=[(7, 3)])
    rows = (
        Row("a", {"f1": 0.5}, trainings(1, "fnc-v1")),
        Row("b", {"f1": 0.25}, trainings(1, "folder:nuclei")),
    )
    table = tables(grid_of(*rows, published_on=("fnc-v1",)), made)[0]
    place = table.header.index("difference from published")
    f1 = 2 * 10 / (2 * 10 + 10)  # 10 of 20 found, and nothing else
    assert [row[place].text for row in table.rows] == [f"{f1 - 0.5:+.3f}", ""]
    assert [row[1].text for row in table.rows] == ["0.500", "0.250"]
    other = tables(grid_of(*rows, published_on=("fnc-v2-yellow",)), made)[0]
    assert not any("difference" in name for name in other.header)


def test_a_row_says_how_many_trainings_and_pictures_it_stands_on():
    of_two, five = [GOOD, GOOD[::-1], BAD][:2], [GOOD, GOOD[::-1], BAD, GOOD, BAD]
    many = [tp * 3 for tp in five]  # 24 pictures
    made = results(one=[GOOD], two=of_two, otsu=[BAD])
    rows = [Row(label, {}, trainings(5)) for label in ("one", "two")]
    otsu = Row("otsu", {}, (Run(WITHOUT, {"profile": "smoke"}),))
    (table,) = tables(grid_of(*rows, otsu), made)
    cells = {row[0].text: [cell.text for cell in row] for row in table.rows}
    assert cells["one"][2:5] == ["none: one training", "1 of 5", "8 (few)"]
    assert cells["two"][2].startswith("range 0.")
    assert cells["two"][3:5] == ["2 of 5", "8 (few)"]
    assert re.fullmatch(r"0\.\d{3} to 0\.\d{3}", cells["otsu"][2])
    assert cells["otsu"][3] == "1 (not trained)"
    assert "Fewer than 3 trainings have no interval" in table.notes[0]
    assert "letters" not in table.header
    made = results(a=many, b=[[t - 3 for t in tp] for tp in many])
    main, against = tables(grid_of(*(Row(label, {}, trainings(5)) for label in "ab")), made)
    assert main.header[3:6] == ("letters", "runs", "pictures")
    assert [row[5].text for row in main.rows] == ["24", "24"]
    assert "Fewer than 3 trainings" not in main.notes[0]
    assert "fewer than 5 trainings have no letter" in main.notes[0]
    assert against.title == "G: against a"
    ((label, less, chance),) = against.rows
    assert label.text == "b"
    assert re.fullmatch(r"-0\.\d{3} \(-0\.\d{3} to -0\.\d{3}\)", less.text)
    assert re.fullmatch(r"0\.\d\d \(0\.\d\d to 0\.\d\d\)", chance.text)
