"""The command as a person meets it: real processes, real exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.main import get_command

from cellcount_lib.cli import app

COMMANDS = sorted(c.name or c.callback.__name__ for c in app.registered_commands)


def cellcount(*arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "cellcount_lib", *arguments],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100", **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_lists_every_command_with_a_sentence():
    shown = cellcount("--help")
    assert shown.returncode == 0
    hidden = {name for name, command in get_command(app).commands.items() if command.hidden}
    assert hidden == {"execute"}
    for command in set(COMMANDS) - hidden:
        assert command in shown.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command_is_explained(command):
    shown = cellcount(command, "--help")
    assert shown.returncode == 0, shown.stderr
    for parameter in get_command(app).commands[command].params:
        assert parameter.help, f"cellcount {command}: {parameter.name} has no help"


def test_the_help_of_train_names_every_loss():
    from cellcount_lib.losses import names

    (loss,) = (p for p in get_command(app).commands["train"].params if p.name == "loss")
    named = loss.help.partition(": ")[2].rstrip(".").split(", ")
    _, _, named[0] = named[0].rpartition(": ")
    assert named == [name for name in names() if not name.startswith("historical.")]


def test_help_does_not_import_torch():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cellcount_lib", "--help"],
        capture_output=True,
        text=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"torch", "fastai", "skimage", "pandas"}


def test_simulate_writes_a_folder_that_loads_with_the_same_bytes(tmp_path):
    from cellcount_lib.data.datasets import load
    from cellcount_lib.data.simulate import simulate

    done = cellcount(
        "simulate", "new", "-n", "3", "--height", "200", "--width", "240", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "folder:new" in done.stdout
    dataset = load(f"folder:{tmp_path / 'new'}")
    index = pd.read_csv(tmp_path / "new" / "index.csv")
    assert len(dataset) == 3
    for number, sample in enumerate(dataset):
        drawn = simulate(number, size=(200, 240))
        np.testing.assert_array_equal(sample.image, drawn.image)
        np.testing.assert_array_equal(sample.labels, drawn.labels)
        assert index["n_cells"][number] == drawn.count


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["simulate", "there"], "exists already"),
        (["simulate"], "either a folder to write or --report"),
        (["simulate", "x", "--report"], "either a folder to write or --report"),
        (["simulate", "x", "--style", "nucleii"], "did you mean 'nuclei"),
        (["download", "fnc-v3"], "did you mean 'fnc-v"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(tmp_path, arguments, says):
    (tmp_path / "there").mkdir()
    done = cellcount(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert says in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_wrong_option_exits_with_two():
    done = cellcount("simulate", "--colour", "red")
    assert done.returncode == 2
    assert "--colour" in done.stderr


def test_interrupted_simulation_leaves_nothing(tmp_path):
    import signal
    import time

    process = subprocess.Popen(
        [sys.executable, "-m", "cellcount_lib", "simulate", "new", "-n", "500"], cwd=tmp_path
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".new-*/images/*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) != 0
    assert list(tmp_path.iterdir()) == []


def test_doctor_reports_machine_packages_datasets_and_jobs(tmp_path):
    import torch

    (tmp_path / "elsewhere").mkdir()
    done = cellcount("doctor", "--root", str(tmp_path / "elsewhere"), CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert any(line.split() == ["torch", torch.__version__.split("+")[0]] for line in lines)
    assert any(line.startswith("Python") and sys.executable in line for line in lines)
    assert any(line.startswith("fnc-v1") and "cellcount download fnc-v1" in line for line in lines)
    assert any(line.startswith("simulated") and "ready" in line for line in lines)


def test_doctor_says_what_is_missing_and_how_to_get_it(monkeypatch):
    from cellcount_lib import doctor

    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    job = doctor.Job("try", "x", modules=("snakemake",), programs=("sbatch",), extra="hpc")
    assert doctor.missing_for(job) == [
        "snakemake (pip install 'cellcount-book[hpc]')",
        "the program sbatch",
    ]
