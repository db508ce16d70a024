"""What is there of a grid: done, stale, failed, missing, and why."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cellcount_lib.data.datasets import load
from cellcount_lib.errors import CellcountError, DataError
from cellcount_lib.records import RECORD, Record, read_record
from cellcount_lib.runs.execute import identity_of
from cellcount_lib.runs.grid import Run, project
from cellcount_lib.runs.identity import changes

STATES = ("done", "stale", "failed", "missing")


@dataclass(frozen=True)
class State:
    """State of one run.

    Attributes
    ----------
    run : Run
    folder : Path
    state : {"done", "stale", "failed", "missing"}
        A collapsed run is done: it is a result.
    why : str
    record : Record or None
    """

    run: Run
    folder: Path
    state: str
    why: str
    record: Record | None


def chapter_of(run: Run) -> Path:
    """Return the notebook that a run executes."""
    return project() / "chapters" / f"{run.chapter}.ipynb"


def states(runs: Iterable[Run], folder: Path, *, root: Path | None = None) -> list[State]:
    """Look at the folder of every run.

    Parameters
    ----------
    runs : iterable of Run
    folder : Path
        That holds the folders of the runs.
    root : Path, optional
        Folder of the datasets.
    """
    fingerprints = cache(lambda name: _fingerprint(name, root))
    found: list[State] = []
    by_id: dict[str, State] = {}
    for run in runs:
        state = _state(run, folder / run.id, fingerprints(run.parameters["dataset"]))
        old = [by_id[n] for n in run.needs if n in by_id and by_id[n].state != "done"]
        if state.state == "done" and old:
            state = State(run, state.folder, "stale", f"{old[0].run.id} is {old[0].state}", None)
        by_id[run.id] = state
        found.append(state)
    return found


def _state(run: Run, folder: Path, data: str | None) -> State:
    path = folder / RECORD
    if not path.exists():
        begun = folder.exists() and any(folder.iterdir())
        return State(run, folder, "missing", "interrupted" if begun else "not begun", None)
    try:
        record = read_record(path)
    except DataError as error:
        return State(run, folder, "missing", str(error), None)
    if record.status == "failed":
        return State(run, folder, "failed", record.reason, record)
    now = identity_of(chapter_of(run), run.parameters, data=data)
    if data is None:
        now["data"] = record.identity["data"]
    if different := changes(record.identity, now):
        few = ", ".join(different[:3]) + (" ..." if len(different) > 3 else "")
        return State(run, folder, "stale", f"changed since: {few}", record)
    return State(run, folder, "done", record.status, record)


def _fingerprint(name: str, root: Path | None) -> str | None:
    try:
        return load(name, root=root, split="train").fingerprint
    except CellcountError:
        return None  # the data is not here; its records are judged without it


def count(found: Iterable[State]) -> Mapping[str, int]:
    """Count states, in the order of `STATES`."""
    counted = Counter(s.state for s in found)
    return {state: counted[state] for state in STATES}
