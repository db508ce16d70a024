"""An interrupted `make test` goes on with what has not passed; a fast one finds what changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.going_on import state
from tools.changed import changed, chosen, importers

ROOT = Path(__file__).resolve().parents[1]
CONFTEST = """
import os
from pathlib import Path
from tests.going_on import GoingOn

def pytest_configure(config):
    kept, source = Path("kept/passed.txt"), Path("source").resolve()
    config.pluginmanager.register(GoingOn(config, kept, source))
"""
TESTS = """
import os, signal
import pytest

@pytest.mark.parametrize("number", range(4))
def test_counts(number):
    with open("done.txt", "a") as file:
        file.write(f"{number}\\n")
    if number == 2 and os.environ.get("KILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    assert number != 3 or not os.environ.get("FAIL")
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.py").write_text("a = 1\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    return tmp_path


def run(place, *options, **environment):
    (place / "done.txt").unlink(missing_ok=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "CELLCOUNT_TESTS"))}
    only = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # to import what is not used takes seconds
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "xdist", *options],
        cwd=place,
        env=clean | only | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
    )
    done = (place / "done.txt").read_text().split() if (place / "done.txt").exists() else []
    return ended, sorted(done)


def test_a_killed_run_goes_on_with_the_others(place):
    ended, done = run(place, KILL="1")
    assert ended.returncode < 0
    assert done == ["0", "1", "2"]
    ended, done = run(place)
    assert (ended.returncode, done) == (0, ["2", "3"])
    assert "2 deselected" in ended.stdout
    assert not (place / "kept" / "passed.txt").exists()
    assert run(place)[1] == ["0", "1", "2", "3"], "all have passed: the next run is a new one"


def test_workers_leave_out_the_same(place):
    assert run(place, "-n", "2", FAIL="1")[1] == ["0", "1", "2", "3"]
    ended, done = run(place, "-n", "2")
    assert (ended.returncode, done) == (0, ["3"])


GROUPED = """
from tests.groups import groups

def pytest_xdist_make_scheduler(config, log):
    return groups(config, log, lambda name: "it" if "test_it.py" in name else name)
"""


def test_tests_that_share_something_have_one_worker_and_others_any(place):
    (place / "conftest.py").write_text(GROUPED)
    here = "import os, time\nimport pytest\n\n@pytest.mark.parametrize('n', range(6))\n"
    here += "def test_where(n):\n    time.sleep(0.2)\n    with open('done.txt', 'a') as file:\n"
    here += "        file.write(f\"{__name__}-{os.environ['PYTEST_XDIST_WORKER']}\\n\")\n"
    for name in ("test_it.py", "test_other.py"):
        (place / name).write_text(here)
    ended, done = run(place, "-n", "2")
    assert ended.returncode == 0, ended.stdout
    assert len({one for one in done if one.startswith("test_it-")}) == 1
    assert {one.partition("-")[2] for one in done} == {"gw0", "gw1"}, "and none was idle"


def test_a_failure_is_tried_again_and_what_passed_is_not(place):
    ended, _ = run(place, FAIL="1")
    assert ended.returncode == 1
    assert run(place, FAIL="1")[1] == ["3"]
    assert run(place)[1] == ["3"]


def test_a_changed_file_begins_anew(place):
    run(place, FAIL="1")
    (place / "source" / "a.py").write_text("a = 22\n")
    assert run(place)[1] == ["0", "1", "2", "3"]


def test_the_state_is_of_what_tests_read(tmp_path):
    for name in ("a.py", "data/b.csv", "lib/data/c.py", ".make/d", ".ci/run"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    before = state(tmp_path)
    for name in ("data/b.csv", ".make/d"):
        (tmp_path / name).write_text("22")
        assert state(tmp_path) == before, name
    for name in ("a.py", "lib/data/c.py", ".ci/run"):
        (tmp_path / name).write_text("22")
        assert state(tmp_path) != before, name
        before = state(tmp_path)


@pytest.fixture
def checkout(tmp_path):
    files = {
        "cellcount_lib/scoring/objects.py": "x = 1\n",
        "cellcount_lib/scoring/matching.py": "from cellcount_lib.scoring.objects import x\n",
        "cellcount_lib/runs/grid.py": "from cellcount_lib.scoring import matching\n",
        "cellcount_lib/files.py": "y = 1\n",
        "tests/scoring/test_objects.py": "",
        "tests/scoring/test_matching.py": "",
        "tests/runs/test_launch.py": "",
        "README.md": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "one")):
        about = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *about, *arguments], cwd=tmp_path, check=True)
    return tmp_path


def test_tests_of_a_module_and_of_its_importers(checkout):
    assert importers("cellcount_lib/scoring/objects.py", checkout) == [
        "cellcount_lib/scoring/matching.py"
    ]
    assert importers("cellcount_lib/scoring/matching.py", checkout) == [
        "cellcount_lib/runs/grid.py"
    ]
    assert chosen(["cellcount_lib/scoring/objects.py"], checkout) == [
        "tests/scoring/test_objects.py",
        "cellcount_lib/scoring/objects.py",
        "tests/scoring/test_matching.py",
        "cellcount_lib/scoring/matching.py",
    ]
    assert chosen(["cellcount_lib/scoring/matching.py"], checkout) == [
        "tests/scoring/test_matching.py",
        "cellcount_lib/scoring/matching.py",
        "cellcount_lib/runs/grid.py",
    ], "of a module that imports it, no test but its own"
    assert chosen(["cellcount_lib/runs/grid.py"], checkout) == [
        "tests/runs",
        "cellcount_lib/runs/grid.py",
    ], "it has no test of its own: all of its room"
    assert chosen(["README.md", "cellcount_lib/gone.py"], checkout) == []
    assert chosen(["tests/runs/test_launch.py"], checkout) == ["tests/runs/test_launch.py"]


def test_what_has_changed_is_asked_of_git(checkout):
    (checkout / "README.md").write_text("more")
    (checkout / "new.py").write_text("")
    assert changed(checkout) == ["README.md", "new.py"]
    about = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (("add", "-A"), ("commit", "-qm", "two")):
        subprocess.run(["git", *about, *arguments], cwd=checkout, check=True)
    assert changed(checkout) == ["README.md", "new.py"], "of the last commit"
