import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium
from tests.going_on import GoingOn
from tests.groups import groups
from tests.nursery import Nursery

ROOT = Path(__file__).resolve().parents[1]

# A shell starts background jobs with interrupts ignored, nohup with hang-ups, and programs inherit
# that: without these lines every test that interrupts a program fails there.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Simulated pictures are drawn once for all tests, also those in kernels and other processes. What
# is kept is found again only by the code that drew it (tests/data/test_cache.py).
os.environ.setdefault("CELLCOUNT_CACHE", str(ROOT / ".make" / "pictures"))

# With several workers a test belongs to a group, and a group to one worker. Files and folders that
# share something costly between their tests are a group, as is a file with a fixture of its own for
# all of its tests; of all others every test is one.
FOLDERS = ("tests/training/", "tests/methods/")
FILES = (
    *("cellcount_lib/", "tests/book/", "tests/prediction/", "tests/runs/", "tests/tables/"),
    *("tests/inference/test_predict.py", "tests/notebooks/test_execution.py"),
    "tests/service/test_page.py",
)
# The longest come first, so that no worker begins one when the other has nothing left to do.
FIRST = (
    *("tests/notebooks/test_nbval.py", "tests/book/test_site.py", "tests/runs/"),
    *("tests/training/", "tests/test_gpu_bench.py", "tests/tables/", "tests/book/"),
    *("tests/notebooks/", "tests/prediction/"),
    *(
        "tests/service/test_service.py",
        "tests/models/",
        "tests/methods/",
        "tests/inference/",
        "tests/data/",
        "tests/test_fingerprint.py",
    ),
)


def pytest_configure(config: pytest.Config) -> None:
    """Go on where an interrupted `make test` stopped."""
    kept = os.environ.get("CELLCOUNT_TESTS_GO_ON")
    if kept:
        config.pluginmanager.register(GoingOn(config, Path(kept), ROOT))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out groups, not tests."""
    return groups(config, log, group_of)


def group_of(nodeid: str) -> str:
    """Name what a test shares a worker with."""
    file = nodeid.split("::")[0]
    folder = next((folder for folder in FOLDERS if file.startswith(folder)), None)
    return folder or (file if file.startswith(FILES) or shares(file) else nodeid)


@cache
def shares(file: str) -> bool:
    """Tell whether a file has a fixture that is made once for its tests."""
    return 'scope="module"' in (ROOT / file).read_text()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first."""

    def turn(item: pytest.Item) -> int:
        places = (n for n, place in enumerate(FIRST) if item.nodeid.startswith(place))
        return next(places, len(FIRST))

    items.sort(key=turn)


@pytest.fixture(scope="session")
def samples_dir() -> Path:
    """Folder of real image samples: CELLCOUNT_SAMPLES, or shared/data beside the checkout."""
    named = os.environ.get("CELLCOUNT_SAMPLES")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real image samples here: set CELLCOUNT_SAMPLES to a folder that has them")
    return folder


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """A process that has imported everything and lets others begin from there."""
    made = Nursery(tmp_path_factory.mktemp("nursery"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium without a window."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
