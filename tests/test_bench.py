"""The benchmark table tells the truth: on clocks and results that are known."""

import numpy as np
import pytest
import torch

from benchmarks import run
from benchmarks.harness import Case, seconds
from benchmarks.inference import but_for_rounding
from benchmarks.training import Laptop, as_exact, passes, with_torchs_layers
from cellcount_lib.inference.heatmaps import enlarged, rounded


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


def test_another_result_than_that_of_the_reference_ends_in_an_error(monkeypatch, tmp_path):
    out = tmp_path / "bench.md"
    monkeypatch.setattr("sys.argv", ["run", "matching", "--out", str(out)])
    monkeypatch.setattr(run, "reports", lambda topics: [])
    monkeypatch.setattr(run, "collect", lambda topics: [case(same=lambda a, b: a == b)])
    run.main()
    monkeypatch.setattr(run, "collect", lambda topics: [case(same=lambda a, b: a != b)])
    with pytest.raises(SystemExit, match="1 cases do not give the result of their reference"):
        run.main()
    assert "| NO |" in out.read_text()


def test_median_of_calls_within_the_budget(monkeypatch):
    clock = iter([0, 1, 10, 13, 20, 22])  # calls of 1, 3 and 2 seconds
    monkeypatch.setattr("benchmarks.harness.time.perf_counter", lambda: next(clock))
    assert seconds(lambda: "result", budget=5) == (2, "result")


def test_every_topic_has_cases_with_distinct_names():
    cases = run.collect(run.TOPICS)
    assert len({(c.name, c.reference_is) for c in cases}) == len(cases) >= 15


def test_a_heatmap_may_differ_by_the_rounding_of_its_logits_and_no_more():
    logits = np.random.default_rng(0).normal(0, 2, (40, 50)).astype(np.float32)
    exact = enlarged(logits, logits.shape)
    assert but_for_rounding(enlarged(rounded(logits), logits.shape), exact)
    coarse = np.rint(logits * 128) / np.float32(128)
    assert not but_for_rounding(enlarged(coarse, logits.shape), exact)


def test_bfloat16_may_be_as_far_from_float32_as_torchs_own_and_no_farther():
    plain = Laptop("fp32")
    exact = passes(plain, with_torchs_layers(plain.model().train()), 1)
    noise = torch.randn(exact.shape, generator=torch.Generator().manual_seed(0))
    assert as_exact(exact + 0.03 * noise, exact - 0.03 * noise)
    assert not as_exact(exact + 0.04 * noise, exact - 0.03 * noise)
