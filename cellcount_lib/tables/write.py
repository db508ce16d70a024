"""All files of a table: tidy CSV, what it was made of, the table as Markdown, HTML and LaTeX."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.files import write_whole
from cellcount_lib.runs.grid import Grid, load_grid
from cellcount_lib.tables.collect import Results, again, missing_run, read_results, to_csv
from cellcount_lib.tables.formats import FORMATS
from cellcount_lib.tables.kept import Records, place
from cellcount_lib.tables.render import tables

ASKED = ("grid", "seeds", "dataset", "scale")
"""What the JSON file beside a table says that the grid was read with; "rows", too, if only some."""


def plans(grid: str | None, out: Path) -> Iterator[tuple[Path, Mapping[str, Any], Grid]]:
    """Go through the collected tables: folder, plan and grid; at least one, or it is an error."""
    looked = 0
    for path in sorted(out.glob("*/*.json")):
        plan = json.loads(path.read_text())
        if grid is None or plan["grid"] == grid:
            looked += 1
            given = {name: plan[name] for name in ASKED[1:]}
            made = load_grid(plan["grid"], profile=path.parent.name, **given)
            yield path.parent, plan, made.only(plan["rows"]) if plan.get("rows") else made
    if not looked:
        raise DataError(f"{out}: expected collected tables, found none")


def files(grid: Grid, results: Results, plan: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of every file of a table, by how its name ends."""
    made = tables(grid, results, notebook=place)
    about = {name: plan[name] for name in (*ASKED, "rows") if name in plan} | {
        "missing": results.missing,
        "columns": dict(grid.columns),
        "published": {row.label: dict(row.published) for row in grid.rows if row.published},
    }
    return {
        ".csv": to_csv(results.runs),
        "-images.csv": to_csv(results.images),
        ".json": json.dumps(about) + "\n",
        **{f".{extension}": text(made) for extension, text in FORMATS.items()},
    }


def write(grid: Grid, results: Results, plan: Mapping[str, Any], folder: Path) -> None:
    """Write all files of a table, each whole or not at all."""
    for end, text in files(grid, results, plan).items():
        write_whole(folder / f"{grid.name}{end}", text)


def made_again(grid: Grid, plan: Mapping[str, Any], folder: Path, records: Records) -> Results:
    """Make a table's results again from the kept records of the runs that it names."""
    there = read_results(folder, grid.name)
    return again(replace(there, missing=_lacking(grid, there, plan["missing"])), records)


def among_others(
    whole: Grid, results: Results, plan: dict[str, Any], folder: Path
) -> tuple[Grid, Results, dict[str, Any]]:
    """Put rows of a grid into its table in the folder, if one is there: other rows stay in it.

    Gives the grid, the results of which `again` makes the table, and its plan.
    """
    path = folder / f"{whole.name}.json"
    asked = whole.only(plan["rows"])
    if not path.exists():
        return asked, results, plan
    there: Mapping[str, Any] = json.loads(path.read_text())
    for name in ASKED:
        if there[name] != plan[name]:
            raise InputError(
                f"{path}: --rows puts rows into this table; expected its {name} "
                f"({there[name] or 'the default'}), found {plan[name] or 'the default'}; "
                "ask as it was asked, or give another folder as --out"
            )
    words = list(dict.fromkeys([*there["rows"], *plan["rows"]])) if "rows" in there else []
    plan = {name: plan[name] for name in ASKED} | ({"rows": words} if words else {})
    grid = whole.only(words) if words else whole
    order = {row.label: number for number, row in enumerate(grid.rows)}
    before = read_results(folder, whole.name).runs
    others = before["label"].isin({*order} - {row.label for row in asked.rows})
    runs = pd.concat([before[others], results.runs]).sort_values(
        "label", key=lambda labels: labels.map(order), kind="stable"
    )
    joined = replace(results, runs=runs)
    missing = _lacking(grid, joined, [*results.missing, *there["missing"]])
    return grid, replace(joined, missing=missing), plan


def _lacking(grid: Grid, results: Results, before: Sequence[str]) -> list[str]:
    """Name the runs that the grid asks for and the results lack, and why, if that is known."""
    there = set(zip(results.runs["label"], results.runs["seed"], strict=True))
    names = [
        missing_run(row.label, run, "")
        for row in grid.rows
        for run in row.runs
        if (row.label, run.parameters["seed"]) not in there
    ]
    return [next((b for b in before if b.startswith(n)), f"{n}missing (not begun)") for n in names]
