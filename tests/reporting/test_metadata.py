"""Descriptions for other programs, read by those programs: mlcroissant and rocrate."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.files import sha256_of
from cellcount_lib.records import read_record, write_record
from cellcount_lib.reporting.crate import write_crate
from cellcount_lib.reporting.croissant import of_tables
from tests.command import cellcount
from tests.tables.made_results import results, write_results

RUNS = Path(__file__).parents[2] / "results" / "laptop" / "runs"


def croissant(path):
    import mlcroissant

    described = mlcroissant.Dataset(jsonld=path)
    assert described.metadata.ctx.issues.errors == set()
    return described


def test_mlcroissant_reads_the_rows_of_tables(tmp_path):
    folder = tmp_path / "laptop"
    folder.mkdir()
    made = results(a=[[9, 8], [7, 6]], b=[[5, 5], None])
    write_results(made, folder, "t")
    (folder / "t.json").write_text("{}")
    assert cellcount("report", "croissant", tmp_path).returncode == 0
    described = croissant(tmp_path / "croissant.json")
    (rows, images) = described.metadata.record_sets[::-1]
    assert {rows.name, images.name} == {"laptop/t.csv#rows", "laptop/t-images.csv#rows"}
    read = list(described.records("laptop/t.csv#rows"))
    assert [row["laptop/t.csv#seed"] for row in read] == [0, 1, 0, 1]
    assert [row["laptop/t.csv#label"] for row in read] == [b"a", b"a", b"b", b"b"]
    assert read[0]["laptop/t.csv#f1"] == pytest.approx(made.runs["f1"][0])
    files = {one.name: one.sha256 for one in described.metadata.file_objects}
    assert files["laptop/t.csv"] == sha256_of(folder / "t.csv")


def test_the_committed_tables_are_described_column_by_column():
    about = of_tables(RUNS.parents[1])
    named = {one["@id"] for one in about["distribution"]}
    assert {"laptop/losses.csv", "laptop/losses-images.csv", "study/losses.csv"} <= named
    (losses,) = (r for r in about["recordSet"] if r["@id"] == "laptop/losses.csv#rows")
    types = {field["name"]: field["dataType"] for field in losses["field"]}
    assert types["label"] == "sc:Text"
    assert types["seed"] == "sc:Integer"
    assert types["f1"] == "sc:Float"


def test_a_drawn_folder_says_how_it_was_drawn(tmp_path):
    place = tmp_path / "drawn"
    drawn = cellcount("simulate", place, "-n", "2", "--height", "64", "--width", "64", "--seed", 7)
    assert drawn.returncode == 0, drawn.stderr
    assert cellcount("report", "croissant", place).returncode == 0
    described = croissant(place / "croissant.json")
    assert "style fnc-yellow, seed 7" in described.metadata.description
    assert len(described.metadata.file_objects) == 5  # the table, two pictures, two labels
    assert json.loads((place / "croissant.json").read_text())["license"].endswith("Apache-2.0")


def test_where_there_is_nothing_to_describe(tmp_path):
    with pytest.raises(DataError, match="expected tables in the folders of profiles"):
        of_tables(tmp_path)


def crate(folder):
    from rocrate.rocrate import ROCrate

    return ROCrate(str(folder))


@pytest.fixture
def notebook():
    return next(RUNS.glob("simulated-predict-zero-recommended-*.ipynb"))


def test_rocrate_reads_a_kept_run(tmp_path, notebook):
    with pytest.raises(InputError, match="expected --out"):
        write_crate(notebook)
    done = cellcount("report", "crate", notebook, "--out", tmp_path / "crate")
    assert done.returncode == 0, done.stderr
    record, read = read_record(notebook), crate(tmp_path / "crate")
    assert [part.id for part in read.root_dataset["hasPart"]] == [notebook.name]
    run = read.dereference("#run")
    assert run["startTime"] == record.started
    assert run["endTime"] == record.finished
    assert run["actionStatus"].endswith("CompletedActionStatus")
    assert read.dereference("#parameter-method")["value"] == "predict-zero"
    assert read.dereference("#score-mae")["value"] == record.scores["mae"]
    assert read.dereference("#data")["identifier"] == record.identity["data"]
    assert read.dereference(notebook.name)["sha256"] == sha256_of(notebook)


def test_the_folder_of_a_failed_run_becomes_a_crate_where_it_is(tmp_path, notebook):
    record = read_record(notebook)
    failed = replace(
        record,
        status="failed",
        reason="out of memory",
        scores={},
        images=[],
        parameters={**record.parameters, "dataset": "folder:/home/ada/cells"},
    )
    write_record(tmp_path, failed)
    for _ in range(2):  # a description is no part of what it describes
        assert cellcount("report", "crate", tmp_path).returncode == 0
    read = crate(tmp_path)
    assert [part.id for part in read.root_dataset["hasPart"]] == ["record.json"]
    assert read.dereference("#run")["error"] == "out of memory"
    assert read.dereference("#data")["name"] == "folder:cells"
    assert "/home/ada" not in (tmp_path / "ro-crate-metadata.json").read_text()
