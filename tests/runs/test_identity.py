"""What makes two runs the same, and a record stale."""

import dataclasses
import json

from cellcount_lib.methods.score import Scoring
from cellcount_lib.runs.grid import WITHOUT, Run, project
from cellcount_lib.runs.identity import (
    LATER,
    changes,
    chapter_hash,
    code_of,
    decisive,
    identity_of,
)
from cellcount_lib.training.spec import Training


def test_changes_are_named():
    old = {"parameters": "1", "chapter": "2", "data": "3", "code": {"a": "x", "b": "y"}}
    assert changes(old, old) == []
    new = {"parameters": "1", "chapter": "9", "data": "3", "code": {"b": "z", "c": "y"}}
    assert changes(old, new) == ["the chapter", "a", "b"]  # c decided nothing then


def test_a_definition_that_was_not_there_did_not_decide():
    old = {"code": {"a": "1", "b": "2"}}
    assert changes(old, {"code": {"a": "1", "b": "2", "new": "3"}}) == []
    assert changes(old, {"code": {"a": "1"}}) == ["b"]


def test_a_record_that_names_files_is_stale_as_a_whole():
    old = {"data": "1", "code": {"losses/pixel.py": "1"}}
    assert changes(old, {"data": "1", "code": {"Dice": "2"}}) == [
        "the code (its record names files, not definitions)"
    ]


def test_the_parameters_choose_the_code():
    asked = dataclasses.asdict(Training())
    assert code_of(asked) == code_of(asked | {"seed": 7, "epochs": 3})
    other = code_of(asked | {"loss": "focal"})
    assert {"loss focal", "Focal"} <= set(other) - set(code_of(asked) | {"Focal": ""}) | {"Focal"}
    assert "loss combined-balanced" not in other
    blobs, otsu = (code_of(dataclasses.asdict(Scoring(m))) for m in ("log-blobs", "otsu-watershed"))
    assert "log_blobs" in blobs
    assert "log_blobs" not in otsu


def test_an_identity_has_all_its_parts():
    parameters = dataclasses.asdict(Scoring("oracle"))
    chapter = project() / "chapters" / f"{WITHOUT}.ipynb"
    whole = identity_of(chapter, parameters, data="d")
    assert set(whole) == {"parameters", "chapter", "data", "code"}
    assert whole["chapter"] == chapter_hash(chapter)
    assert identity_of(None, parameters, data="d")["chapter"] == "0" * 16
    assert changes(whole, identity_of(chapter, parameters, data="e")) == ["the data"]
    assert changes(whole, identity_of(chapter, parameters | {"seed": 1}, data="d")) == [
        "the parameters"
    ]


def test_a_later_parameter_at_its_default_leaves_a_run_its_name():
    scoring = dataclasses.asdict(Scoring("oracle"))
    old = {k: v for k, v in scoring.items() if k not in LATER}
    assert len(old) < len(scoring)
    assert Run(WITHOUT, scoring).id == Run(WITHOUT, old | {"harmonise": None}).id
    changed = Run(WITHOUT, scoring | {"harmonise": "size"}).id
    assert changed.rpartition("-")[2] != Run(WITHOUT, scoring).id.rpartition("-")[2]
    assert decisive(scoring) == old


def test_the_code_of_a_chapter_counts_and_its_words_and_imports_do_not(tmp_path):
    path = tmp_path / "chapter.ipynb"

    def change(kind, tag, more):
        cells = [
            {"cell_type": "markdown", "metadata": {}, "source": "# Words"},
            {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "seed = 0"},
            {
                "cell_type": "code",
                "metadata": {},
                "source": ["%matplotlib inline\n", "ax = plot()"],
            },
        ]
        for cell in cells:
            wanted = tag if tag else None
            if cell["cell_type"] == kind and (cell["metadata"].get("tags", [None])[0] == wanted):
                cell["source"] = "".join(cell["source"]) + more
        path.write_text(json.dumps({"cells": cells}))
        return chapter_hash(path)

    before = change("", "", "")
    assert change("markdown", "", " and more") == before
    assert change("code", "parameters", "\nseed = 7") == before
    assert change("code", "", "\n# a comment") == before
    assert change("code", "", "\nfrom cellcount_lib.elsewhere import plot") == before
    assert change("code", "", "\n%time") == before
    assert change("code", "", "\nax.set(title='x')") != before
