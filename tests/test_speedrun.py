"""Time to quality: its rule on scores by hand, and the command on a few discs, interrupted."""

import csv
from dataclasses import replace

import pytest

from benchmarks import speedrun
from cellcount_lib.errors import InputError
from tests.discs import write_dataset
from tests.training.small import SMALL


@pytest.mark.parametrize(
    ("scores", "first"),
    [
        ([0.6], 0),
        ([0.59], None),
        ([0.7, 0.8], 0),
        ([0.7, 0.5, 0.6], 2),
        ([0.7, 0.9, 0.5], None),
        ([float("nan"), 0.7], 1),
        ([], None),
    ],
)
def test_the_target_is_reached_where_no_later_score_is_below(scores, first):
    assert speedrun.from_then_on(scores, 0.6) == first


def test_every_entry_is_a_training():
    for settings in speedrun.ENTRIES.values():
        replace(speedrun.Training(), **settings)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run the command on discs, at tiny scale, with an entry that learns and one that cannot."""
    discs = write_dataset(tmp_path / "discs")
    small = {k: v for k, v in SMALL.items() if k not in ("profile", "protocol_scale", "scale")}
    entries = {"learns": small | {"steps": 30}, "does not": small | {"steps": 1, "epochs": 1}}
    monkeypatch.setattr(speedrun, "ENTRIES", entries)
    monkeypatch.setattr(speedrun, "heatmaps", at_one_thread(speedrun.heatmaps))

    def run(*more):
        asked = ["--data", f"discs=folder:{discs}", "--profile", "smoke", "--target", "0.5"]
        out = tmp_path / "speedrun.csv"
        monkeypatch.setattr("sys.argv", ["speedrun", *asked, "--out", str(out), *more])
        speedrun.main()
        return list(csv.DictReader(out.read_text().splitlines()))

    return run


def at_one_thread(function):
    return lambda *a, **k: function(*a, jobs=1, **k)


def test_runs_are_lines_and_are_not_done_twice(command, tmp_path, monkeypatch, capsys):
    first = command("--seeds", "0", "--entries", "learns")
    assert [row["entry"] for row in first] == ["learns"]
    curve = [part.split(":") for part in first[0]["curve"].split()]
    assert [int(steps) for steps, _ in curve] == [30, 60, 90, 120]
    reached = speedrun.from_then_on([float(f1) for _, f1 in curve], 0.5)
    assert first[0]["steps"] == curve[reached][0]
    assert float(first[0]["cpu_minutes"]) > 0
    assert 0 < float(first[0]["minutes"]) < 5
    assert float(first[0]["last_f1"]) >= 0.5

    both = command("--seeds", "0")
    assert both[0] == first[0]
    assert [row["entry"] for row in both] == ["learns", "does not"]
    assert (both[1]["minutes"], both[1]["steps"]) == ("", "")
    assert capsys.readouterr().out.count("...") == 2

    monkeypatch.setattr(speedrun, "timed", lambda *_: pytest.fail("done twice"))
    assert command("--seeds", "0") == both
    shown = capsys.readouterr().out
    assert "| learns |" in shown
    assert (tmp_path / "speedrun.md").read_text() == shown

    # other settings under the name of an entry: its line is made again, and replaced
    speedrun.ENTRIES["learns"]["steps"] = 31
    empty = dict.fromkeys(("minutes", "cpu_minutes", "steps", "last_f1", "curve"), "")
    monkeypatch.setattr(speedrun, "timed", lambda *_: empty)
    again = command("--seeds", "0")
    assert [row["entry"] for row in again] == ["does not", "learns"]
    assert again[0] == both[1]
    assert again[1]["made_with"] != both[0]["made_with"]


def test_summary_is_of_medians_by_time_and_of_runs_that_all_get_there():
    def row(entry, seed, minutes):
        own = {"entry": entry, "seed": str(seed), "minutes": minutes, "cpu_minutes": minutes}
        rest = {"data": "d", "target": "0.6", "machine": "m", "last_f1": "0.7"}
        return own | rest

    rows = [row("slow", 0, "4"), row("never", 0, ""), row("fast", 0, "1"), row("fast", 1, "3")]
    rows += [row("never", 1, "1"), row("fast", 2, "1.5")]
    found = [(r["entry"], r["minutes"], r["reached"]) for r in speedrun.summary(rows)]
    assert found == [
        ("fast", "1.50", "3 of 3"),
        ("slow", "4.00", "1 of 1"),
        ("never", "-", "1 of 2"),
    ]


def test_an_unknown_entry_says_which_there_are(command, monkeypatch):
    monkeypatch.setattr(speedrun, "ENTRIES", speedrun.Registry("entry", {"recommended": {}}))
    with pytest.raises(InputError, match="recommended"):
        command("--entries", "recomended")


def test_data_without_a_fixed_target_needs_one(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["speedrun", "--data", "simulated", "mine=folder:here"])
    with pytest.raises(SystemExit):
        speedrun.main()
    assert "no target is fixed for mine: give one by --target" in capsys.readouterr().err
