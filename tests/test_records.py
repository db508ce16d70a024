import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cellcount_lib import records
from cellcount_lib.errors import DataError
from cellcount_lib.machine import cores, processor
from cellcount_lib.records import Record, as_json, read_record, schema, write_record

HASH = "0123456789abcdef"


@pytest.fixture
def record():
    image = {"image": "a", "n_true": 2, "n_pred": 1, "tp": 1, "fp": 0, "fn": 1, "status": "ok"}
    return Record(
        status="completed",
        reason="",
        chapter="03_one_experiment",
        parameters={"seed": 0, "loss": None},
        identity={"parameters": HASH, "chapter": HASH, "data": "f", "code": {"a.py": HASH}},
        protocol="recommended",
        protocol_scale=1.0,
        cutoff=np.float64(0.5),
        scores={"f1": 2 / 3, "mae": 1.0, "n_images": np.int64(1), "r2": float("nan")},
        images=[image],
        history=[{"epoch": 0, "valid_loss": float("nan")}],
        seconds={"total": 1.5},
        started="2026-01-02T03:04:05Z",
    )


def test_a_record_comes_back(record, tmp_path):
    write_record(tmp_path, record)
    back = read_record(tmp_path / "record.json")
    assert as_json(back) == as_json(record)
    assert back.scores["r2"] is None  # JSON has no NaN
    assert back.scores["f1"] == 2 / 3  # to the last digit
    assert back.table()["tp"].tolist() == [1]
    assert back.machine["processor"]
    assert back.versions["torch"]
    assert back.peak_mb > 10


def test_how_the_cutoff_came_about_is_kept_and_told(record, tmp_path):
    assert record.summary().endswith("test pictures, cutoff 0.5")
    edge = {"rule": "argmax", "value": 0.4, "edge": "lowest", "note": "the lowest of its grid"}
    told = replace(record, choice=edge)
    write_record(tmp_path, told)
    assert read_record(tmp_path / "record.json").choice == edge
    assert told.summary().endswith("cutoff 0.5 (argmax; the lowest of its grid)")
    values = as_json(told)
    (tmp_path / "record.json").write_text(json.dumps(values | {"choice": {"edge": "left"}}))
    with pytest.raises(DataError, match="'left' is not one of"):
        read_record(tmp_path / "record.json")
    del values["choice"]  # as written before it was kept
    (tmp_path / "record.json").write_text(json.dumps(values))
    assert read_record(tmp_path / "record.json").choice == {}


def test_a_notebook_alone_is_enough(record, tmp_path):
    shown = record._repr_mimebundle_()
    assert shown["text/plain"].startswith("completed; recommended: F1 0.667")
    output = {"output_type": "execute_result", "data": json.loads(json.dumps(shown))}
    notebook = {"cells": [{"outputs": []}, {"cell_type": "markdown"}, {"outputs": [output]}]}
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps(notebook))
    assert as_json(read_record(path)) == as_json(record)
    # a cell that was executed again shows the last record
    earlier = json.loads(json.dumps(output).replace("completed", "collapsed"))
    notebook["cells"].insert(0, {"outputs": [earlier]})
    notebook["cells"].append({"outputs": [{"output_type": "stream", "text": "end"}]})
    path.write_text(json.dumps(notebook))
    assert as_json(read_record(path)) == as_json(record)
    path.write_text(json.dumps({"cells": []}))
    with pytest.raises(DataError, match="found none in it"):
        read_record(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "done"}, "status: 'done' is not one of"),
        ({"version": 0}, "expected a record of version 1, found 0; run it again"),
        ({"extra": 1}, "extra"),
        ({"identity": {"parameters": "x"}}, "identity"),
        ({"started": "yesterday"}, "started"),
        ({"images": [{"image": "a"}]}, "images/0"),
        ({"status": "failed", "reason": ""}, "reason"),
    ],
)
def test_the_schema_is_kept(record, tmp_path, change, message):
    values = as_json(record) | change
    path = tmp_path / "record.json"
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=message):
        read_record(path)


def test_a_bad_record_is_not_written(record, tmp_path):
    with pytest.raises(DataError, match="status"):
        write_record(tmp_path, replace(record, status="over"))
    assert not list(tmp_path.iterdir())


def test_damaged_and_absent_records(tmp_path):
    with pytest.raises(DataError, match="found nothing there"):
        read_record(tmp_path / "record.json")
    (tmp_path / "record.json").write_text('{"version"')
    with pytest.raises(DataError, match="cannot be read"):
        read_record(tmp_path / "record.json")


def test_the_schema_is_a_schema():
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(schema())
    assert set(schema()["properties"]) == set(Record.__dataclass_fields__)
    # the records of the committed notebooks do not have these yet
    assert set(Record.__dataclass_fields__) - set(schema()["required"]) == {"lr", "choice"}


def test_a_mac_has_neither_proc_nor_affinity(monkeypatch):
    exists = Path.exists
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(Path, "exists", lambda p: not str(p).startswith("/proc/") and exists(p))
    monkeypatch.setattr(records.sys, "platform", "darwin")
    usage = SimpleNamespace(ru_maxrss=300 * 2**20)  # in bytes there, in kilobytes on Linux
    monkeypatch.setattr(records.resource, "getrusage", lambda who: usage)
    assert records.peak_mb() == 300
    assert cores() >= 1
    assert processor().endswith(f", {cores()} cores")
    assert records.machine()["processor"] == processor()
