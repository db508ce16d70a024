"""Grids: the YAML files in experiments/, each a table of runs beside the published one.

A grid names what all its runs share (``base``), a row per configuration, the seeds, and the columns
that stand beside published values. A name that is not known is an error, here and not in the middle
of a night of runs.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from cellcount_lib.errors import DataError, InputError, unknown_name
from cellcount_lib.fingerprint import digest
from cellcount_lib.methods.score import METHODS, Scoring
from cellcount_lib.runs.identity import decisive
from cellcount_lib.training.spec import Training

NETWORK, WITHOUT = "03_one_experiment", "scoring_without_training"
GRID_KEYS = {"title", "note", "published", "published_on", "base", "seeds", "columns", "rows"}
ROW_KEYS = {"label", "set", "init", "method", "of", "published"}


@dataclass(frozen=True)
class Run:
    """One execution of a chapter."""

    chapter: str  # name of the notebook
    parameters: Mapping[str, Any]  # all of them, also those at their default
    needs: tuple[str, ...] = ()  # ids of runs that have to be there first

    @property
    def id(self) -> str:
        """Name of its folder: what it is in a few words, and a hash of all of it."""
        return f"{self._words()}-{digest([self.chapter, decisive(self.parameters)])[:8]}"

    def _words(self) -> str:
        p = self.parameters
        words = [p["dataset"]]
        if self.chapter == NETWORK:
            words += [p["arch"], p["loss"] or p["recipe"]]
            words += ["ao"] * bool(p["oversample_artifacts"])
            words += [str(p[k]) for k in ("labels", "optimizer", "lr") if p.get(k) is not None]
        else:
            words += [p["method"], p["protocol"]]
            words += [p["harmonise"].replace("+", "-")] if p["harmonise"] else []
        text = "-".join([*words, f"seed{p['seed']}"])
        return "".join(c if c.isalnum() or c in "-._" else "-" for c in Path(text).name)


@dataclass(frozen=True)
class Row:
    """A row of the table: its runs differ in the seed only."""

    label: str
    published: Mapping[str, float]
    runs: tuple[Run, ...]

    @property
    def trained(self) -> bool:
        """Whether a network is behind it, which another seed would change."""
        return any(run.chapter == NETWORK or run.needs for run in self.runs)


@dataclass(frozen=True)
class Grid:
    """A table of runs."""

    name: str  # of the file, and of what was asked for in place of the grid's
    title: str
    note: str  # what a reader must know
    published: str  # where the published values are from
    columns: Mapping[str, str]  # shown scores of the records, with their titles
    rows: tuple[Row, ...]
    extra: tuple[Run, ...] = ()  # runs without a row of their own, which others need
    published_on: tuple[str, ...] = ()  # datasets that have the pictures of the published values

    @property
    def runs(self) -> list[Run]:
        """Every run once, those that others need first."""
        every = [*self.extra, *(run for row in self.rows for run in row.runs)]
        return list({run.id: run for run in every}.values())

    def only(self, words: Sequence[str]) -> "Grid":
        """Return the rows whose label has one of these words in it, and the runs that they need."""
        rows = tuple(row for row in self.rows if any(word in row.label for word in words))
        if not rows:
            labels = "; ".join(row.label for row in self.rows)
            raise InputError(
                f"--rows {','.join(words)}: expected a part of a label, found none in {labels}"
            )
        wanted = {run.id for row in rows for run in row.runs}
        for run in reversed(self.runs):  # what is needed stands before what needs it
            wanted |= set(run.needs) if run.id in wanted else set()
        extra = tuple(run for run in self.runs if run.id in wanted)
        return dataclasses.replace(self, rows=rows, extra=extra)


def project() -> Path:
    """Return the folder with chapters/, experiments/ and workflow/.

    The checkout that the library lies in, or what CELLCOUNT_PROJECT says.
    """
    named = os.environ.get("CELLCOUNT_PROJECT")
    root = Path(named).resolve() if named else Path(__file__).resolve().parents[2]
    if not (root / "chapters" / f"{NETWORK}.ipynb").exists():
        raise DataError(
            f"{root}: expected the chapters there; grids run in a clone of the repository: "
            "git clone it, then pip install -e '.[run]' inside"
        )
    return root


def grids() -> list[str]:
    """Return the names of the grids in experiments/."""
    return sorted(path.stem for path in (project() / "experiments").glob("*.yaml"))


def load_grid(
    name: str | Path,
    *,
    profile: str,
    seeds: Sequence[int] | None = None,
    dataset: str | None = None,
    scale: float | None = None,
) -> Grid:
    """Read a grid, by a name of `grids` or from a YAML file, and make its runs.

    `seeds`, `dataset` (OLD=NEW replaces a part of every name) and `scale` (at which networks see
    the pictures) replace what the grid or the profile says. The grid's name then says the last two,
    since its table is another one.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if str(name) not in grids():
            raise unknown_name("grid", str(name), [*grids(), "FILE.yaml"])
        path = project() / "experiments" / f"{name}.yaml"
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: expected YAML: {error}") from error
    changes = {"dataset": dataset, "scale": scale}
    changes = {key: value for key, value in changes.items() if value is not None}
    return _Maker(path, values, profile, seeds, changes).grid()


