"""The state of each run of a grid: done, kept, stale, failed or missing, and why.

What is committed is a cache: a run that is not in the folder of runs, but whose kept notebook holds
a record that is current, is as good as done on any machine.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cellcount_lib.data.datasets import load
from cellcount_lib.errors import CellcountError, DataError
from cellcount_lib.fingerprint import digest
from cellcount_lib.records import RECORD, Record, read_record
from cellcount_lib.runs.grid import Run, project
from cellcount_lib.runs.identity import changes, decisive, identity_of
from cellcount_lib.runs.mended import as_now

STATES = ("done", "kept", "stale", "failed", "missing")
CURRENT = ("done", "kept")
RUNS = "runs"  # folder of the kept notebooks, beside the tables of their profile


@dataclass(frozen=True)
class State:
    """State of one run."""

    run: Run
    folder: Path
    # Of `STATES`. A collapsed run is done: it is a result. Kept: its notebook is committed, its
    # weights and heatmaps are not here.
    state: str
    why: str
    record: Record | None


def chapter_of(run: Run) -> Path:
    """Return the notebook that a run executes."""
    return project() / "chapters" / f"{run.chapter}.ipynb"


def kept_notebooks(profile: str) -> Path:
    """Return the folder of the committed notebooks of a profile, one a run."""
    return project() / "results" / profile / RUNS


def states(
    runs: Iterable[Run], folder: Path, *, root: Path | None = None, kept: Path | None = None
) -> list[State]:
    """Look at every run's place in a folder, and at its notebook in the folder `kept`, if given."""
    fingerprints = cache(lambda name: data_fingerprint(name, root))
    states: dict[str, State] = {}
    for run in runs:
        state = _state(run, folder / run.id, fingerprints(run.parameters["dataset"]))
        if kept is not None:
            state = _kept(state, kept, fingerprints(run.parameters["dataset"]))
        for needed in (states[name] for name in run.needs if name in states):
            if state.state not in CURRENT:
                break
            if needed.state not in CURRENT:
                state = _outdated(state, f"{needed.run.id} is {needed.state}")
            elif state.record is not None and executed_since(needed.record, state.record):
                state = _outdated(state, f"{needed.run.id} was executed again since")
        states[run.id] = state
    return list(states.values())


def differences(
    record: Record,
    chapter: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    data: str | None,
) -> list[str]:
    """Say what has changed since a record was made: definitions, chapter, data; nothing is current.

    A definition that was mended counts as it is now where `mended` says that the run is spared.
    Data that is not here is taken to be what it was; so are the parameters, unless they are given:
    those of a kept record do not say where a folder lay.
    """
    code = record.identity["code"]
    made = {name: as_now(name, value, record.parameters) for name, value in code.items()}
    now = identity_of(chapter, record.parameters, data=data or record.identity["data"])
    now["parameters"] = record.identity["parameters"]
    if parameters is not None:
        now["parameters"] = digest(decisive(parameters))
    return changes({**record.identity, "code": made}, now)


def executed_since(needed: Record | None, record: Record) -> bool:
    """Tell whether a run that another one needs ended only after that had begun.

    What it left is then not what the other one used. Times are UTC, ISO 8601.
    """
    return needed is not None and needed.finished > record.started


def few(words: list[str]) -> str:
    """Return the first words of a list, and that there are more."""
    return ", ".join(words[:3]) + (" ..." if len(words) > 3 else "")


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
    if different := differences(record, chapter_of(run), parameters=run.parameters, data=data):
        return State(run, folder, "stale", f"changed since: {few(different)}", record)
    return State(run, folder, "done", record.status, record)


def _kept(here: State, kept: Path, data: str | None) -> State:
    """Take the kept notebook where it is current and there is no result here, or an older one.

    A run has one record, the newest, whichever machine made it and whichever tables show it.
    """
    run, path = here.run, kept / f"{here.run.id}.ipynb"
    if here.state == "stale" or not path.exists():
        return here
    try:
        record = read_record(path)
    except DataError as error:
        return here if here.record else State(run, here.folder, "missing", str(error), None)
    if record.status == "failed":
        return here
    if different := differences(record, chapter_of(run), parameters=run.parameters, data=data):
        if here.state != "missing":
            return here
        why = f"{here.why}; what is kept is stale, changed since: {few(different)}"
        return State(run, here.folder, "missing", why, None)
    if here.state == "done" and here.record and here.record.finished >= record.finished:
        return here
    return State(run, here.folder, "kept", record.status, record)


def _outdated(state: State, why: str) -> State:
    """Make of a current state one that is not: what is only kept is missing here."""
    if state.state == "kept":
        return State(state.run, state.folder, "missing", f"what is kept is stale: {why}", None)
    return State(state.run, state.folder, "stale", why, None)


def data_fingerprint(name: str, root: Path | None) -> str | None:
    """Return the fingerprint of a dataset; None if it is not here: records are judged without."""
    try:
        return load(name, root=root, split="train").fingerprint
    except CellcountError:
        return None


def count(states: Iterable[State]) -> Mapping[str, int]:
    """Count states, in the order of `STATES`."""
    counted = Counter(s.state for s in states)
    return {state: counted[state] for state in STATES}
