"""Which committed rows were made by other code, chapters or data than those there are now."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from cellcount_lib.errors import DataError
from cellcount_lib.records import Record
from cellcount_lib.runs.grid import Grid, project
from cellcount_lib.runs.status import data_fingerprint, differences, executed_since, few
from cellcount_lib.tables.kept import Records, asks_otherwise, needs, notebooks, records_in


def stale(folder: Path, records: Records | None = None) -> dict[str, list[str]]:
    """Return, by run, what has changed since the kept notebooks in a folder were executed.

    Of a current one that is nothing. A notebook without a record is left out: `verify` says so.
    """
    records = records or records_in(folder)
    chapters = project() / "chapters"
    fingerprint = cache(lambda name: data_fingerprint(name, None))
    kept: dict[str, Record] = {}
    for path in notebooks(folder):
        with suppress(DataError):
            kept[path.stem] = records(path.stem)
    changed = {}
    for run, record in kept.items():
        newer = [need for need in needs(record) if executed_since(kept.get(need), record)]
        data = fingerprint(str(record.parameters["dataset"]))
        chapter = chapters / f"{record.chapter}.ipynb"
        changed[run] = [
            *(f"the run {need}" for need in newer),
            *differences(record, chapter, data=data),
        ]
    return changed


def stale_lines(
    grid: Grid,
    rows: Sequence[Mapping[Any, Any]],
    changed: Mapping[str, Sequence[str]],
    records: Records,
) -> Iterator[str]:
    """Say of every committed row that is stale which definitions have changed.

    The grid says what it asks for now, and `changed` is what `stale` gives.
    """
    asked = {(row.label, run.parameters["seed"]): run for row in grid.rows for run in row.runs}
    for row in rows:
        if row["run"] not in changed:
            continue
        run = asked.get((row["label"], row["seed"]))
        other = asks_otherwise(records(row["run"]), run) if run else []
        if different := [*(f"the grid: {words}" for words in other), *changed[row["run"]]]:
            words = (
                f"{few(different)} (of {len(different)})" if len(different) > 3 else few(different)
            )
            yield f"{row['label']}, seed {row['seed']}: changed since: {words}"
