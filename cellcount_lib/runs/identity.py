"""Run identity: parameters, chapter, code and data, as hashes that say what has changed.

Two runs with the same parameters are the same run, whichever grid asks for them. A record is stale
when the chapter, the code that decides numbers, or the data are no longer what made it. Comments,
docstrings and the layout of the code do not count.
"""

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).resolve().parents[1]
# Nothing in here decides a number of a run.
NO_SCIENCE = (
    "__init__.py",
    "__main__.py",
    "cli.py",
    "doctor.py",
    "errors.py",
    "exercises.py",
    "files.py",
    "plots.py",
    "progress.py",
    "records.py",
    "data/cache.py",
    "data/download.py",
    "data/download_cli.py",
    "teaching.py",
    "training/command.py",
    "data/simulator/calibration.py",
    "difficulty.py",
    "models/measure.py",
    "runs/command.py",
    "runs/execute.py",
    "runs/grid.py",
    "runs/identity.py",
    "runs/launch.py",
    "runs/leash.py",
    "runs/leaving.py",
    "runs/status.py",
    "curves.py",
    "stats.py",
)
NO_SCIENCE_FOLDERS = ("data/fetch", "prediction", "tables")
# Cells of a chapter with these tags do no work of the run.
NO_WORK = {"parameters", "injected-parameters", "quiz", "given", "stub", "solution", "check"}


# Parameters that came after the first records: at their default they are as if they were not there,
# so that a run keeps its name.
LATER = {"harmonise": None}


def decisive(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that make a run what it is.

    Examples
    --------
    >>> decisive({"seed": 0, "harmonise": None})
    {'seed': 0}
    """
    return {k: v for k, v in parameters.items() if k not in LATER or v != LATER[k]}


@lru_cache(maxsize=1)
def code_hashes() -> dict[str, str]:
    """Return a hash for every module that decides numbers, by its path in the library."""
    found = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        name = path.relative_to(LIBRARY).as_posix()
        if name in NO_SCIENCE or name.startswith(NO_SCIENCE_FOLDERS):
            continue
        found[name] = source_hash(path.read_text())
    return found


def source_hash(source: str) -> str:
    """Hash what Python code does: its syntax tree without docstrings.

    Examples
    --------
    >>> source_hash("x = 1  # one") == source_hash('"Say what."\\nx = (1)')
    True
    >>> source_hash("x = 1") == source_hash("x = 2")
    False
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
            continue
        if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
            node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def chapter_hash(path: Path) -> str:
    """Hash the code cells of a notebook, without its parameters, quiz and exercises."""
    cells = json.loads(path.read_text())["cells"]
    code = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and not NO_WORK & set(cell["metadata"].get("tags", ()))
    ]
    return source_hash("\n".join(line for cell in code for line in _python(cell)))


def _python(cell: str) -> list[str]:
    """Lines of a cell without the magics of IPython."""
    return [line for line in cell.splitlines() if not line.lstrip().startswith(("%", "!"))]


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say what differs between two identities (`records.identity_of`), in words.

    A module that was not there decided nothing: it counts only through a module that now uses it.

    Examples
    --------
    >>> old = {"chapter": "a", "data": "b", "code": {"losses/pixel.py": "1"}}
    >>> changes(old, old | {"data": "c", "code": {"losses/pixel.py": "2"}})
    ['the data', 'losses/pixel.py']
    """
    words = {"parameters": "the parameters", "chapter": "the chapter", "data": "the data"}
    found = [word for key, word in words.items() if old.get(key) != new.get(key)]
    before, now = old.get("code", {}), new.get("code", {})
    found += [name for name in sorted(before) if before[name] != now.get(name)]
    return found
