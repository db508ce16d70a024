"""Run identity: parameters, chapter, data and code, as hashes that say what has changed.

Two runs with the same parameters are the same run, whichever grid asks for them. A record is stale
when the chapter, the data, or a definition that its run can reach (`fingerprint`) is no longer what
made it. Only the code of a run takes torch and all that imports it.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellcount_lib.data.datasets import entries_of
from cellcount_lib.fingerprint import Chosen, closure, digest, source_hash

if TYPE_CHECKING:
    from cellcount_lib.methods.score import Scoring

# Cells of a chapter with these tags do no work of the run.
NO_WORK = {"parameters", "injected-parameters", "quiz", "given", "stub", "solution", "check"}
# Parameters that came after the first records: at their default they are as if they were not there,
# so that a run keeps its name.
LATER = {"harmonise": None, "stretch": False, "labels": None, "optimizer": None, "lr": None}


def identity_of(
    chapter: Path | None, parameters: Mapping[str, Any], *, data: str | None
) -> dict[str, Any]:
    """Return what a record says about its origin.

    A notebook that was carried somewhere alone has no chapter to compare with.
    """
    return {
        "parameters": digest(decisive(parameters)),
        "chapter": "0" * 16 if chapter is None else chapter_hash(chapter),
        "data": data,
        "code": code_of(parameters),
    }


def decisive(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that make a run what it is.

    Examples
    --------
    >>> decisive({"seed": 0, "harmonise": None})
    {'seed': 0}
    """
    return {k: v for k, v in parameters.items() if k not in LATER or v != LATER[k]}


def code_of(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash for every definition that a run with these parameters can reach."""
    # the seed, and which run is scored again, decide no definition
    same = {"seed": 0, **({"run": "any"} if parameters.get("run") else {})}
    return dict(_code(json.dumps({**parameters, **same}, sort_keys=True)))


@cache
def _code(text: str) -> Mapping[str, str]:
    from cellcount_lib.methods.score import Scoring
    from cellcount_lib.training.code import training_code
    from cellcount_lib.training.spec import Training

    parameters = json.loads(text)
    if "method" not in parameters:
        names = {field.name for field in fields(Training)}
        return training_code(Training(**{k: v for k, v in parameters.items() if k in names}))
    return closure(("score",), chosen_by(Scoring(**parameters)))


def chosen_by(asked: "Scoring") -> Chosen:
    """Return the names that a scoring asks for, by the kind of their registry.

    Which network a run has is not asked here: of models and formulations all count.
    """
    from cellcount_lib.methods.harmonise import steps

    return entries_of(asked.dataset) | {
        "method": {asked.method},
        "protocol": {asked.protocol},
        "profile": {asked.profile},
        "harmonisation step": set(steps(asked.harmonise)),
    }


def chapter_hash(path: Path) -> str:
    """Hash the code cells of a notebook, without its parameters, quiz and exercises."""
    return _chapter(path.read_text())


@lru_cache
def _chapter(text: str) -> str:
    code = [
        "".join(cell["source"])
        for cell in json.loads(text)["cells"]
        if cell["cell_type"] == "code" and not NO_WORK & set(cell["metadata"].get("tags", ()))
    ]
    return digest(source_hash("\n".join(line for cell in code for line in _python(cell))))


def _python(cell: str) -> list[str]:
    """Lines of a cell without the magics of IPython."""
    return [line for line in cell.splitlines() if not line.lstrip().startswith(("%", "!"))]


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say what differs between two identities (`identity_of`), in words.

    A definition that was not there decided nothing: it counts through one that now uses it.

    Examples
    --------
    >>> old = {"chapter": "a", "data": "b", "code": {"Dice": "1"}}
    >>> changes(old, old | {"data": "c", "code": {"Dice": "2"}})
    ['the data', 'Dice']
    """
    words = {"parameters": "the parameters", "chapter": "the chapter", "data": "the data"}
    different = [word for key, word in words.items() if old.get(key) != new.get(key)]
    before, now = old.get("code", {}), new.get("code", {})
    if any(name.endswith(".py") for name in before):
        return [*different, "the code (its record names files, not definitions)"]
    return different + [name for name in sorted(before) if before[name] != now.get(name)]
