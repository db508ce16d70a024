"""Change the library in one place at a time: do its tests notice?

    python -m tools.mutants postprocess losses --sample 200 --seed 0

A mutant is a copy of a module in which one operator, comparison, sign, boolean word or constant is
another one. The tests of the module run against it in a copy of the checkout (`tools/changed.py`),
then those that import its room; the working tree stays as it is. A mutant that they do not notice
survives: it is printed, and either shows a test that is missing or changes nothing that a caller
could see. Those of the second kind stand in tools/equivalent_mutants.tsv, each with its reason.

What has been tried is kept in OUT/tried.tsv, and the same command goes on where it stopped. After
new tests, `--again` tries the survivors once more. The table is OUT/mutants.md.
"""

import argparse
import ast
import difflib
import hashlib
import io
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tools.changed import LIBRARY, ROOT, SLOW, belonging_to

EQUIVALENT = "tools/equivalent_mutants.tsv"
OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    **{ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*")},
    **{ast.FloorDiv: ("//", "/"), ast.Mod: ("%", "*"), ast.Pow: ("**", "*")},
    **{ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&")},
    **{ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")},
    **{ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not")},
    **{
        ast.In: ("in", "not in"),
        ast.NotIn: ("not", ""),
        ast.IsNot: ("not", ""),
        ast.Not: ("not", ""),
    },
    **{ast.And: ("and", "or"), ast.Or: ("or", "and"), ast.USub: ("-", ""), ast.Invert: ("~", "")},
}
# A mutant that runs on is ended: after so many times the seconds of the unchanged module, at least.
# Seconds of the processor count, which a busy machine does not change; by the clock, so many more.
LIMIT, LEAST, IDLE = 10.0, 30.0, 10.0


@dataclass(frozen=True)
class Mutant:
    """One change of one file: `new` in place of the text between two places."""

    file: str
    line: int
    start: int  # in characters of the whole file
    end: int
    new: str
    source: str

    @property
    def text(self) -> str:
        return self.source[: self.start] + self.new + self.source[self.end :]

    @property
    def key(self) -> str:
        """What it is, as long as nothing else in its file changes."""
        about = f"{self.file}\n{self.start}\n{self.end}\n{self.new}\n{self.source}"
        return hashlib.sha256(about.encode()).hexdigest()[:12]

    @property
    def lines(self) -> tuple[str, str]:
        """The line before and after."""
        before, after = (text.splitlines() for text in (self.source, self.text))
        return before[self.line - 1].strip(), after[self.line - 1].strip()

    def diff(self) -> str:
        before, after = (text.splitlines(keepends=True) for text in (self.source, self.text))
        place = f"{self.file}:{self.line}"
        return "".join(difflib.unified_diff(before, after, place, place, n=1))


def mutants(file: str, root: Path = ROOT) -> list[Mutant]:
    """List every mutant of a file, in the order of its text."""
    source = (root / file).read_text()
    ends = [0]
    for line in source.splitlines(keepends=True):
        ends.append(ends[-1] + len(line))
    tokens = [
        (ends[t.start[0] - 1] + t.start[1], ends[t.end[0] - 1] + t.end[1], t.string, t.start[0])
        for t in tokenize.generate_tokens(io.StringIO(source).readline)
        if t.type in (tokenize.OP, tokenize.NAME)
    ]

    def place(node: ast.expr, *, end: bool = False) -> int:
        row, column = (
            (node.end_lineno, node.end_col_offset) if end else (node.lineno, node.col_offset)
        )
        line = source[ends[row - 1] : ends[row]]
        return ends[row - 1] + len(line.encode()[:column].decode())

    found = []

    def replaced(low: int, high: int, kind: ast.AST) -> None:
        """Replace the one token of an operator between two places."""
        old, new = OPERATORS.get(type(kind), ("", ""))
        for start, end, string, line in tokens:
            if low <= start and end <= high and string in (old, f"{old}="):
                text = new + string.removeprefix(old)
                found.append(Mutant(file, line, start, end, text, source))
                return

    for node in code(ast.parse(source)):
        if isinstance(node, ast.BinOp):
            replaced(place(node.left, end=True), place(node.right), node.op)
        elif isinstance(node, ast.AugAssign):
            replaced(place(node.target, end=True), place(node.value), node.op)
        elif isinstance(node, ast.BoolOp):
            for left, right in zip(node.values, node.values[1:], strict=False):
                replaced(place(left, end=True), place(right), node.op)
        elif isinstance(node, ast.Compare):
            for left, op, right in zip(
                [node.left, *node.comparators], node.ops, node.comparators, strict=False
            ):
                replaced(place(left, end=True), place(right), op)
        elif isinstance(node, ast.UnaryOp):
            replaced(place(node), place(node.operand), node.op)
        elif isinstance(node, ast.Constant) and (new := other(node.value)):
            found.append(Mutant(file, node.lineno, place(node), place(node, end=True), new, source))
    return sorted(found, key=lambda mutant: (mutant.start, mutant.new))


def other(value: object) -> str | None:
    """Write another constant of the same kind; None for texts and what has no other."""
    if isinstance(value, bool):
        return str(not value)
    if isinstance(value, int):
        return str(value + 1)
    if isinstance(value, float):
        return repr(1.25 * value if value else 1.0)
    return None


def code(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without annotations and decorators."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from code(child)


def watching(file: str, root: Path = ROOT) -> tuple[list[str], list[str]]:
    """Return the tests of a module, and those of others that import its room; not the slow ones."""
    own, room = belonging_to(file, root), ".".join(Path(file).parts[:2])
    others = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith((*SLOW, *own)) and room in path.read_text():
            others.append(name)
    return own, others


def sampled(every: list[Mutant], number: int, seed: int) -> list[Mutant]:
    """Draw mutants so that a change of one file changes the choice among the others little."""
    turn = {m.key: hashlib.sha256(f"{seed} {m.key}".encode()).hexdigest() for m in every}
    drawn = set(sorted(turn.values())[:number])
    return [m for m in every if turn[m.key] in drawn]


def copied(root: Path, copy: Path) -> None:
    """Bring a copy of the checkout up to date, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {name for name in listed.stdout.split("\0") if name and (root / name).is_file()}
    for path in [*copy.rglob("*.py")] if copy.exists() else []:
        if path.relative_to(copy).as_posix() not in wanted:
            path.unlink()
    for name in sorted(wanted):
        here, there = root / name, copy / name
        if not there.exists() or there.stat().st_mtime_ns != here.stat().st_mtime_ns:
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(here, there)


def tested(copy: Path, tests: list[str], log: Path, limit: float | None) -> str:
    """Run tests in a process that begins here, with what is imported already; say how it ended."""
    child = os.fork()
    if child == 0:
        os.setsid()
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), resource.RLIM_INFINITY))
        number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(number, 1)
        os.dup2(number, 2)
        os.chdir(copy)
        sys.path[:] = [str(copy), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
        os.environ["PYTHONPATH"] = str(copy)
        for name in [n for n in sys.modules if n.split(".")[0] in (LIBRARY, "tests", "tools")]:
            del sys.modules[name]
        import pytest

        arguments = ["-x", "-q", "-p", "no:cacheprovider", "--rootdir", str(copy)]
        os._exit(int(pytest.main([*arguments, *tests])))
    deadline = None if limit is None else time.monotonic() + IDLE * limit
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            endings = {0: "survived", 1: "killed", -signal.SIGXCPU: "killed by the time"}
            return endings.get(os.waitstatus_to_exitcode(status), "killed by an error")
        if deadline is not None and time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "killed by the time"
        time.sleep(0.02)


def warm() -> None:
    """Import what the tests import: every mutant begins from here."""
    for name in ("fastai.vision.learner", "pandas", "pytest", "scipy.stats", "skimage", "torch"):
        import_module(name)


@dataclass
class Tried:
    """What has become of mutants, in a file."""

    path: Path

    def __post_init__(self) -> None:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.ended = dict(line.split("\t")[:2] for line in lines)

    def add(self, mutant: Mutant, ended: str) -> None:
        self.ended[mutant.key] = ended
        with self.path.open("a") as file:
            file.write(f"{mutant.key}\t{ended}\t{mutant.file}:{mutant.line}\n")


def equivalent(root: Path = ROOT) -> dict[tuple[str, str, str], str]:
    """Read which changes no caller could see: file, line before, line after; and why."""
    path = root / EQUIVALENT
    rows = [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []
    return {(file, before, after): why for file, before, after, why in rows}


def table(asked: list[Mutant], ended: dict[str, str], root: Path = ROOT) -> str:
    """Count by room what was killed, what survived, and of that what is equivalent."""
    known = equivalent(root)
    lines = [
        "| room | mutants | killed | survived | equivalent | score | without equivalents |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rooms = sorted({mutant.file.split("/")[1] for mutant in asked})
    for room in [*rooms, "all"]:
        of = [m for m in asked if m.key in ended and room in ("all", m.file.split("/")[1])]
        left = [m for m in of if ended[m.key] == "survived"]
        same = sum((m.file, *m.lines) in known for m in left)
        killed = len(of) - len(left)
        shares = [f"{100 * killed / n:.0f}%" if n else "-" for n in (len(of), len(of) - same)]
        lines.append(
            f"| {room} | {len(of)} | {killed} | {len(left)} | {same} | {' | '.join(shares)} |"
        )
    return "\n".join(lines) + "\n"


def measure(asked: list[Mutant], out: Path, root: Path = ROOT, *, again: bool = False) -> Tried:
    """Try every mutant that has not been tried, each alone in a copy of the checkout."""
    tried, copy = Tried(out / "tried.tsv"), out / "copy"
    left = [m for m in asked if m.key not in tried.ended]
    left += [m for m in asked if again and tried.ended.get(m.key) == "survived"]
    if not left:
        return tried
    copied(root, copy)
    warm()
    log, limits = out / "tests.log", dict[tuple[str, ...], float]()
    for number, mutant in enumerate(left, 1):
        path, ended = copy / mutant.file, "survived"
        for tests in filter(None, watching(mutant.file, copy)):
            if ended != "survived":
                break
            if (files := tuple(tests)) not in limits:
                path.write_text(mutant.source)
                start = time.monotonic()
                if tested(copy, tests, log, None) != "survived":
                    sys.exit(f"{mutant.file}: its tests fail as it is; see {log}")
                limits[files] = max(LEAST, LIMIT * (time.monotonic() - start))
            path.write_text(mutant.text)
            # bytecode is known by the second of its source: one that no version of this file had
            moment = int.from_bytes(os.urandom(4), "big")
            os.utime(path, (moment, moment))
            ended = tested(copy, tests, log, limits[files])
        path.write_text(mutant.source)
        tried.add(mutant, ended)
        print(f"{number} of {len(left)}: {mutant.file}:{mutant.line} {ended}", flush=True)
    return tried


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="+", help="rooms or files: losses, scoring/matching.py")
    parser.add_argument("--sample", type=int, help="this many of all mutants, by chance")
    parser.add_argument("--seed", type=int, default=0, help="of the chance")
    parser.add_argument("--out", type=Path, default=ROOT / ".make" / "mutants")
    parser.add_argument("--again", action="store_true", help="try survivors once more")
    arguments = parser.parse_args()
    files = sorted(
        path.relative_to(ROOT).as_posix()
        for place in arguments.places
        for path in ([ROOT / LIBRARY / place] if place.endswith(".py") else [])
        or (ROOT / LIBRARY / place).rglob("*.py")
    )
    if not files:
        parser.error(f"no module in {', '.join(arguments.places)}")
    asked = [mutant for file in files for mutant in mutants(file)]
    if arguments.sample is not None:
        asked = sampled(asked, arguments.sample, arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tried, known = measure(asked, arguments.out, again=arguments.again), equivalent()
    for mutant in asked:
        if tried.ended[mutant.key] == "survived":
            why = known.get((mutant.file, *mutant.lines))
            print(f"\n{mutant.diff()}" + (f"equivalent: {why}\n" if why else ""), end="")
    print("\n" + table(asked, tried.ended))
    (arguments.out / "mutants.md").write_text(table(asked, tried.ended))


if __name__ == "__main__":
    main()
