"""The chapters that papermill executes: their parameters, and one real run of each."""

import ast
import dataclasses
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.data.datasets import load
from cellcount_lib.methods.score import METHODS, Scoring
from cellcount_lib.postprocess.postprocess import postprocess
from cellcount_lib.records import as_json, read_record
from cellcount_lib.runs.execute import Job, _parameter_names, execute
from cellcount_lib.runs.grid import NETWORK, WITHOUT, Run, project
from cellcount_lib.runs.status import states
from cellcount_lib.scoring.matching import splits_and_merges
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import PROTOCOLS
from cellcount_lib.teaching.exercises import exercise_cells, solved, student
from cellcount_lib.training.recipes import RECIPES
from cellcount_lib.training.spec import Training
from tests.discs import write_dataset

ROOT = project()
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
BOOK = [path for path in CHAPTERS if path.name[:2].isdigit()]  # the others are no pages


def cells(path, kind="code"):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == kind]


def tags(cell):
    return cell["metadata"].get("tags", [])


def source(cell):
    return "".join(cell["source"])


def test_a_notebook_that_is_no_page_is_committed_without_outputs():
    for path in set(CHAPTERS) - set(BOOK):
        for cell in cells(path):
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.parametrize("path", BOOK, ids=lambda p: p.stem)
def test_a_chapter_is_committed_as_it_was_executed(path):
    numbers = [cell["execution_count"] for cell in cells(path)]
    assert numbers == [*range(1, len(numbers) + 1)], "run: python tools/chapters.py --keep"
    for cell in cells(path):
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr"
    text = path.read_text()
    for place in (ROOT, Path.home(), tempfile.gettempdir()):
        assert f"{place}/" not in text


@pytest.mark.parametrize("path", BOOK, ids=lambda p: p.stem)
def test_every_figure_of_a_chapter_has_a_caption_and_words_for_who_cannot_see_it(path):
    names = []
    for cell in cells(path):
        drawn = any(k.startswith("image/") for o in cell["outputs"] for k in o.get("data", {}))
        about = cell["metadata"].get("mystnb", {})
        assert drawn == ("figure" in about), source(cell)
        if drawn:
            assert len(about["image"]["alt"]) > 40
            assert len(about["figure"]["caption"]) > 20
            names.append(about["figure"]["name"])
    assert len(set(names)) == len(names)


def test_no_two_chapters_give_a_figure_the_same_name():
    """References go by name, and the book has one list of them."""
    named = [
        cell["metadata"]["mystnb"]["figure"]["name"]
        for path in BOOK
        for cell in cells(path)
        if "figure" in cell["metadata"].get("mystnb", {})
    ]
    assert [name for name in set(named) if named.count(name) > 1] == []


@pytest.mark.parametrize("path", BOOK, ids=lambda p: p.stem)
def test_a_chapter_has_what_a_chapter_needs(path):
    words = [source(c) for c in cells(path, "markdown")]
    headings = [line for text in words for line in text.splitlines() if line.startswith("## ")]
    assert headings[-4:] == ["## Summary", "## Quiz", "## Exercises", "## Further reading"]
    assert words[0].startswith("# ")
    assert "**You will**" in words[0]
    assert "**You need**" in words[0]
    (quiz,) = [c for c in cells(path) if "quiz" in tags(c)]
    assert 3 <= source(quiz).count("Question(") <= 5
    asked = exercise_cells(json.loads(path.read_text()), path.stem)
    assert ["stub" in tags(cell) for cell in asked].count(True) == 5


@pytest.mark.parametrize("path", BOOK, ids=lambda p: p.stem)
def test_exercises_have_hints_rows_to_mark_them_and_a_question_to_discuss(path):
    chapter = json.loads(path.read_text())
    words = [source(c) for c in exercise_cells(chapter, path.stem) if c["cell_type"] == "markdown"]
    tasks = [text for text in words if re.match(r"### \d\. ", text)]
    assert [text.count("<summary>Hint</summary>") for text in tasks] == [1] * len(tasks)
    marked = (ROOT / "book" / "marking.md").read_text()
    rows = re.findall(r"^\| (\d\. [^|]+) \|", marked.partition(f"chapters/{path.name})")[2], re.M)
    assert rows[: len(tasks)] == [text.splitlines()[0].removeprefix("### ") for text in tasks]
    assert words[-2].startswith("### To discuss\n")
    assert words[-1].startswith("<details><summary>A possible answer</summary>")
    handed_out = [source(c) for c in student(chapter, path.stem)["cells"]]
    assert words[-2] in handed_out
    assert words[-1] not in handed_out
    assert words[-1] in [source(c) for c in solved(chapter, path.stem)["cells"]]


