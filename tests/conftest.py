import os
import signal
from pathlib import Path

import pytest

from tests.going_on import GoingOn

ROOT = Path(__file__).resolve().parents[1]

# A shell starts background jobs with interrupts ignored, nohup with hang-ups, and programs inherit
# that: without these lines every test that interrupts a program fails there.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Simulated pictures are drawn once for all tests, also those in kernels and other processes. What
# is kept is found again only by the code that drew it (tests/data/test_cache.py).
os.environ.setdefault("CELLCOUNT_CACHE", str(ROOT / ".make" / "pictures"))

# With several workers a test belongs to a group, and a group to one worker. Files that share
# something costly between their tests are a group; of all others every test is one.
SHARING = (
    *("tests/book/", "tests/notebooks/test_chapters.py", "tests/prediction/", "tests/runs/"),
    *("tests/tables/test_tables.py", "tests/training/", "tests/inference/test_predict.py"),
    *("tests/methods/", "tests/test_fingerprint.py", "tests/notebooks/test_execution.py"),
)
# The longest come first, so that no worker begins one when the other has nothing left to do.
FIRST = ("tests/notebooks/test_nbval.py", "tests/training/test_run.py", "tests/runs/test_launch.py")


def pytest_configure(config: pytest.Config) -> None:
    """Go on where an interrupted `make test` stopped."""
    kept = os.environ.get("CELLCOUNT_TESTS_GO_ON")
    if kept:
        config.pluginmanager.register(GoingOn(config, Path(kept), ROOT))


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests into groups, the longest first."""
    for item in items:
        place = item.nodeid.split("::")[0]
        if place.startswith("cellcount_lib/") or place.startswith(SHARING):
            item.add_marker(pytest.mark.xdist_group(place))
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


@pytest.fixture(scope="session")
def samples_dir() -> Path:
    """Folder of real image samples: CELLCOUNT_SAMPLES, or shared/data beside the checkout."""
    named = os.environ.get("CELLCOUNT_SAMPLES")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real image samples here: set CELLCOUNT_SAMPLES to a folder that has them")
    return folder
