"""Tables from records, on numbers that are worked out by hand or by a plain loop."""

import json
import os
import re
from contextlib import chdir
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

from benchmarks.quick_project import make_project
from cellcount_lib.errors import DataError
from cellcount_lib.runs.grid import NETWORK, Grid, Row, Run
from cellcount_lib.scoring import stats
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.stats import PictureCounts, interval, letters, permutation_p
from cellcount_lib.tables.collect import (
    Results,
    lean,
    public_name,
    read_results,
    scores,
    to_csv,
    write_results,
)
from cellcount_lib.tables.compare import row_counts, summary
from cellcount_lib.tables.render import tables
from tests.command import cellcount

ROOT = Path(__file__).resolve().parents[2]


def images(run, tp, n_true=10):
    rows = [
        {"run": run, "image": f"p{i}", "n_true": n_true, "n_pred": t, "tp": t, "fp": 0,
         "fn": n_true - t, "status": "ok"}
        for i, t in enumerate(tp)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def results(**rows):
    """Build results from label -> a list of per-seed lists of true positives."""
    runs, pictures = [], []
    for label, seeds in rows.items():
        for seed, tp in enumerate(seeds):
            name = f"{label}{seed}"
            row = {"label": label, "seed": seed, "run": name, "dataset": "simulated"}
            row |= {"protocol": "recommended", "status": "completed", "reason": "", "seconds": 10.0}
            row |= {
                "processor": "CPU",
                "gpu": "",
                "torch": "2",
                "finished": "",
                "data": "",
                "code": "",
            }
            if tp is None:
                runs.append(row | {"status": "failed"})
                continue
            table = images(name, tp)
            pictures.append(table)
            runs.append(row | scores(table, "recommended"))
    return Results(pd.DataFrame(runs), pd.concat(pictures), [])


PIXELS = ("tp", "fp", "fn", "tn")
GOOD, BAD = [9, 8, 10, 9, 7, 9, 10, 8], [5, 4, 6, 5, 3, 5, 6, 4]


def test_rows_that_differ_beyond_doubt_differ_however_many_rows_there_are():
    """Holm multiplies the smallest p-value that permutations can give by the number of pairs."""
    rng = np.random.default_rng(0)
    rows = {f"row{n}": [list(rng.integers(7, 10, 70))] for n in range(19)}
    rows |= {"none": [[0] * 70], "all": [[10] * 70]}
    letters_of = summary(results(**rows), list(rows), ["f1"]).set_index("label")["letters"]
    assert len(rows) * (len(rows) - 1) / 2 > 200
    assert letters_of["all"] == "a"
    assert not set(letters_of["none"]) & set("".join(letters_of.drop("none")))
    assert "a" not in "".join(letters_of.drop("all"))


def test_sums_and_pictures_give_the_same_permutations():
    """Scores that need sums only are computed from sums: the plain way gives the same p-value."""
    made = results(a=[GOOD, BAD], b=[BAD])
    rows = {n: row_counts(r, made.images) for n, r in made.runs.groupby("label")}
    plain = []
    rng = np.random.default_rng(0)
    swap = rng.random((300, len(GOOD))) < 0.5
    for chosen in swap:
        scores_of = []
        for first, second in ((rows["a"], rows["b"]), (rows["b"], rows["a"])):
            f1 = []
            for seed in range(2):
                one, other = seed % len(first.seeds), seed % len(second.seeds)
                counts = [
                    np.where(chosen, second.columns[c][other], first.columns[c][one]).sum()
                    for c in ("tp", "fp", "fn")
                ]
                f1.append(2 * counts[0] / (2 * counts[0] + counts[1] + counts[2]))
            scores_of.append(np.mean(f1))
        plain.append(scores_of[0] - scores_of[1])
    found = float(rows["a"].score("f1") - rows["b"].score("f1"))
    high = (np.sum(np.array(plain) >= found - 1e-12) + 1) / 301
    low = (np.sum(np.array(plain) <= found + 1e-12) + 1) / 301
    expected = min(1.0, 2 * min(high, low))
    assert permutation_p(rows["a"], rows["b"], "f1", permutations=300) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["f1", "px_mcc", "px_specificity"])
def test_sums_are_taken_where_they_are_enough_and_change_nothing(metric, monkeypatch):
    rng = np.random.default_rng(4)
    rows = []
    for _ in range(2):
        columns = {f"px_{c}": rng.integers(1, 10**6, (2, 9)).astype(float) for c in PIXELS}
        columns |= {c: rng.integers(1, 90, (2, 9)).astype(float) for c in PIXELS}
        rows.append(PictureCounts([str(i) for i in range(9)], [0, 1], columns, "released2023"))
    by_sums = permutation_p(*rows, metric, permutations=400)
    monkeypatch.setattr(stats, "ADDED_UP", ())
    assert permutation_p(*rows, metric, permutations=400) == by_sums
    assert by_sums < 1