EXERCISES = """
import json, sys
from pathlib import Path
from cellcount_lib.teaching.exercises import solved, student, tags
path = Path(sys.argv[1])
chapter = json.loads(path.read_text())
code = lambda made: [c for c in made(chapter, path.stem)["cells"] if c["cell_type"] == "code"]
names = {"__name__": "solutions"}
for cell in code(solved):
    exec("".join(cell["source"]), names)
names, failed, checks = {"__name__": "exercises"}, 0, 0
for cell in code(student):
    if "check" not in tags(cell):
        exec("".join(cell["source"]), names)
        continue
    checks += 1
    try:
        exec("".join(cell["source"]), names)
    except Exception:
        failed += 1
print(f"{failed} of {checks} stubs fail")
"""


@pytest.mark.parametrize("path", BOOK, ids=lambda p: p.stem)
def test_solutions_pass_their_checks_and_stubs_do_not(path, nursery):
    done = nursery.run(EXERCISES, path)
    assert done.returncode == 0, done.stderr
    stubs = sum("stub" in tags(cell) for cell in cells(path))
    assert done.stdout.splitlines()[-1] == f"{stubs} of {stubs} stubs fail"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_the_first_cell_is_the_set_up_cell(path):
    source = (project() / "chapters" / "setup_cell.py").read_text()
    wanted = ast.dump(ast.Module(ast.parse(source).body[1:], []))
    assert ast.dump(ast.parse("".join(cells(path)[0]["source"]))) == wanted


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_every_code_cell_is_short_and_preceded_by_words(path):
    before = None
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code" and "quiz" not in tags(cell):
            inside = {"stub", "solution", "check", "given"} & set(tags(cell))
            assert inside or before == "markdown", source(cell)
            most = 30 if "parameters" in tags(cell) else 25  # a list of names is read at a glance
            assert len(source(cell).splitlines()) <= most, source(cell)
        before = cell["cell_type"]


@pytest.mark.parametrize(("chapter", "kind"), [(NETWORK, Training), (WITHOUT, Scoring)])
def test_parameters_are_those_of_the_settings_with_their_defaults(chapter, kind):
    path = project() / "chapters" / f"{chapter}.ipynb"
    fields = {f.name: f.default for f in dataclasses.fields(kind)}
    names = _parameter_names(path)
    assert names[: len(fields)] == [*fields]
    (cell,) = [c for c in cells(path) if "parameters" in c["metadata"].get("tags", [])]
    values: dict = {}
    exec("".join(cell["source"]), values)
    for name, default in fields.items():
        if default is not dataclasses.MISSING:
            assert values[name] == default, name


