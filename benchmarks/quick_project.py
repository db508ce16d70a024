"""A project whose chapters take a second: orchestration without training."""

import dataclasses
import json
import shutil
from pathlib import Path

import yaml

from cellcount_lib.models import MODELS
from cellcount_lib.runs.identity import code_of
from cellcount_lib.training.spec import Training

ROOT = Path(__file__).resolve().parents[1]

BODY = """
import json, os, time
from pathlib import Path
from cellcount_lib.records import Record, now, write_record
from cellcount_lib.data.datasets import load
from cellcount_lib.runs import identity

begun = now()
names = PARAMETER_NAMES
parameters = {name: globals()[name] for name in names}
time.sleep(float(os.environ.get("QUICK_SECONDS", "0")))
stuck = os.environ.get("QUICK_STUCK", "")  # a network whose runs never leave a record
if arch == stuck:  # sweep heatmaps in other processes, for a minute
    import itertools
    import numpy as np
    from cellcount_lib.scoring.protocols import protocol as named
    from cellcount_lib.scoring.sweeps import sweep_rows
    truth = np.zeros((200, 200), np.int32)
    truth[50:90, 50:90] = 1
    end = time.monotonic() + 60
    pictures = itertools.takewhile(lambda _: time.monotonic() < end, itertools.repeat(truth))
    sweep_rows((p * 0.7 for p in pictures), itertools.repeat(truth), named(protocol), jobs=2)
if arch == "fcn":
    raise ValueError("this one fails")
rows = [
    {"image": f"{i}", "n_true": 4, "n_pred": 4 - (i + seed) % 3, "tp": 4 - (i + seed) % 3,
     "fp": 0, "fn": (i + seed) % 3, "status": "ok", "n_objects_true": 4,
     "n_objects_pred": 4 - (i + seed) % 3}
    for i in range(6)
]
import pandas as pd
from cellcount_lib.scoring.pooling import pooled
project = Path(os.environ["CELLCOUNT_PROJECT"])
chapter = project / "chapters" / "03_one_experiment.ipynb"
code = json.loads((project / "code.json").read_text())  # to find it takes torch, and seconds
identity.code_of = lambda parameters: code[parameters["arch"]]
record = Record(
    status="collapsed" if arch == "unet" and seed == 1 else "completed", reason="",
    chapter="03_one_experiment",
    parameters=parameters,
    identity=identity.identity_of(
        chapter, parameters, data=load(dataset, split="train").fingerprint
    ),
    protocol=protocol, protocol_scale=1.0, cutoff=0.5, scores=pooled(pd.DataFrame(rows)),
    images=rows, history=[], lr=0.002 if seed else 0.001,
    seconds={"total": 1.0, "training": 0.5}, started=begun,
)
write_record(Path(out), record)  # a run that is killed before this one may be done again
(Path(out) / "threads.txt").write_text(os.environ["OMP_NUM_THREADS"])
with open(Path(out).parent / "executions.txt", "a") as file:
    file.write(Path(out).name + "\\n")
time.sleep(60 if stuck else 0)  # the others leave theirs, and do not end
record
"""


def make_project(folder: Path, grid: str = "") -> Path:
    """Write chapters, a grid named quick, and the real Snakefile."""
    real = json.loads((ROOT / "chapters" / "03_one_experiment.ipynb").read_text())
    cell = next(c for c in real["cells"] if "parameters" in c["metadata"].get("tags", ()))
    parameters = "".join(cell["source"])
    names = [line.split(" = ")[0] for line in parameters.splitlines() if " = " in line]
    names = [name for name in names if name not in ("out", "root", "device")]
    body = BODY.replace("PARAMETER_NAMES", repr(names))
    notebook = {
        "cells": [code(parameters, "parameters"), code(body)],
        "metadata": real["metadata"],
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "chapters").mkdir(parents=True)
    (folder / "chapters" / "03_one_experiment.ipynb").write_text(json.dumps(notebook))
    (folder / "experiments").mkdir()
    (folder / "experiments" / "quick.yaml").write_text(grid or GRID)
    base = yaml.safe_load(grid or GRID)["base"] | {"profile": "smoke"}
    runs = {arch: dataclasses.asdict(Training(**base, arch=arch)) for arch in MODELS}
    code_of_runs = {arch: code_of(parameters) for arch, parameters in runs.items()}
    (folder / "code.json").write_text(json.dumps(code_of_runs))
    shutil.copytree(ROOT / "workflow", folder / "workflow")
    return folder


def code(source, *tags):
    return {
        "cell_type": "code",
        "id": f"c{abs(hash(source)) % 10**7}",
        "metadata": {"tags": list(tags)},
        "source": source,
        "execution_count": None,
        "outputs": [],
    }


GRID = """
title: Quick
published_on: [simulated]
base: {dataset: simulated}
seeds: [0, 1]
columns: {f1: F1, mae: MAE}
rows:
  - label: one
    set: {arch: c-resunet}
    published: {f1: 0.8}
  - label: two
    set: {arch: unet}
"""