def test_means_and_spreads_are_over_seeds():
    made = results(a=[GOOD, [t - 1 for t in GOOD]], b=[BAD, None])
    made.runs.loc[made.runs["run"] == "a1", "status"] = "collapsed"
    found = summary(made, ["a", "b", "absent"], ["f1", "mae"]).set_index("label")
    f1 = [2 * sum(tp) / (sum(tp) + 80) for tp in (GOOD, [t - 1 for t in GOOD])]
    assert found.loc["a", "f1"] == pytest.approx(np.mean(f1))
    assert found.loc["a", "f1_sd"] == pytest.approx(np.std(f1, ddof=1))
    assert found.loc["a", ["n", "n_collapsed", "n_failed"]].tolist() == [2, 1, 0]
    assert found.loc["b", ["n", "n_collapsed", "n_failed"]].tolist() == [1, 0, 1]
    assert found.loc["b", "mae"] == np.mean([10 - t for t in BAD])
    assert found.loc["absent", "n"] == 0


def test_interval_against_a_plain_loop():
    made = results(a=[GOOD, BAD])
    row = row_counts(made.runs, made.images)
    low, high = interval(row, "f1", resamples=20000, seed=1)
    rng = np.random.default_rng(2)
    values = []
    for _ in range(20000):
        picked = rng.integers(0, 8, 8)
        values.append(
            np.mean(
                [2 * t[picked].sum() / (t[picked].sum() + 80) for t in map(np.array, (GOOD, BAD))]
            )
        )
    np.testing.assert_allclose(
        [low, high], np.percentile(values, [2.5, 97.5]), atol=0.011
    )  # a step of the sum


def test_permutation_against_all_swaps():
    """With 8 pictures all 256 swaps can be counted; the random ones come close to their share."""
    a, b = np.array([9, 8, 10, 9, 7, 9, 5, 8]), np.array([8, 8, 9, 7, 8, 8, 5, 6])
    made = results(a=[a.tolist()], b=[b.tolist()])
    rows = {k: row_counts(made.runs[made.runs["label"] == k], made.images) for k in "ab"}

    def f1(tp):
        return 2 * tp.sum() / (tp.sum() + 80)

    found = f1(a) - f1(b)
    all_swaps = []
    for number in range(256):
        swap = np.array([number >> i & 1 for i in range(8)], bool)
        all_swaps.append(f1(np.where(swap, b, a)) - f1(np.where(swap, a, b)))
    high = np.mean(np.array(all_swaps) >= found - 1e-12)
    low = np.mean(np.array(all_swaps) <= found + 1e-12)
    exact = min(1, 2 * min(high, low))
    p = permutation_p(rows["a"], rows["b"], "f1", permutations=20000)
    assert p == pytest.approx(exact, abs=0.02)
    assert permutation_p(rows["b"], rows["a"], "f1", permutations=20000) == pytest.approx(
        p, abs=0.02
    )
    assert permutation_p(rows["a"], rows["a"], "f1", permutations=999) == 1
    short = results(c=[[1, 2]])
    assert (
        permutation_p(rows["a"], row_counts(short.runs, short.images), "f1", permutations=9) is None
    )


def test_more_seeds_are_compared_with_one():
    made = results(a=[GOOD, GOOD, BAD], oracle=[[10] * 8])
    rows = {k: row_counts(made.runs[made.runs["label"] == k], made.images) for k in ("a", "oracle")}
    p = permutation_p(rows["a"], rows["oracle"], "f1", permutations=4999)
    assert 0 < p < 0.05


def test_letters_by_hand():
    def same(n, *different):
        table = np.ones((n, n), bool)
        for i, j in different:
            table[i, j] = table[j, i] = False
        return table

    assert letters([3, 2, 1], same(3)) == ["a", "a", "a"]
    assert letters([3, 2, 1], same(3, (0, 1), (0, 2), (1, 2))) == ["a", "b", "c"]
    assert letters([3, 2, 1], same(3, (0, 2))) == ["a", "ab", "b"]
    assert letters([1, 2, 3], same(3, (0, 2))) == ["b", "ab", "a"]
    assert letters([1, 2, 3], same(3, (0, 2)), higher=False) == ["a", "ab", "b"]