SMALL = {
    "arch": "small-unet",
    "profile": "smoke",
    "crop": 32,
    "batch": 4,
    "steps": 25,
    "epochs": 3,
    "scale": 1.0,
    "protocol_scale": 0.45,
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Chapter 3 executed on discs."""
    base = tmp_path_factory.mktemp("chapter")
    data = write_dataset(base / "discs")
    run = Run(NETWORK, dataclasses.asdict(Training(f"folder:{data}", **SMALL)))
    folder = base / "runs" / run.id
    job = Job(
        project() / "chapters" / f"{NETWORK}.ipynb", run.parameters, folder, {"out": str(folder)}
    )
    return run, folder, execute(job)


def test_chapter_3_trains_scores_and_leaves_its_record(trained):
    run, folder, record = trained
    assert record.status == "completed", record.reason
    assert record.scores["f1"] > 0.9
    assert dict(record.parameters) == dict(run.parameters)
    rows = pd.read_csv(folder / "images.csv")
    again = pooled(rows, mpe=PROTOCOLS["recommended"].mpe)
    assert {k: v for k, v in record.scores.items() if v is not None} == {
        k: v for k, v in again.items() if v == v
    }
    assert len(record.history) == 3
    assert record.lr == RECIPES["recommended"].lr
    assert record.seconds["training"] > 0
    assert as_json(read_record(folder / "notebook.ipynb")) == as_json(record)
    (state,) = states([run], folder.parent)
    assert (state.state, state.why) == ("done", "completed")
    kinds = {
        kind
        for cell in cells(folder / "notebook.ipynb")
        for output in cell["outputs"]
        for kind in output.get("data", {})
    }
    assert "image/png" in kinds
    text = (folder / "notebook.ipynb").read_text()
    assert "Warning" not in text


def f1_of_the_brightest(data, quantile):
    """Cut every test picture at its own quantile, by a plain sort, and count by hand."""
    protocol, tp, wrong = PROTOCOLS["recommended"], 0, 0
    for sample in load(data, split="test"):
        bright = sample.image.max(axis=2).astype(int)
        darker = np.searchsorted(np.sort(bright.ravel()), bright)  # how many pixels are darker
        mask = darker > np.float32(quantile) * bright.size
        row = protocol.score(
            sample.labels, postprocess(mask, "recommended", scale=0.45), scale=0.45
        )
        tp, wrong = tp + row["tp"], wrong + row["fp"] + row["fn"]
    return 2 * tp / (2 * tp + wrong)


def executed_here(chapter, parameters):
    """Execute the cells of a chapter in this process; return its record."""
    names: dict = {"__name__": "chapter"}
    for cell in cells(chapter):
        exec(source(cell), names)
        if "parameters" in tags(cell):
            names |= parameters
    return names["record"]


@pytest.mark.parametrize("method", [m for m in METHODS if m != "published-weights"])
def test_scores_without_training(method, trained, tmp_path):
    run, folder, _ = trained
    data, of_a_run = run.parameters["dataset"], METHODS[method].of_a_run
    asked = Scoring(
        method,
        data,
        "smoke",
        protocol="morelli2021" if method == "run" else "recommended",
        protocol_scale=0.45,
        run=run.id if of_a_run else None,
    )
    places = {"out": str(tmp_path)} | ({"run_folder": str(folder)} if of_a_run else {})
    chapter = project() / "chapters" / f"{WITHOUT}.ipynb"
    if method == "run":  # one by papermill, the others without waiting for a kernel
        record = execute(Job(chapter, dataclasses.asdict(asked), tmp_path, places))
    else:
        record = executed_here(chapter, dataclasses.asdict(asked) | places)
        assert as_json(read_record(tmp_path / "record.json")) == as_json(record)
    assert record.status == "completed", record.reason
    assert len(record.images) == 2
    f1, mae = record.scores["f1"], record.scores["mae"]
    expected = {
        "adaptive-threshold": f1 == f1_of_the_brightest(data, record.cutoff),
        "otsu-watershed": f1 > 0.95,  # bright discs on black are what it is for
        "predict-zero": (f1, mae) == (0, 5),
        "predict-mean": (f1, mae) == (0, 0),  # every picture has five
        "oracle": (f1, mae) == (1, 0),
        "log-blobs": f1 > 0.9,
        "run": f1 > 0.9,
        "mirrored": f1 > 0.9,
        "apply": record.scores["f1"] == read_record(folder / "record.json").scores["f1"],  # at home
    }
    assert expected[method], (f1, mae)


def test_chapter_1_runs_on_any_collection(tmp_path, monkeypatch):
    """On one without the notes of the simulator, as a real one may be."""
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    data = write_dataset(tmp_path / "discs")
    asked = {"dataset": f"folder:{data}", "pictures": 5, "shown": 0, "by_hand": 1}
    names: dict = {"__name__": "chapter"}
    for cell in cells(BOOK[0]):
        if not {"quiz", "stub"} & {*tags(cell)}:
            exec(source(cell), names)
        if "parameters" in tags(cell):
            assert names["dataset"] == "simulated"
            names |= asked
    assert [*names["kinds"]] == ["labelled"]
    assert len(names["table"]) == 5
    merges = splits_and_merges(names["careful"].labels, names["cleaned"]).merges
    assert np.maximum(names["held"] - 1, 0).sum() == merges


def test_an_error_in_a_chapter_becomes_a_record(tmp_path):
    parameters = dataclasses.asdict(Training("folder:/no/such/place", profile="smoke"))
    chapter = project() / "chapters" / f"{NETWORK}.ipynb"
    record = execute(Job(chapter, parameters, tmp_path, {"out": str(tmp_path)}))
    assert record.status == "failed"
    assert record.reason.startswith("DataError: ")
    assert (tmp_path / "notebook.ipynb").exists()
    assert Path(tmp_path / "record.json").exists()
