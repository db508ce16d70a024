"""tools/step.py: what a person sees while `make` works."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools.step import clock

STEP = Path(__file__).resolve().parents[1] / "tools" / "step.py"


def step(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(STEP), *arguments], cwd=folder, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (9.94, "9.9 s"), (45.4, "45 s"), (125, "2 min 05 s")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_says_what_it_does_and_how_long_it_took(tmp_path):
    done = step(tmp_path, "Greet", "--", sys.executable, "-c", "print('hello')")
    assert done.returncode == 0
    first, *_, last = [line for line in done.stdout.splitlines() if line]
    assert first == "==> Greet"
    assert "hello" in done.stdout
    assert last.startswith("==> Greet: done in")


def test_failure_keeps_the_exit_code_and_says_so(tmp_path):
    done = step(tmp_path, "Fail", "--", sys.executable, "-c", "raise SystemExit(7)")
    assert done.returncode == 7
    assert "FAILED (exit code 7)" in done.stdout


def test_missing_program_is_one_sentence(tmp_path):
    done = step(tmp_path, "Lost", "--", "no-such-program-here")
    assert done.returncode == 127
    assert done.stderr == "==> Lost: no-such-program-here is not installed\n"


def test_summary_lists_each_step_once_and_then_nothing_to_do(tmp_path):
    for title in ("One", "Two"):
        step(tmp_path, title, "--", sys.executable, "-c", "pass")
    first = step(tmp_path, "--summary").stdout
    assert [line.split()[0] for line in first.splitlines()[2:]] == ["One", "Two", "total"]
    assert "nothing to do" in step(tmp_path, "--summary").stdout


def test_interrupt_stops_the_command_and_says_how_to_go_on(tmp_path):
    wait = [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(60)"]
    process = subprocess.Popen(
        [sys.executable, str(STEP), "Wait", "--", *wait],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert "1\n" in iter(process.stdout.readline, ""), "the command did not start"
    # Ctrl-C reaches the whole foreground group
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in output
