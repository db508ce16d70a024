"""Are the committed tables what their runs say? Everything is made again and compared.

A table's files are made again from the kept notebooks of its runs, and from its grid. The notebooks
are compared with themselves, with each other, and, where nothing was trained, with what their
methods give now (`rescore`).
"""

import ast
import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from cellcount_lib.errors import CellcountError
from cellcount_lib.records import Record
from cellcount_lib.runs.grid import Grid, Run
from cellcount_lib.runs.identity import LATER
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.tables.collect import read_results, scores
from cellcount_lib.tables.kept import (
    Records,
    asks_otherwise,
    needs,
    notebooks,
    place,
    same_but_for_places,
)
from cellcount_lib.tables.write import files, made_again

CLOSE = 1e-9
SHOWN = 5  # differences of one file


def differences(
    grid: Grid, plan: Mapping[str, Any], folder: Path, records: Records
) -> Iterator[str]:
    """Say where the files of a table are not what its kept notebooks and its grid give."""
    try:
        rows = read_results(folder, grid.name).runs.to_dict("records")
        made = made_again(grid, plan, folder, records)
    except CellcountError as error:
        yield f"{grid.name}.csv: it cannot be made again: {error}"
        return
    yield from _rows(grid, rows, records)
    for end, text in files(grid, made, plan).items():
        path = folder / f"{grid.name}{end}"
        if not path.exists():
            yield f"{path.name}: expected it beside the table's other files, found nothing there"
        elif path.read_text() != text:
            yield from _few(path.name, COMPARED.get(path.suffix, _lines)(path.read_text(), text))


def _rows(grid: Grid, rows: list[dict[Any, Any]], records: Records) -> Iterator[str]:
    """Compare which run stands in which row with the grid."""
    asked = {(row.label, run.parameters["seed"]): run for row in grid.rows for run in row.runs}
    for (label, seed), number in Counter((r["label"], r["seed"]) for r in rows).items():
        if number > 1:
            yield f"{grid.name}.csv: {label!r}, seed {seed}: it is there {number} times"
        if (label, seed) not in asked:
            yield f"{grid.name}.csv: {label!r}, seed {seed}: the grid asks for no such row"
    for row in rows:
        run = asked.get((row["label"], row["seed"]))
        if run is None or not asks_otherwise(records(row["run"]), run):
            continue
        for (label, seed), other in asked.items():
            if not asks_otherwise(records(row["run"]), other):
                yield (
                    f"{grid.name}.csv: {row['run']}: label: it is {row['label']!r}, seed "
                    f"{row['seed']}; in the grid this run is {label!r}, seed {seed}"
                )


def _few(name: str, found: Iterable[str]) -> Iterator[str]:
    every = list(found)
    yield from (f"{name}: {text}" for text in every[:SHOWN])
    if len(every) > SHOWN:
        yield f"{name}: and {len(every) - SHOWN} more"


def _cells(there: str, made: str) -> Iterator[str]:
    """Compare CSV cell by cell; rows are known by their label, run and picture."""
    old, new = (list(csv.DictReader(io.StringIO(text))) for text in (there, made))
    if len(old) != len(new):
        yield f"it has {len(old)} rows, expected {len(new)}"
    now = {_row_name(row): row for row in new}
    for row in old:
        name = _row_name(row)
        wanted = now.pop(name, None)
        if wanted is None:
            yield f"{name}: it is in no kept notebook"
            continue
        for column in dict.fromkeys([*row, *wanted]):
            if not _close(row.get(column), wanted.get(column)):
                yield (
                    f"{name}: {column}: it is {row.get(column)!r}, expected "
                    f"{wanted.get(column)!r} as in its notebook"
                )
    for name in now:
        yield f"{name}: expected this row, found none"


def _row_name(row: Mapping[str, str]) -> str:
    return ", ".join(row[name] for name in ("label", "run", "image") if row.get(name))


def _close(a: Any, b: Any) -> bool:
    if a == b:
        return True
    try:
        return abs(float(a) - float(b)) <= CLOSE * max(1, abs(float(b)))
    except (TypeError, ValueError):
        return False


