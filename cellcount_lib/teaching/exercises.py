"""Exercises of a chapter as notebooks to hand out: one source, a student's and a teacher's copy.

The exercises are the cells of a chapter under the heading "Exercises". Tags say what a cell is:
``stub`` is where a student writes, ``solution`` is a possible answer, and ``check`` fails until the
answer is right; ``answer`` is a possible answer in words. All other cells (the task, its hint, what
is given) go into both copies.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole

HEADING = "## Exercises"
TAGS = ("stub", "solution", "check")


def write_exercises(path: Path, out: Path, *, solutions: bool = False) -> list[Path]:
    """Write the student's copy of a chapter to the folder `out`; with `solutions`, both copies."""
    chapter = json.loads(path.read_text())
    copies = {"exercises": student} | ({"solutions": solved} if solutions else {})
    written = []
    for kind, make in copies.items():
        written.append(out / f"{path.stem}-{kind}.ipynb")
        write_whole(written[-1], json.dumps(make(chapter, path.stem), indent=1) + "\n")
    return written


def student(chapter: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the exercises of a chapter with room for answers, and without solutions."""
    return _notebook(chapter, name, without={"solution", "answer"}, kind="exercises")


def solved(chapter: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the exercises of a chapter with their solutions."""
    return _notebook(chapter, name, without={"stub"}, kind="solutions")


def exercise_cells(chapter: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the cells under the heading "Exercises", up to the next heading of its level.

    Every stub must be followed by its solution, and every solution by its check.
    """
    cells: list[dict[str, Any]] = []
    inside = False
    for cell in chapter["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and source.startswith("## "):
            inside = source.splitlines()[0].strip() == HEADING
        if inside:
            cells.append(cell)
    order = [tag for cell in cells for tag in TAGS if tag in tags(cell)]
    if not order or order != list(TAGS) * (len(order) // len(TAGS)):
        raise DataError(
            f"{name}: expected cells tagged stub, solution, check in turn below {HEADING!r}, "
            f"found {', '.join(order) or 'none'}"
        )
    return cells


def tags(cell: Mapping[str, Any]) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.get("metadata", {}).get("tags", ()))


def _notebook(
    chapter: Mapping[str, Any], name: str, *, without: set[str], kind: str
) -> dict[str, Any]:
    title = "".join(chapter["cells"][0]["source"]).splitlines()[0].lstrip("# ")
    set_up = next(cell for cell in chapter["cells"] if cell["cell_type"] == "code")
    opening = {
        "cell_type": "markdown",
        "id": "title",
        "metadata": {},
        "source": f"# {title}: {kind}\n\nTo the chapter `{name}` of the cell-counting book. "
        "Every exercise ends with a cell that fails until the answer is right.",
    }
    kept = [cell for cell in exercise_cells(chapter, name)[1:] if without.isdisjoint(tags(cell))]
    cells = [opening, *(_clean(cell) for cell in (set_up, *kept))]
    return {**{k: v for k, v in chapter.items() if k != "cells"}, "cells": cells}


def _clean(cell: Mapping[str, Any]) -> dict[str, Any]:
    clean = copy.deepcopy(dict(cell))
    kept = [tag for tag in tags(cell) if tag in TAGS]
    clean["metadata"] = {"tags": kept} if kept else {}
    if cell["cell_type"] == "code":
        clean |= {"outputs": [], "execution_count": None}
    return clean
