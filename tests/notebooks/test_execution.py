"""tools/chapters.py: what is executed again, and what is not."""

import json
import shutil

import pytest

from tools import chapters as tool


def notebook(*cells):
    return {
        "cells": [
            {
                "cell_type": kind,
                "id": f"cell{n}",
                "metadata": {"tags": ["parameters"]} if n == 1 else {},
                "source": source,
                **({"outputs": [], "execution_count": None} if kind == "code" else {}),
            }
            for n, (kind, source) in enumerate(cells)
        ],
        "metadata": {
            "kernelspec": {"display_name": "P", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one small chapter that shows a table, and a library of one file."""
    for folder in ("chapters", "cellcount_lib", "results/laptop"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "cellcount_lib" / "a.py").write_text("x = 1\nother = 1\n")
    for name in ("t", "other"):
        (tmp_path / "results" / "laptop" / f"{name}.csv").write_text("a\n1\n")
    cells = [
        ("markdown", "# One"),
        ("code", 'profile = "laptop"'),
        ("code", 'import sys\nprint(profile)\nprint("w", file=sys.stderr)\nname = "t"'),
        ("code", "def used():\n    from cellcount_lib.a import x\n    return x"),
    ]
    (tmp_path / "chapters" / "01_one.ipynb").write_text(json.dumps(notebook(*cells)))
    (tmp_path / "chapters" / "not_a_page.ipynb").write_text("{}")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    return tmp_path


def bring(**options):
    asked = {"profile": "laptop", "fresh": False, "keep": False} | options
    return [said.split(" in ")[0] for _, said in tool.bring(tool.chapters([]), **asked)]


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_chapter_is_executed_when_something_it_shows_has_changed_and_only_then(project):
    chapter, built = project / "chapters" / "01_one.ipynb", project / "book/chapters/01_one.ipynb"
    committed = chapter.read_text()
    assert bring() == ["executed"]
    assert chapter.read_text() == committed, "without --keep the source stays as it is"
    made = json.loads(built.read_text())
    (output,) = made["cells"][2]["outputs"]
    assert output["text"] == ["laptop\n"], "and nothing of stderr"
    assert made["metadata"]["cellcount"]["profile"] == "laptop"
    assert bring() == ["unchanged"]

    change(chapter, "# One", "# Uno")
    assert bring() == ["unchanged"]
    assert "# Uno" in built.read_text(), "words are brought over without execution"
    change(project / "results/laptop/other.csv", "1", "2")
    change(project / "cellcount_lib/a.py", "x = 1", '"""Say what."""\nx = 1  # one')
    change(project / "cellcount_lib/a.py", "other = 1", "other = 2")
    assert bring() == ["unchanged"], "the chapter does not reach it"
    change(project / "results/laptop/t.csv", "1", "2")
    assert bring() == ["executed"]
    change(project / "cellcount_lib/a.py", "x = 1", "x = 2")
    assert bring() == ["executed"]
    change(chapter, "print(profile)", "print(profile, 2)")
    assert bring() == ["executed"]
    assert bring(fresh=True) == ["executed"]
    assert bring(profile="smoke") == ["executed"]
    assert json.loads(built.read_text())["cells"][2]["outputs"][0]["text"] == ["smoke 2\n"]
    assert len(json.loads(built.read_text())["cells"]) == 4, "no cell of papermill's"


def test_a_chapter_is_executed_when_a_model_that_it_loads_has_changed(project):
    models = project / "cellcount_lib" / "pretrained"
    models.mkdir()
    for name in ("mine", "theirs", "c-resunet-simulated"):
        for suffix in ("safetensors", "onnx"):
            (models / f"{name}.{suffix}").write_text("1")
    chapter = project / "chapters" / "01_one.ipynb"
    change(chapter, 'name = \\"t\\"', 'names = \\"t\\", \\"mine\\"')
    assert bring() == ["executed"]
    change(models / "theirs.onnx", "1", "2")
    change(models / "c-resunet-simulated.onnx", "1", "2")
    assert bring() == ["unchanged"]
    change(models / "mine.onnx", "1", "2")
    assert bring() == ["executed"]
    change(models / "mine.safetensors", "1", "2")
    assert bring() == ["executed"]
    change(chapter, "    return x", "    load_model()\\n    return x")
    assert bring() == ["executed"]
    change(models / "c-resunet-simulated.safetensors", "1", "2")
    assert bring() == ["executed"], "the model that comes without a name"
    (models / "neurons.onnx").write_text("1")
    (models / "neurons.safetensors").write_text("1")
    assert bring() == ["unchanged"]
    change(chapter, "load_model()", "run('serve')".replace("'", '\\"'))
    assert bring() == ["executed"]
    change(models / "neurons.onnx", "1", "2")
    assert bring() == ["executed"], "a service chooses among models"


def test_what_was_committed_with_outputs_is_not_executed_again_in_a_fresh_clone(project):
    assert bring(keep=True) == ["executed"]
    chapter = project / "chapters" / "01_one.ipynb"
    assert json.loads(chapter.read_text())["cells"][2]["outputs"]
    shutil.rmtree(project / "book")
    assert bring() == ["unchanged"]
    assert (project / "book" / "chapters" / "01_one.ipynb").read_text() == chapter.read_text()


def test_an_error_in_a_chapter_ends_the_command_and_leaves_what_was_there(project):
    assert bring() == ["executed"]
    built = project / "book" / "chapters" / "01_one.ipynb"
    before = built.read_text()
    change(project / "chapters" / "01_one.ipynb", "print(profile)", "print(profil)")
    with pytest.raises(Exception, match="NameError"):
        bring()
    assert built.read_text() == before
