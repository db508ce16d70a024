"""What a start buys: the table on a few discs, done once, and its summary by hand."""

import csv

import pytest

from benchmarks import starting
from cellcount_lib.errors import InputError
from tests.discs import write_dataset

SMALL = {"crop": 32, "batch": 4, "steps": 2, "epochs": 1, "profile": "smoke", "precision": "fp32"}


@pytest.fixture
def command(tmp_path, monkeypatch):
    discs = write_dataset(tmp_path / "discs", train=6, val=2)
    monkeypatch.setattr(starting, "VAL", 2)
    monkeypatch.setattr(starting, "SETTINGS", SMALL.copy())

    def run(*more):
        out = tmp_path / "starting.csv"
        asked = ["--data", f"discs=folder:{discs}", "--out", str(out), "--labelled", "3", *more]
        monkeypatch.setattr("sys.argv", ["starting", *asked])
        starting.main()
        return list(csv.DictReader(out.read_text().splitlines()))

    return run


def test_rows_are_kept_and_not_made_twice(command, monkeypatch, capsys):
    seen = []
    train = starting.train

    def watched(training, out, **how):
        seen.append(training)
        return train(training, out, **how)

    monkeypatch.setattr(starting, "train", watched)
    rows = command("--seeds", "0")
    assert [(r["labelled"], r["start"]) for r in rows] == [
        ("0", "nuclei-flows as it is"),
        ("3", "from nothing"),
        ("3", "from nuclei-flows"),
    ]
    assert float(rows[0]["f1"]) > 0.9, "discs are easy for a network that knows nuclei"
    nothing, gone_on = seen
    assert (nothing.init, nothing.loss, nothing.lr) == (None, None, None)
    assert (gone_on.init, gone_on.loss, gone_on.stretch) == ("nuclei-flows", "flows", True)
    assert (gone_on.lr, gone_on.seed) == (pytest.approx(0.0005), 0)
    capsys.readouterr()

    monkeypatch.setattr(starting, "train", lambda *_, **__: pytest.fail("made twice"))
    assert command("--seeds", "0") == rows
    monkeypatch.setattr(starting, "train", watched)
    more = command("--seeds", "0", "1")
    assert more[:3] == rows
    assert [r["seed"] for r in more[3:]] == ["1", "1"]
    starting.SETTINGS["steps"] = 3
    again = command("--seeds", "0")
    assert len(again) == 5
    assert {r["made_with"] for r in again if r["seed"] == "0"}.isdisjoint(
        r["made_with"] for r in rows
    )


def test_pictures_are_drawn_by_the_seed(tmp_path):
    discs = write_dataset(tmp_path / "discs", train=12, val=2)
    learnt = starting.pictures(f"folder:{discs}", "train")
    drawn = []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        starting.labelled(learnt, 2, seed, tmp_path / place)
        drawn.append([p.read_bytes() for p in sorted((tmp_path / place / "images").iterdir())])
        table = list(csv.DictReader((tmp_path / place / "index.csv").read_text().splitlines()))
        assert [r["split"] for r in table] == ["train"] * 2 + ["val"] * starting.VAL
    with pytest.raises(InputError, match=r"expected at most 4, for .* has 12 training pictures"):
        starting.labelled(learnt, 5, 0, tmp_path / "d")
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 2 + starting.VAL


def test_a_line_of_the_summary_by_hand():
    runs = [
        ("a", "10", "from nothing", s, f1, mae)
        for s, f1, mae in (("0", "0.5", "4"), ("1", "0.8", "1"))
    ]
    names = ("data", "labelled", "start", "seed", "f1", "mae")
    rows = [dict(zip(names, run, strict=True)) for run in runs]
    (line,) = starting.summary(rows)
    assert line == {
        **{"data": "a", "labelled": "10", "start": "from nothing", "trainings": "2"},
        **{"F1": "0.650", "MAE": "2.5", "F1 from, to": "0.500, 0.800"},
    }
