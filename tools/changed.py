"""Run the unit tests of what has changed, or in a clean working tree of what the last commit did.

    python tools/changed.py -- python -m pytest -n 2

The tests of a module are those of the same name (``cellcount_lib/scoring/matching.py``:
``tests/scoring/test_matching.py``), else all of its room, and the doctests in it; beside them those
of the same name of the modules that import it. Tests that take minutes are left to `make test`.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = "cellcount_lib"
SLOW = (
    *("tests/book", "tests/notebooks/test_nbval.py", "tests/notebooks/test_colab.py"),
    *("tests/notebooks/test_chapters.py", "tests/runs/test_launch.py", "tests/runs/test_slurm.py"),
    *("tests/training/test_run.py", "tests/prediction/test_predict.py", "tests/tables"),
    *("tests/models/test_models.py", "tests/test_bench.py", "tests/test_fingerprint.py"),
)


def changed(root: Path = ROOT) -> list[str]:
    """Names of the files that differ from the last commit, or that it changed."""
    tracked = _git(root, "diff", "--name-only", "HEAD")
    new = _git(root, "ls-files", "--others", "--exclude-standard")
    return sorted({*tracked, *new}) or _git(root, "diff", "--name-only", "HEAD~1", "HEAD")


def _git(root: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def importers(name: str, root: Path = ROOT) -> list[str]:
    """Files of the library that import a module directly."""
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    found = []
    for path in sorted((root / LIBRARY).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and (
                    node.module == module
                    or any(f"{node.module}.{alias.name}" == module for alias in node.names)
                )
            ):
                found.append(path.relative_to(root).as_posix())
                break
    return found


def belonging_to(name: str, root: Path = ROOT, *, room: bool = True) -> list[str]:
    """Test files, or the whole room's, and the file itself for its doctests."""
    path = Path(name)
    if not (root / path).exists():
        return []
    if path.parts[0] == "tests":
        return [name] if path.name.startswith("test_") else []
    if path.parts[0] != LIBRARY or path.suffix != ".py":
        return []
    mirror = Path("tests", *path.parts[1:-1])
    own = mirror / f"test_{path.name}"
    places = [own] if (root / own).exists() else [mirror] if room and mirror.name != "tests" else []
    return [*(p.as_posix() for p in places if (root / p).exists()), name]


def chosen(names: Iterable[str], root: Path = ROOT) -> list[str]:
    """Everything to run for some changed files, each once; slow ones only if they changed."""
    names = list(names)
    found: dict[str, None] = {}
    for name in names:
        found |= dict.fromkeys(belonging_to(name, root))
        if name.startswith(f"{LIBRARY}/") and (root / name).exists():
            for other in importers(name, root):
                found |= dict.fromkeys(belonging_to(other, root, room=False))
    return [test for test in found if test in names or not test.startswith(SLOW)]


def main() -> int:
    command = sys.argv[sys.argv.index("--") + 1 :]
    wanted = chosen(changed())
    if not wanted:
        print("no test belongs to what has changed")
        return 0
    left_out = [option for slow in SLOW for option in ("--ignore", slow) if slow not in wanted]
    print(f"{len(wanted)} files: {' '.join(wanted)}", flush=True)
    return subprocess.run([*command, *left_out, *wanted], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