def _keys(there: str, made: str) -> Iterator[str]:
    return _values(json.loads(there), json.loads(made))


def _values(old: Any, new: Any, *names: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from _values(old.get(name), new.get(name), *names, name)
    elif old != new:
        yield f"{': '.join(names)}: it is {old!r}, expected {new!r} from the grid and the rows"


def _lines(there: str, made: str) -> Iterator[str]:
    old, new = there.splitlines(), made.splitlines()
    pairs = enumerate(zip_longest(old, new, fillvalue=""), 1)
    number, line = next(((n, a) for n, (a, b) in pairs if a != b), (len(new), "its end"))
    yield (
        f"line {number} is not what the results give now: {line[:80]!r}; write it again: "
        "cellcount tables --render"
    )


COMPARED: Mapping[str, Callable[[str, str], Iterator[str]]] = {".csv": _cells, ".json": _keys}


def notebook_differences(folder: Path, records: Records) -> Iterator[str]:
    """Say where the kept notebooks of a profile contradict themselves or each other."""
    used = _used(folder, records)
    truth: dict[tuple[Any, ...], tuple[str, int]] = {}
    for path in notebooks(folder):
        name = place(path.stem)
        if path.stem not in used:
            yield f"{name}: it stands in no table"
        try:
            record = records(path.stem)
            found = [*_origin(path, record), *_sums(record), *_truth(path.stem, record, truth)]
        except CellcountError as error:
            found = [str(error)]
        yield from _few(name, found)


def _used(folder: Path, records: Records) -> set[str]:
    """Return the ids of the runs of all tables, and of those that these needed."""
    found: list[str] = []
    for path in folder.glob("*.json"):
        with suppress(CellcountError):
            found += read_results(folder, path.stem).runs["run"].tolist()
    for run in found:  # it grows: what is needed may need another run
        with suppress(CellcountError):
            found += needs(records(run))
    return set(found)


def _origin(path: Path, record: Record) -> Iterator[str]:
    """Compare the name of the file, the cell of parameters, and the record."""
    made = Run(record.chapter, {**LATER, **record.parameters}).id
    if not same_but_for_places(path.stem, made):
        yield f"its record is that of the run {made}"
    cells = json.loads(path.read_text())["cells"]
    given = [c for c in cells if "injected-parameters" in c["metadata"].get("tags", ())]
    for line in "".join("".join(c["source"]) + "\n" for c in given).splitlines():
        name, equals, value = line.partition(" = ")
        if equals and name in record.parameters:
            kept = record.parameters[name]
            if ast.literal_eval(value) != kept:
                yield f"parameters: {name}: {kept!r} in its record, {value} where it was given"


def _sums(record: Record) -> Iterator[str]:
    """Pool the scores of a record again from its pictures, and look whether these add up."""
    if record.status == "failed":
        return
    for name, value in scores(record.table(), record.protocol).items():
        kept = record.scores.get(name, value)
        if not _close(kept, None if value != value else value) and kept == kept:
            yield f"scores: {name}: it is {kept}, {value} from its pictures"
    one_to_one = protocol(record.protocol).count == "objects"
    for row in record.images:
        if row["tp"] + row["fn"] != row.get("n_objects_true", row["n_true"]):
            yield f"images: {row['image']}: tp + fn is not the number of true objects"
        if one_to_one and row.get("n_objects_true", row["n_true"]) != row["n_true"]:
            yield f"images: {row['image']}: n_true is not the number of true objects"


def _truth(
    run: str, record: Record, truth: dict[tuple[Any, ...], tuple[str, int]]
) -> Iterator[str]:
    """Compare the true objects of each picture with those that other runs of the data had."""
    for row in record.images:
        what = (record.identity["data"], record.protocol, record.protocol_scale, row["image"])
        number = row.get("n_objects_true", row["n_true"])
        first, known = truth.setdefault(what, (run, number))
        if number != known:
            yield f"images: {row['image']}: {number} true objects, {known} in {first}"
