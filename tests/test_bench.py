"""The benchmark table tells the truth: on clocks and results that are known."""

import pytest

from benchmarks import run
from benchmarks.harness import Case, seconds


def times(monkeypatch, ours, theirs):
    answers = iter([(ours, 1), (theirs, 1)])
    monkeypatch.setattr(run, "seconds", lambda *a, **k: next(answers))


def case(**aims):
    return Case("a case", ours=lambda: 1, reference=lambda: 1, **aims)


@pytest.mark.parametrize(
    ("aims", "met"),
    [
        ({"at_least": 10}, "yes"),
        ({"at_least": 11}, "no: 10.0x < 11x"),
        ({"at_most_s": 0.1}, "yes"),
        ({"at_most_s": 0.05}, "no: 0.100 s > 0.05 s"),
        ({}, "-"),
        ({"same": lambda a, b: False}, "no: results differ"),
    ],
)
def test_a_missed_aim_is_said(monkeypatch, aims, met):
    times(monkeypatch, 0.1, 1.0)
    row = run.measure(case(**aims))
    assert row["met"] == met
    assert row["ratio"] == "10.0x"


def test_median_of_calls_within_the_budget(monkeypatch):
    clock = iter([0, 1, 10, 13, 20, 22])  # calls of 1, 3 and 2 seconds
    monkeypatch.setattr("benchmarks.harness.time.perf_counter", lambda: next(clock))
    assert seconds(lambda: "result", budget=5) == (2, "result")


def test_every_topic_has_cases_with_distinct_names():
    cases = run.collect(run.TOPICS)
    assert len({(c.name, c.reference_is) for c in cases}) == len(cases) >= 15
