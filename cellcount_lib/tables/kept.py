"""Kept notebooks: of every run in a table, its executed notebook, once, whichever tables share it.

They are what a table is made of: ``results/PROFILE/runs/RUN.ipynb``, with the record, without
pictures and without the places of somebody's disk.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole
from cellcount_lib.records import MIME, NOTEBOOK, Record, as_json, read_record
from cellcount_lib.runs.grid import Run
from cellcount_lib.runs.identity import decisive
from cellcount_lib.runs.status import CURRENT, RUNS, State

# up to the last part of a path: names of folders hold spaces, and rather too much than too little
FOLDER = r'folder:(?:[^/"+\\\n]*/)+'
Records = Callable[[str], Record]
"""Gives the record of a run by its id; DataError where there is none."""


def place(run: str) -> str:
    """Return where a run's notebook is kept, seen from the tables."""
    return f"{RUNS}/{run}.ipynb"


def notebooks(folder: Path) -> list[Path]:
    """Return the kept notebooks beside the tables in a folder, each named as its run."""
    return sorted((folder / RUNS).glob("*.ipynb"))


def records_in(folder: Path) -> Records:
    """Return what reads the kept records of a profile's folder, each once."""
    return cache(lambda run: read_record(folder / place(run)))


def keep(states: Iterable[State], kept: Path, folder: Path) -> Iterator[str]:
    """Lay the executed notebooks of runs beside the tables in `folder`.

    What is kept already, for another table or by another machine, is taken from `kept`. Gives the
    ids of runs of which another record was there before: their tables are to be made again.
    """
    for state in states:
        path, there = state.folder / NOTEBOOK, folder / place(state.run.id)
        if state.state not in (*CURRENT, "failed") or state.record is None:
            continue
        if state.state == "kept":
            small = json.loads((kept / there.name).read_text())
        else:
            small = lean(json.loads(path.read_text())) if path.exists() else dict(EMPTY)
        if state.state == "failed":
            small["cells"] = [*small["cells"], _failure(state.record)]
        before = _record(there)
        write_whole(there, json.dumps(small, separators=(",", ":"), sort_keys=True) + "\n")
        if before is not None and before != _record(there):
            yield state.run.id


EMPTY: Mapping[str, Any] = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def _failure(record: Record) -> dict[str, Any]:
    """Make a cell that shows the record of a run that could not show it itself."""
    record = replace(record, reason=without_paths(record.reason))
    values = json.loads(public_name(json.dumps(as_json(record))))
    shown = {"text/plain": record.summary(), MIME: values}
    output = {"output_type": "display_data", "metadata": {}, "data": shown}
    return {
        "cell_type": "code",
        "id": "failure",
        "metadata": {},
        "source": "",
        "execution_count": None,
        "outputs": [output],
    }


def _record(path: Path) -> Record | None:
    try:
        return read_record(path)
    except DataError:
        return None


def lean(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notebook without pictures, warnings, timings, and places on a disk.

    Pictures of real data may not travel, and those of simulated data weigh more than all else.
    """
    cells = []
    for cell in notebook["cells"]:
        cell = dict(cell)
        tags = cell["metadata"].get("tags", [])
        cell["metadata"] = {"tags": tags} if tags else {}
        if "injected-parameters" in tags:
            cell["source"] = _without_places(cell["source"])
        if cell["cell_type"] == "code":
            said = [o for o in cell["outputs"] if o.get("name") != "stderr"]
            cell["outputs"] = [_without_picture(output) for output in said]
        cells.append(cell)
    metadata = {k: notebook["metadata"][k] for k in ("kernelspec", "language_info")}
    metadata["language_info"] = {"name": "python"}
    text = json.dumps({**notebook, "cells": cells, "metadata": metadata})
    return json.loads(public_name(text))


def _without_places(source: str | Sequence[str]) -> str:
    lines = "".join(source).splitlines()
    places = ("out =", "root =", "run_folder =")
    return "\n".join(line for line in lines if not line.startswith(places))


def _without_picture(output: Mapping[str, Any]) -> dict[str, Any]:
    if output["output_type"] == "error":
        return {**output, "evalue": without_paths(output["evalue"]), "traceback": []}
    data = output.get("data", {})
    if not any(kind.startswith("image/") for kind in data):
        return dict(output)
    size = data.get("text/plain", "a figure")
    text = f"{''.join(size)}: left out of the kept notebook; run it to see the figure"
    return {"output_type": "display_data", "metadata": {}, "data": {"text/plain": text}}


def public_name(text: str) -> str:
    """Return a dataset's name, or more text, without the place of a folder on somebody's disk.

    Examples
    --------
    >>> public_name("patches:5:folder:/home/me/cells"), public_name("simulated:nuclei")
    ('patches:5:folder:cells', 'simulated:nuclei')
    >>> public_name("simulated+folder:/Users/Ann Lee/it's mine/cells+fnc-v1")
    'simulated+folder:cells+fnc-v1'
    """
    return re.sub(FOLDER, "folder:", text)


def without_paths(text: str) -> str:
    """Shorten paths to their last part: where something lay on a disk is nobody's business.

    Examples
    --------
    >>> without_paths("DataError: /home/me/data/a.png: it is empty")
    'DataError: a.png: it is empty'
    """
    return re.sub(r"(?<![\w.])/(?:[^\s/:'\"]+/)+", "", text)


def asks_otherwise(record: Record, run: Run) -> list[str]:
    """Say which parameters of a record are not those that a grid asks for; nothing if it is it."""
    old, new = decisive(record.parameters), decisive(run.parameters)
    return [
        f"{name} ({new.get(name)!r}, was {old.get(name)!r})"
        for name in sorted({*old, *new})
        if not same_but_for_places(str(old.get(name)), str(new.get(name)))
    ]


def same_but_for_places(kept: str, asked: str) -> bool:
    """Compare two values of a parameter. The id of a run on a folder depends on where that lay."""
    if "folder-" in asked:
        words = asked.rpartition("folder-")[2].rpartition("-")[0]
        return kept.rpartition("-")[0].endswith(words)
    return public_name(kept) == public_name(asked)


def needs(record: Record) -> list[str]:
    """Return the ids of the runs whose weights or heatmaps a run used."""
    names = (record.parameters.get(name) or "" for name in ("run", "init"))
    return [run for runs in names for run in runs.split("+") if run]
