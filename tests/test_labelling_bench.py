"""The comparison of strategies: on a few discs, interrupted, and its summary by hand."""

import csv

import numpy as np
import pytest

from benchmarks import labelling
from benchmarks.rows import read
from cellcount_lib.data.sample import Sample
from tests.discs import draw, write_dataset


@pytest.fixture
def command(tmp_path, monkeypatch):
    discs = write_dataset(tmp_path / "discs", train=8)
    monkeypatch.setattr(labelling, "POOL", 6)
    monkeypatch.setattr(labelling, "FIRST", 2)
    monkeypatch.setattr(labelling, "MORE", (2,))
    monkeypatch.setattr(labelling, "SETTINGS", {"crop": 32, "batch": 4, "steps": 2, "epochs": 1})

    def run(*more):
        out = tmp_path / "labelling.csv"
        asked = ["--data", f"discs=folder:{discs}", "--seeds", "0", "--out", str(out)]
        monkeypatch.setattr("sys.argv", ["labelling", *asked, *more])
        labelling.main()
        return list(csv.DictReader(out.read_text().splitlines()))

    return run


def test_curves_are_kept_and_are_not_done_twice(command, tmp_path, monkeypatch, capsys):
    first = command("--strategies", "foreground")
    assert [(r["strategy"], r["pictures"]) for r in first] == [
        ("start", "0"),
        ("start", "2"),
        ("foreground", "4"),
    ]
    assert first[0]["clicked"] == "0"
    done = {k: int(v) for k, v in first[2].items() if k in labelling.Work._fields}
    kinds = ("accepted", "corrected", "outlined", "removed")
    assert int(first[2]["clicked"]) == sum(done[k] for k in kinds) > 0
    prices = {"pictures": 20, "accepted": 2, "corrected": 12, "outlined": 25, "removed": 2}
    seconds = sum(done[kind] * price for kind, price in prices.items())
    assert float(first[2]["minutes"]) == pytest.approx(seconds / 60, abs=0.005)
    assert 0 <= float(first[2]["f1"]) <= 1
    monkeypatch.setattr(labelling, "curves", lambda *_: pytest.fail("done twice"))
    capsys.readouterr()
    assert command("--strategies", "foreground") == first
    shown = capsys.readouterr().out
    assert (tmp_path / "labelling.md").read_text() == shown
    assert "| foreground |" in shown

    # other settings: the curve is made again, and its lines replaced
    labelling.SETTINGS["steps"] = 3
    monkeypatch.setattr(labelling, "curves", lambda *_: [("foreground", [first[2]])])
    again = command("--strategies", "foreground")
    assert [r["strategy"] for r in again] == ["start", "start", "foreground"]
    assert again[2]["made_with"] != first[2]["made_with"]


def test_quarters_are_the_picture_cut_in_the_middle():
    image, labels = draw(np.random.default_rng(0), size=(61, 80), number=3)
    parts = [*labelling.quarters(Sample(image, labels, {"name": "n", "split": "val"}))]
    assert [part.labels.shape for part in parts] == [(30, 40), (30, 40), (31, 40), (31, 40)]
    whole = np.vstack([np.hstack([p.labels for p in parts[row : row + 2]]) for row in (0, 2)])
    np.testing.assert_array_equal(whole, labels)
    np.testing.assert_array_equal(parts[1].image, image[:30, 40:])
    assert [part.meta["name"] for part in parts] == ["n/aa", "n/ab", "n/ba", "n/bb"]
    assert parts[3].meta["split"] == "val"


def test_summary_compares_within_seeds():
    def row(strategy, seed, f1):
        return {"data": "d", "strategy": strategy, "seed": str(seed), "pictures": "8"} | {
            "f1": str(f1), "clicked": "10", "minutes": "4", "minutes_without": "5"
        }  # fmt: skip

    rows = [row("foreground", s, f) for s, f in enumerate((0.4, 0.5, 0.6))]
    rows += [row("random", s, f) for s, f in ((0, 0.5), (2, 0.5))]
    random, control = labelling.summary(rows)
    assert (random["strategy"], random["seeds"], random["F1"]) == ("random", "2", "0.500")
    assert random["F1 over foreground"] == "+0.000 (1 of 2)"
    assert (random["minutes saved"], random["minutes"]) == ("1.0", "4.0")
    assert (control["F1"], control["lowest"], control["highest"]) == ("0.500", "0.400", "0.600")
    assert control["F1 over foreground"] == "-"


def test_what_chapter_11_says_of_the_committed_table():
    """No strategy is above or below `foreground` in every seed, nor by more than seeds differ."""
    every = [r for r in read(labelling.OUT) if r["data"] == "simulated"]
    f1: dict[str, list[float]] = {}
    for row in sorted(every, key=lambda r: int(r["seed"])):
        if row["pictures"] == "20":
            f1.setdefault(row["strategy"], []).append(float(row["f1"]))
    control = np.array(f1.pop("foreground"))
    assert len(control) == 3
    assert len(f1) == 4
    spread = min(np.ptp(runs) for runs in (control, *f1.values()))
    for runs in f1.values():
        assert 0 < (runs > control).sum() < 3
        assert abs(np.mean(runs - control)) < spread
