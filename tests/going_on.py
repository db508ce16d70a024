"""Tests that have passed, kept in a file: an interrupted run goes on with the others.

The list counts only as long as no file that a test may read has been written since, and is removed
when everything has passed.
"""

import hashlib
import os
from pathlib import Path

import pytest

NOT_READ = {".git", ".make", ".venv", "__pycache__", "_build", "_generated", "data", "runs"}
BEFORE = "CELLCOUNT_TESTS_BEFORE"  # what the workers leave out: the list as it was at the start


def state(root: Path) -> str:
    """Hash names, sizes and times of a checkout's files, without what is built or downloaded."""
    total = hashlib.sha256()
    for folder, inside, files in os.walk(root):
        top = Path(folder) == root
        inside[:] = sorted(n for n in inside if n not in NOT_READ or (not top and n == "data"))
        inside[:] = [name for name in inside if not name.startswith(".") or name == ".ci"]
        for name in sorted(files):
            path = Path(folder, name)
            if path.is_file():
                about = path.stat()
                total.update(
                    f"{path.relative_to(root)} {about.st_size} {about.st_mtime_ns}\n".encode()
                )
    return total.hexdigest()


class GoingOn:
    """The pytest plugin.

    Parameters
    ----------
    config : Config
    kept : Path
        The list: a line with the state of the files, then a line per test that has passed.
    root : Path
        Folder of the checkout.
    """

    def __init__(self, config: pytest.Config, kept: Path, root: Path) -> None:
        self.config, self.kept = config, kept
        self.is_worker = hasattr(config, "workerinput")
        if not self.is_worker:
            begin = state(root)
            before = kept.read_text().splitlines() if kept.exists() else []
            if before[:1] != [begin]:
                before = [begin]
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(f"{begin}\n")
            os.environ[BEFORE] = "\n".join(before[1:])

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what has passed, unless nothing would be left."""
        before = set(os.environ.get(BEFORE, "").splitlines())
        passed = [item for item in items if item.nodeid in before]
        if passed and len(passed) < len(items):
            items[:] = [item for item in items if item.nodeid not in before]
            self.config.hook.pytest_deselected(items=passed)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that has passed."""
        if not self.is_worker and report.when == "call" and report.passed:
            with self.kept.open("a") as file:
                file.write(f"{report.nodeid}\n")

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Forget the list when all have passed."""
        if not self.is_worker and exitstatus == 0:
            self.kept.unlink(missing_ok=True)
