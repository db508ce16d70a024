"""Are the committed tables what their sources say? Everything is computed again and compared."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cellcount_lib.errors import CellcountError
from cellcount_lib.records import MIME
from cellcount_lib.runs.grid import Grid, load_grid
from cellcount_lib.tables.collect import Results, read_results, scores
from cellcount_lib.tables.render import FORMATS, tables

CLOSE = 1e-9


def planned(plan: Mapping[str, Any], profile: str) -> Grid:
    """Return the grid that the JSON file beside a table says it was made of."""
    given: dict[str, Any] = {name: plan[name] for name in ("seeds", "dataset", "scale")}
    return load_grid(plan["grid"], profile=profile, **given)


def differences(grid: Grid, folder: Path, *, missing: Sequence[str] = ()) -> Iterator[str]:
    """Say where a grid's committed files contradict each other.

    The scores of every run are pooled again from its pictures; the rendered tables are made again;
    the kept notebooks hold the same record.
    """
    try:
        results = replace(read_results(folder, grid.name), missing=list(missing))
    except CellcountError as error:
        yield str(error)
        return
    yield from _scores(results)
    yield from _notebooks(results, folder / "notebooks" / grid.name)
    yield from _labels(grid, results)
    yield from _plan(grid, folder / f"{grid.name}.json")
    made = tables(grid, results, notebook=notebook_place(grid.name))
    for extension, write in FORMATS.items():
        path = folder / f"{grid.name}.{extension}"
        if not path.exists():
            yield f"{path}: expected the rendered table, found nothing there"
        elif path.read_text() != write(made):
            yield f"{path}: is not what the results give now; write it: cellcount tables --render"


def notebook_place(grid: str) -> Callable[[str], str]:
    """Return the function that gives the place of a kept notebook, beside the tables."""

    def place(run: str) -> str:
        return f"notebooks/{grid}/{run}.ipynb"

    return place


def _scores(results: Results) -> Iterator[str]:
    for row in results.runs.to_dict("records"):
        mine = results.images[results.images["run"] == row["run"]]
        if row["status"] == "failed":
            continue
        if len(mine) == 0:
            yield f"{row['run']}: it has scores but no pictures"
            continue
        again = scores(mine.dropna(axis="columns", how="all"), row["protocol"])
        for name, value in again.items():
            kept = row.get(name)
            same = kept == value or (kept != kept and value != value)
            if not same and (kept is None or not abs(kept - value) <= CLOSE * max(1, abs(value))):
                yield f"{row['run']}: {name} is {kept} in the table, {value} from its pictures"


def _labels(grid: Grid, results: Results) -> Iterator[str]:
    known = {row.label for row in grid.rows}
    for label in sorted(set(results.runs["label"]) - known):
        yield f"{grid.name}: the row {label!r} is not in the grid any more"


def _plan(grid: Grid, path: Path) -> Iterator[str]:
    if not path.exists():
        yield f"{path}: expected what the table was made of, found nothing there"
        return
    plan = json.loads(path.read_text())
    if plan["columns"] != dict(grid.columns) or plan["published"] != published(grid):
        yield f"{path}: its published values or columns are not those of the grid"


def published(grid: Grid) -> dict[str, dict[str, float]]:
    """Return the published values of a grid by row."""
    return {row.label: dict(row.published) for row in grid.rows if row.published}


def _notebooks(results: Results, folder: Path) -> Iterator[str]:
    for row in results.runs.to_dict("records"):
        path = folder / f"{row['run']}.ipynb"
        if not path.exists():
            yield f"{path}: expected the executed notebook of {row['label']}, found nothing there"
            continue
        outputs = [o for c in json.loads(path.read_text())["cells"] for o in c.get("outputs", ())]
        records = [o["data"][MIME] for o in outputs if MIME in o.get("data", {})]
        if row["status"] == "failed":
            continue
        if not records:
            yield f"{path}: it holds no record"
            continue
        kept = records[-1]
        for name, value in kept["scores"].items():
            there = row.get(name)
            if value is not None and (
                there is None or abs(there - value) > CLOSE * max(1, abs(value))
            ):
                yield f"{row['run']}: {name} is {there} in the table, {value} in its notebook"
        mine = results.images[results.images["run"] == row["run"]]
        if len(mine) != len(kept["images"]):
            there = f"{len(mine)} pictures in the table, {len(kept['images'])} in its notebook"
            yield f"{row['run']}: {there}"