@dataclass
class _Maker:
    path: Path
    values: Any
    profile: str
    seeds: Sequence[int] | None
    changes: Mapping[str, Any]

    def grid(self) -> Grid:
        self._keys(
            "the grid", self.values, GRID_KEYS, required={"title", "base", "rows", "columns"}
        )
        rows = self.values["rows"]
        if not isinstance(rows, list) or not rows:
            raise DataError(f"{self.path}: rows: expected a list of rows, found {rows!r}")
        for row in rows:
            self._keys("a row", row, ROW_KEYS, required={"label"})
        labels = [row["label"] for row in rows]
        if len(set(labels)) != len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise DataError(f"{self.path}: expected different labels, found {twice!r} twice")
        self.runs_of: dict[str, tuple[Run, ...]] = {}  # by the label of the row
        self.extra: dict[str, Run] = {}
        self.replaced = replacement(self.changes.get("dataset", ""))
        self.named: set[str] = set()
        made = tuple(self._row(row) for row in rows)
        if self.replaced and not any(self.replaced[0] in name for name in self.named):
            raise DataError(
                f"{self.path}: --dataset {self.changes['dataset']}: expected a part of a dataset's "
                f"name before the =, found none with {self.replaced[0]!r}; the names are "
                f"{', '.join(sorted(self.named))}"
            )
        return Grid(
            name="-".join([self.path.stem, *self._words()]),
            title=self.values["title"],
            note=self.values.get("note", ""),
            published=self.values.get("published", ""),
            columns=self.values["columns"],
            rows=made,
            extra=tuple(self.extra.values()),
            published_on=tuple(self.values.get("published_on", ())),
        )

    def _row(self, row: Mapping[str, Any]) -> Row:
        label, published = row["label"], row.get("published", {})
        seeds = self.seeds or self.values.get("seeds", [0])
        if not all(isinstance(s, int) and not isinstance(s, bool) for s in seeds):
            raise DataError(f"{self.path}: seeds: expected whole numbers, found {seeds!r}")
        columns = self.values["columns"]
        if unknown := set(published) - {*columns, *(f"{column}_sd" for column in columns)}:
            raise DataError(
                f"{self.path}: {label}: published: expected columns of the grid, found "
                f"{', '.join(sorted(unknown))}"
            )
        if "method" in row:
            runs = self._scored(row, seeds)
        else:
            runs = tuple(self._trained(row, seed) for seed in seeds)
        self.runs_of[label] = runs
        return Row(label, published, runs)

    def _words(self) -> list[str]:
        new = self.replaced[1] if self.replaced else self.changes.get("dataset", "")
        words = [_safe(new)] if new else []
        return words + ([f"x{self.changes['scale']:g}"] if "scale" in self.changes else [])

    def _trained(self, row: Mapping[str, Any], seed: int) -> Run:
        """A run that trains, from scratch or from the weights of another one of the same seed."""
        changes = row.get("set", {})
        if "init" not in row:
            return self._network(changes, seed)
        if not isinstance(row["init"], Mapping):
            raise DataError(
                f"{self.path}: {row['label']}: init: expected the settings of a network, found "
                f"{row['init']!r}"
            )
        start = self._network(row["init"], seed, home=True)
        self.extra[start.id] = start
        run = self._network({**changes, "init": start.id}, seed)
        return dataclasses.replace(run, needs=(start.id,))

    def _network(self, changes: Mapping[str, Any], seed: int, *, home: bool = False) -> Run:
        """A run that trains; `home` keeps the dataset of the row, whatever was asked for."""
        base = {k: v for k, v in self.values["base"].items() if k in _fields(Training)}
        given = {**base, **changes, "seed": seed, "profile": self.profile}
        training = self._build(Training, self._changed(given, home=home))
        return Run(NETWORK, dataclasses.asdict(training))

    def _changed(self, given: Mapping[str, Any], *, home: bool = False) -> dict[str, Any]:
        """Put in what was asked for in place of the grid's; at home only names are replaced."""
        changed = {**given, **({} if home else self.changes)}
        if self.replaced:
            name = given.get("dataset", "simulated")
            changed["dataset"] = name.replace(*self.replaced)
            self.named.add(name)
        return changed

    def _scored(self, row: Mapping[str, Any], seeds: Sequence[int]) -> tuple[Run, ...]:
        """Runs without training: one for all seeds, or one for every run it scores again."""
        base = {k: v for k, v in self.values["base"].items() if k in _fields(Scoring)}
        given = {**base, **row.get("set", {}), "method": row["method"], "profile": self.profile}
        changed = self._changed(given)
        given = {k: v for k, v in changed.items() if k in _fields(Scoring) or k in given}
        method = METHODS.get(row["method"])
        if method is None or not method.of_a_run:
            return (Run(WITHOUT, dataclasses.asdict(self._build(Scoring, given))),)
        of: Any = row.get("of")
        if isinstance(of, Mapping):
            home = row["method"] == "apply"
            runs = tuple(self._network(of, seed, home=home) for seed in seeds)
            together = [(run,) for run in runs]
        else:
            labels = of if isinstance(of, list) else [of]
            if unknown := [label for label in labels if label not in self.runs_of]:
                raise DataError(
                    f"{self.path}: {row['label']}: of: expected the label of a row above, a list "
                    f"of labels, or the settings of a network; found {unknown[0]!r}"
                )
            together = list(zip(*(self.runs_of[label] for label in labels), strict=True))
        scorings = []
        for runs in together:
            ids = tuple(run.id for run in runs)
            self.extra |= dict(zip(ids, runs, strict=True))
            asked = {**given, "run": "+".join(ids), "seed": runs[0].parameters["seed"]}
            scored = dataclasses.asdict(self._build(Scoring, asked))
            scorings.append(Run(WITHOUT, scored, needs=ids))
        return tuple(scorings)

    def _build(self, kind: type, given: Mapping[str, Any]) -> Any:
        if unknown := sorted(given.keys() - _fields(kind)):
            raise DataError(f"{self.path}: {unknown_name('parameter', unknown[0], _fields(kind))}")
        try:
            return kind(**given)
        except InputError as error:
            raise DataError(f"{self.path}: {error}") from error

    def _keys(self, what: str, value: Any, known: set[str], *, required: set[str]) -> None:
        if not isinstance(value, Mapping):
            raise DataError(f"{self.path}: expected {what} as keys and values, found {value!r}")
        if unknown := sorted(value.keys() - known):
            raise DataError(f"{self.path}: {unknown_name(f'key of {what}', unknown[0], known)}")
        if missing := sorted(required - value.keys()):
            raise DataError(f"{self.path}: {what} lacks {', '.join(missing)}")


def replacement(dataset: str) -> tuple[str, str] | None:
    """Read OLD=NEW; None where it is a name. An = in the path of a folder is a part of the path.

    Examples
    --------
    >>> replacement("bbbc038=folder:my-cells"), replacement("bbbc038")
    (('bbbc038', 'folder:my-cells'), None)
    >>> replacement("folder:/data/day=3") is None
    True
    """
    old, equals, new = dataset.partition("=")
    if not equals or "folder:" in old:
        return None
    if not old or not new:
        raise InputError(f"--dataset {dataset}: expected OLD=NEW, as in bbbc038=folder:my-cells")
    return old, new


@lru_cache
def _fields(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind))


def _safe(text: str) -> str:
    name = Path(text.removeprefix("folder:")).name
    return "".join(c if c.isalnum() else "-" for c in name).strip("-")
