"""Work in several processes, and that none of them is left."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import joblib
import psutil
import pytest
import torch

from cellcount_lib.machine import in_processes, subnormals_as_zero

ROOT = Path(__file__).resolve().parents[1]
ENDLESS = """
import joblib, time
from cellcount_lib.machine import in_processes
for _ in in_processes((joblib.delayed(time.sleep)(0.1) for _ in range(10**6)), 2):
    print("at work", flush=True)
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_order(jobs):
    calls = (joblib.delayed(pow)(i, 2) for i in range(40))
    assert list(in_processes(calls, jobs)) == [i * i for i in range(40)]


def test_processes_end_when_the_one_that_started_them_is_killed():
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "at work\n"
    started = psutil.Process(process.pid).children(recursive=True)
    assert sum("LokyProcess" in " ".join(p.cmdline()) for p in started) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not psutil.wait_procs(started, timeout=10)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_freed_memory_is_kept_for_the_next_array():
    # in a process of its own, since what is kept is kept for good
    code = """
import resource
import torch
from cellcount_lib.machine import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        several = [torch.ones(2_000_000) for _ in range(6)]  # 8 MB each: 2000 pages
        del several
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
given_back = faults()
keep_freed_memory()
faults()
print(given_back, faults())
"""
    given = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # glibc adapts both sizes to what a program does; these are what it begins with
    given |= {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    ran = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    given_back, kept = map(int, ran.stdout.split())
    assert given_back > 10_000
    assert kept < 1000


def test_subnormal_numbers_are_zero_for_a_while():
    tiny = torch.full((8,), 1000, dtype=torch.int32).view(torch.float32)  # 1.4e-42

    def left():
        return torch.count_nonzero((tiny * 1.0).view(torch.int32)).item()

    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    torch.set_flush_denormal(False)
    with contextlib.suppress(KeyError), subnormals_as_zero():
        with subnormals_as_zero():
            assert left() == 0
        assert left() == 0, "as it was before the inner one"
        raise KeyError
    assert left() == 8
