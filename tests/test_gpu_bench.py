"""What is measured on a lent GPU works without one, is kept as it comes, and is not done twice."""

import json
import math
import sys
import tarfile
import time
from dataclasses import replace
from functools import partial, partialmethod

import pytest
import torch

import benchmarks.training
from benchmarks import gpu
from benchmarks.harness import seconds
from benchmarks.quick_project import GRID, make_project
from cellcount_lib.data.folder import write_simulated
from cellcount_lib.models import build
from cellcount_lib.training.profiles import PROFILES
from cellcount_lib.training.spec import Training


@pytest.mark.timeout(900)  # trainings and runs of their own processes
def test_everything_on_the_cpu(tmp_path, monkeypatch, capsys):
    """In this process, on small pictures with the smallest network; what is killed has others."""
    one_row = GRID[: GRID.index("  - label: two")]
    project, out = make_project(tmp_path / "project", one_row), tmp_path / "out"
    monkeypatch.setenv("CELLCOUNT_PROJECT", str(project))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # small pictures are read here
    write_simulated(tmp_path / "cells", n=8, style="fnc-yellow", seed=0, size=(400, 512))
    small = {"dataset": f"folder:{tmp_path / 'cells'}", "arch": "small-unet"}
    monkeypatch.setitem(PROFILES._entries, "smoke", replace(PROFILES["smoke"], steps=4))
    monkeypatch.setattr(gpu, "Training", partial(Training, **small))
    resumed = [small["dataset"], "--arch", small["arch"]]
    monkeypatch.setattr(gpu, "RESUMED", resumed + gpu.RESUMED[1:])
    monkeypatch.setattr(gpu, "seconds", partial(seconds, budget=0))  # everything is timed once
    # to native code: tests/models/test_models.py
    compiled = partialmethod(torch.nn.Module.compile, backend="eager")
    monkeypatch.setattr(torch.nn.Module, "compile", compiled)
    for module in (gpu, benchmarks.training):
        monkeypatch.setattr(module, "choose_device", lambda: torch.device("cpu"))
        monkeypatch.setattr(module, "build", lambda name, **of: build("small-unet", **of))
    argv = ["gpu", "--minutes", "60", "--grid", "quick"]
    monkeypatch.setattr(sys, "argv", [*argv, "--out", str(out)])
    gpu.main()
    ended = capsys.readouterr()
    figures = json.loads((out / "figures.json").read_text())
    assert list(figures) == list(gpu.STEPS), ended.err
    assert [name for name in figures if "error" in figures[name]] == [], ended.err
    assert f"{len(gpu.STEPS)} of {len(gpu.STEPS)} steps" in ended.out
    losses = [v for k, v in figures["agreement with the CPU"].items() if k.startswith("loss ")]
    assert all(map(math.isfinite, losses))
    assert len(losses) == 2  # bfloat16 beside the CPU's own float32
    assert losses[0] != losses[1]
    assert figures["agreement with the CPU"]["met (2%)"]
    assert figures["resumption"]["was killed in the middle"]
    assert figures["resumption"]["largest difference of a weight"] == 0
    assert figures["the same heatmap"]["grey levels from the CPU, fp32"] == 0
    assert 0 < figures["the same heatmap"]["grey levels from the CPU, bf16"] < 20
    assert 0 <= figures["one real run"]["F1, morelli2021"] <= 1
    assert figures["runs of a grid"]["runs"] == 2
    with tarfile.open(out / "runs.tar.gz") as archive:
        assert len([name for name in archive.getnames() if name.endswith("record.json")]) == 2

    before = (out / "figures.json").stat().st_mtime_ns
    gpu.main()
    assert "==>" not in capsys.readouterr().out
    assert (out / "figures.json").stat().st_mtime_ns == before


@pytest.fixture
def bench(tmp_path):
    until = time.monotonic() + 100
    return gpu.Bench(tmp_path, torch.device("cpu"), "smoke", "losses", until)


def test_an_error_is_a_figure_and_is_tried_again(bench, monkeypatch):
    calls = []

    def fails_once(_):
        calls.append("fails")
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return {"figure": 1.5}

    monkeypatch.setattr(gpu, "STEPS", {"fails": fails_once, "works": lambda _: {"figure": 2}})
    done = gpu.measure(bench)
    assert done["fails"]["error"] == "RuntimeError: out of memory"
    assert done["works"]["figure"] == 2
    assert "- error: RuntimeError: out of memory" in (bench.out / "gpu.md").read_text()
    assert gpu.measure(bench)["fails"]["figure"] == 1.5
    assert calls == ["fails", "fails"]


def test_nothing_begins_when_the_time_is_over(bench, monkeypatch):
    monkeypatch.setattr(gpu, "STEPS", {"late": lambda _: {}})
    over = gpu.Bench(bench.out, bench.device, bench.profile, bench.grid, time.monotonic() - 1)
    assert gpu.measure(over) == {}