@pytest.mark.parametrize("seed", range(20))
def test_rows_share_a_letter_exactly_if_they_do_not_differ(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    same = rng.random((n, n)) < 0.6
    same = same & same.T | np.eye(n, dtype=bool)
    marks = letters(rng.random(n).tolist(), same)
    for i in range(n):
        for j in range(n):
            assert bool(set(marks[i]) & set(marks[j])) == same[i, j]


def test_letters_of_rows_that_differ_plainly():
    rng = np.random.default_rng(0)
    good, bad = rng.integers(8, 11, 30).tolist(), rng.integers(2, 5, 30).tolist()
    found = summary(results(a=[good], b=[bad], c=[good[::-1]]), ["a", "b", "c"], ["f1"])
    marks = dict(zip(found["label"], found["letters"], strict=True))
    assert marks["b"] == "b"
    assert marks["a"] == marks["c"] == "a"


def test_the_counting_error_of_objects_under_the_released_rule():
    rows = images("x", [3, 4]).assign(
        n_objects_true=[10, 10], n_objects_pred=[0, 25], tp_iou=0, fp_iou=0, fn_iou=10
    )
    assert scores(rows, "clissa2023")["mae_objects"] == (10 + 15) / 2
    assert scores(rows, "clissa2023-corrected")["mae_objects"] == scores(rows, "clissa2023")["mae"]


def test_tidy_files_come_back_to_the_last_digit(tmp_path):
    made = results(a=[GOOD, [t - 1 for t in GOOD]])
    made.runs.loc[0, "cutoff"] = 0.1 + 0.2
    write_results(made, tmp_path, "g")
    back = read_results(tmp_path, "g")
    for column in made.runs:
        if made.runs[column].dtype.kind == "f":
            np.testing.assert_array_equal(back.runs[column], made.runs[column])
    assert pooled(back.images[back.images["run"] == "a0"])["f1"] == made.runs["f1"][0]
    assert to_csv(back.runs) == (tmp_path / "g.csv").read_text()
    with pytest.raises(DataError, match="expected collected results"):
        read_results(tmp_path, "other")


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
    assert [c.strip() for c in two.split("|")][-4:-1] == ["2", "1", "0 s"]
    for place in re.findall(r"\((notebooks/[^)]+)\)", line):
        assert (base / "results" / "smoke" / place).exists()
    assert line.count("notebooks/") == 2
    assert "1.00" in next(row for row in text.splitlines() if row.startswith("| one |"))
    for extension in ("html", "tex"):
        assert f"{f1:.3f}" in (base / "results" / "smoke" / f"quick.{extension}").read_text()


def test_verify_finds_any_change(collected):
    base, command, *_ = collected
    assert "1 tables, 0 differences" in command("tables", "--verify").stdout
    folder = base / "results" / "smoke"
    notebook = next((folder / "notebooks" / "quick").glob("*.ipynb"))
    changes = [
        (folder / "quick.csv", lambda text: text.replace("0.857142", "0.857143", 1)),
        (folder / "quick-images.csv", lambda text: text.replace(",4,4,4,0,0,", ",4,3,3,0,1,", 1)),
        (folder / "quick.md", lambda text: text.replace("0.857", "0.858", 1)),
        (folder / "quick.tex", lambda text: text[:-2]),
        (folder / "quick.json", lambda text: text.replace('"f1": 0.8', '"f1": 0.9')),
        (notebook, lambda text: text.replace('"tp":18', '"tp":17')),
    ]
    for path, change in changes:
        before = path.read_text()
        assert change(before) != before, path
        path.write_text(change(before))
        ended = command("tables", "--verify")
        path.write_text(before)
        assert ended.returncode == 1, path
        assert re.search(r"[1-9]\d* differences", ended.stdout), path
    notebook.rename(notebook.with_suffix(".gone"))
    ended = command("tables", "--verify")
    notebook.with_suffix(".gone").rename(notebook)
    assert "expected the executed notebook" in ended.stderr
    assert "1 tables, 0 differences" in command("tables", "--verify").stdout


def test_render_makes_the_tables_again_from_their_csv_files(collected):
    base, command, *_ = collected
    folder = base / "results" / "smoke"
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    (folder / "quick.md").write_text("old")
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


def test_columns_of_published_values_are_there_where_there_are_any():
    found = results(a=[(5, 5)], b=[(7, 3)])
    runs = (Run(NETWORK, {"profile": "smoke"}),)

    def header(*published):
        rows = [Row(name, values, runs) for name, values in zip("ab", published, strict=True)]
        grid = Grid("g", "G", "", "", {"f1": "F1", "mae": "MAE"}, tuple(rows))
        return tables(grid, found)[0]

    plain, one = header({}, {"mae": 1.0}), header({}, {"f1": 0.25})
    assert plain.header == ("row", "F1", "95% interval", "letters", "runs", "collapsed", "time")
    assert one.header[1:5] == ("F1, published", "F1, regenerated", "95% interval", "difference")
    assert {len(row) for row in plain.rows} == {7}
    assert {len(row) for row in one.rows} == {9}
    f1 = 2 * 10 / (2 * 10 + 10)  # b finds 7 and 3 of 10 each, and nothing else
    assert one.rows[1][1].text == "0.250"
    assert [plain.rows[1][n].text for n in (0, 1)] == ["b", one.rows[1][2].text]
    assert one.rows[0][4].text == ""
    assert one.rows[1][4].text == f"{f1 - 0.25:+.3f}"
