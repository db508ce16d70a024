"""Student's and teacher's copies of a chapter's exercises."""

import hashlib
import json

import nbformat
import pytest
from typer.testing import CliRunner

from cellcount_lib.cli import app
from cellcount_lib.errors import DataError
from cellcount_lib.teaching.exercises import exercise_cells, solved, student


def identity(source):
    return hashlib.sha256(source.encode()).hexdigest()[:8]


def code(source, *tags):
    return {
        "cell_type": "code",
        "id": identity(source),
        "metadata": {"tags": list(tags), "other": 1},
        "source": source,
        "outputs": [{"output_type": "stream", "name": "stdout", "text": "42"}],
        "execution_count": 3,
    }


def words(source):
    return {"cell_type": "markdown", "id": identity(source), "metadata": {}, "source": source}


def chapter(*cells):
    return {
        "cells": [words("# A title\n\nAnd words."), code("setup = 1"), words("## Body"), *cells],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


GOOD = chapter(
    code("body = 1"),
    words("## Exercises\n\nNow you."),
    words("### One"),
    code("given = 2"),
    code("answer = ...", "stub"),
    code("answer = 2 * given", "solution", "hide-cell"),
    code("assert answer == 4", "check"),
    words("## Further reading"),
    code("never = 1"),
)


def sources(notebook):
    return [c["source"] for c in notebook["cells"] if c["cell_type"] == "code"]


def test_each_copy_has_what_it_should_and_no_outputs():
    theirs, ours = student(GOOD, "01_x"), solved(GOOD, "01_x")
    assert sources(theirs) == ["setup = 1", "given = 2", "answer = ...", "assert answer == 4"]
    assert sources(ours) == ["setup = 1", "given = 2", "answer = 2 * given", "assert answer == 4"]
    assert theirs["cells"][0]["source"].startswith("# A title: exercises")
    for notebook in (theirs, ours):
        nbformat.validate(nbformat.from_dict(notebook))
        for cell in notebook["cells"]:
            assert "other" not in cell["metadata"]
            assert not cell.get("outputs")
    assert "2 * given" not in json.dumps(theirs)
    assert GOOD["cells"][1]["outputs"], "the chapter itself stays as it was"


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [words("## Exercises")],
        [words("## Exercises"), code("a", "stub"), code("b", "check")],
        [words("## Exercises"), code("a", "solution"), code("b", "stub"), code("c", "check")],
    ],
)
def test_an_exercise_that_is_not_whole_is_refused(cells):
    with pytest.raises(DataError, match="stub, solution, check in turn"):
        exercise_cells(chapter(*cells), "01_x")


def test_the_command_writes_both_copies(tmp_path):
    path = tmp_path / "01_x.ipynb"
    path.write_text(json.dumps(GOOD))
    out = tmp_path / "out"
    asked = ["exercises", str(path), "--out", str(out)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert [p.name for p in out.iterdir()] == ["01_x-exercises.ipynb"]
    assert CliRunner().invoke(app, [*asked, "--solutions"]).exit_code == 0
    assert (
        sources(json.loads((out / "01_x-solutions.ipynb").read_text()))[2] == "answer = 2 * given"
    )
    lost = CliRunner().invoke(app, ["exercises", str(tmp_path / "no.ipynb")])
    assert lost.exit_code == 1
    assert "expected a notebook" in str(lost.exception)
