"""The committed results, computed again."""

import json
import tempfile
from pathlib import Path

import pytest

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.runs.grid import Grid
from cellcount_lib.tables.committed import committed, results_folder, table
from cellcount_lib.tables.kept import records_in
from cellcount_lib.tables.verify import differences, notebook_differences
from cellcount_lib.tables.write import plans

ROOT = Path(__file__).resolve().parents[2]


PLANS = list(plans(None, ROOT / "results"))


@pytest.mark.parametrize(
    ("folder", "plan", "grid"), PLANS, ids=lambda x: x.name if isinstance(x, Grid) else ""
)
def test_a_committed_table_is_what_its_runs_say(folder, plan, grid):
    assert list(differences(grid, plan, folder, records_in(folder))) == []


@pytest.mark.parametrize("folder", sorted({folder for folder, *_ in PLANS}))
def test_kept_notebooks_agree_with_each_other(folder):
    assert list(notebook_differences(folder, records_in(folder))) == []


def test_a_table_is_found_by_its_name_and_shows_links_from_the_chapters(tmp_path, monkeypatch):
    place = tmp_path / "results" / "laptop"
    place.mkdir(parents=True)
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "03_one_experiment.ipynb").touch()
    monkeypatch.setenv("CELLCOUNT_PROJECT", str(tmp_path))
    about = {"published": {"a": {"f1": 0.5}}, "missing": []}
    (place / "t.json").write_text(json.dumps(about))
    (place / "t.html").write_text('<a href="runs/run.ipynb">0</a>')
    (place / "t.csv").write_text("label,seed,run,f1\na,0,r,0.25\n")
    (place / "t-images.csv").write_text("run,image,tp\nr,x,1\n")
    assert committed() == ["t"]
    found = table("t")
    assert found.results.runs["f1"].tolist() == [0.25]
    assert found.published.loc["a", "f1"] == 0.5
    assert repr(found) == "table 't', profile 'laptop': 1 runs"
    link = '<a href="../results/laptop/runs/run.ipynb">0</a>'
    assert found._repr_html_() == f'<div id="table-t">{link}</div>'
    with pytest.raises(InputError, match="did you mean 't'"):
        table("tt")


def test_the_longest_trained_table_that_lacks_no_run_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLCOUNT_PROJECT", str(tmp_path))
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "03_one_experiment.ipynb").touch()
    lacking = {
        "laptop": {"both": [], "part": [], "none": ["a"], "short": []},
        "study": {"both": [], "part": ["a"], "none": ["a", "b"], "long": []},
        "gpu": {"big": []},
    }
    for profile, tables in lacking.items():
        (tmp_path / "results" / profile).mkdir(parents=True)
        for name, missing in tables.items():
            about = json.dumps({"published": {}, "missing": missing})
            (tmp_path / "results" / profile / f"{name}.json").write_text(about)
    assert committed() == ["both", "long", "none", "part", "short"]
    assert committed("gpu") == ["big"]
    taken = {name: table(name).profile for name in committed()}
    expected = {"both": "study", "part": "laptop", "none": "laptop"}
    assert taken == expected | {"long": "study", "short": "laptop"}
    assert table("part", "study").profile == "study"
    with pytest.raises(InputError, match="unknown table 'big'"):
        table("big")
    with pytest.raises(InputError, match="unknown table of profile 'gpu' 'both'"):
        table("both", "gpu")


def test_without_a_clone_the_results_of_the_installation_are_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLCOUNT_PROJECT", str(tmp_path))  # no chapters there: no clone
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "prefix"))
    with pytest.raises(DataError, match="expected the committed results there"):
        results_folder()
    there = tmp_path / "prefix" / "share" / "cellcount" / "results"
    there.mkdir(parents=True)
    assert results_folder() == there


def test_no_place_of_a_machine_is_in_the_results():
    for path in (ROOT / "results").rglob("*"):
        if path.is_file():
            text = path.read_text(errors="ignore")
            for place in (ROOT, Path.home(), tempfile.gettempdir()):
                assert f"{place}/" not in text, path
