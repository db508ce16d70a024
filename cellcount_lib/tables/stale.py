"""Which committed rows were made by other code, chapters or data than those there are now."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cellcount_lib.errors import DataError
from cellcount_lib.records import Record
from cellcount_lib.runs.grid import Grid, project
from cellcount_lib.runs.status import data_fingerprint, differences, executed_since, few
from cellcount_lib.tables.kept import Records, asks_otherwise, needs, notebooks, records_in


def stale(folder: Path, records: Records | None = None) -> dict[str, list[str]]:
    """Return what has changed since each kept notebook was executed; nothing for a current one.

    Parameters
    ----------
    folder : Path
        Of the tables of a profile.
    records : callable, optional
        See `kept.records_in`.

    Returns
    -------
    dict of str to list of str
        By run. A notebook without a record is left out: `verify` says so.
    """
    records = records or records_in(folder)
    chapters = project() / "chapters"
    fingerprint = cache(lambda name: data_fingerprint(name, None))
    found: dict[str, Record] = {}
    for path in notebooks(folder):
        try:
            found[path.stem] = records(path.stem)
        except DataError:
            continue
    changed = {}
    for run, record in found.items():
        newer = [need for need in needs(record) if executed_since(found.get(need), record)]
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

    Parameters
    ----------
    grid : Grid
        What it asks for now.
    rows : sequence of mapping
        With "label", "seed" and "run".
    changed : mapping of str to sequence of str
        By run, as `stale` gives it.
    records : callable
        See `kept.records_in`.
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
