"""The committed results, computed again."""

import json
import tempfile
from pathlib import Path

import pytest

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.tables.committed import committed, results_folder, table
from cellcount_lib.tables.verify import differences, planned

ROOT = Path(__file__).resolve().parents[2]
TABLES = sorted((ROOT / "results").glob("*/*.json"))


@pytest.mark.parametrize("path", TABLES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_committed_table_is_what_its_sources_say(path):
    plan = json.loads(path.read_text())
    grid = planned(plan, path.parent.name)
    assert list(differences(grid, path.parent, missing=plan["missing"])) == []


def test_a_table_is_found_by_its_name_and_shows_links_from_the_chapters(tmp_path, monkeypatch):
    place = tmp_path / "results" / "laptop"
    place.mkdir(parents=True)
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "03_one_experiment.ipynb").touch()
    monkeypatch.setenv("CELLCOUNT_PROJECT", str(tmp_path))
    (place / "t.json").write_text(json.dumps({"published": {"a": {"f1": 0.5}}}))
    (place / "t.html").write_text('<a href="notebooks/t/run.ipynb">0</a>')
    (place / "t.csv").write_text("label,seed,run,f1\na,0,r,0.25\n")
    (place / "t-images.csv").write_text("run,image,tp\nr,x,1\n")
    assert committed() == ["t"]
    found = table("t")
    assert found.results.runs["f1"].tolist() == [0.25]
    assert found.published.loc["a", "f1"] == 0.5
    assert repr(found) == "table 't', profile 'laptop': 1 runs"
    assert found._repr_html_() == '<a href="../results/laptop/notebooks/t/run.ipynb">0</a>'
    with pytest.raises(InputError, match="did you mean 't'"):
        table("tt")


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
