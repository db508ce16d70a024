"""A chapter with nothing but its file, as on Colab: its set-up cell installs the package."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.notebooks.test_chapters import BOOK, cells

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """A folder with the built wheel."""
    folder = tmp_path_factory.mktemp("wheels")
    source = tmp_path_factory.mktemp("source") / "project"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*build, str(folder), str(source)], check=True)
    assert len(list(folder.glob("cellcount_book-*.whl"))) == 1
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """An environment with the packages that Colab has, and without this one."""
    folder = tmp_path_factory.mktemp("bare")
    python = folder / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    # of Python 3.11, and older than what torch asks for
    subprocess.run([str(python), "-m", "pip", "uninstall", "-qy", "setuptools"], check=True)
    packages = folder / "packages"
    packages.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        own = entry.name.lower().startswith(("cellcount", "__editable__", "pip"))
        if not own and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "packages.pth").write_text(f"{packages}\n")
    return python


def run(python: Path, code: str, folder: Path, wheels: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CELLCOUNT", "PYTHON"))}
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "MPLBACKEND": "agg"}
    return subprocess.run(
        [str(python), "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=280,
    )


def test_the_set_up_cell_installs_and_says_so_and_results_are_found(bare, wheels, tmp_path):
    (chapter,) = [path for path in BOOK if path.stem == "05_losses"]
    (tmp_path / chapter.name).write_text(json.dumps(json.loads(chapter.read_text())))
    assert run(bare, "import cellcount_lib", tmp_path, wheels).returncode == 1
    set_up = "".join(cells(tmp_path / chapter.name)[0]["source"])
    done = run(bare, set_up, tmp_path, wheels)
    assert done.returncode == 0, done.stderr
    assert "Installing cellcount-book" in done.stdout
    again = run(bare, set_up, tmp_path, wheels)
    assert (again.returncode, again.stdout) == (0, ""), "installed: nothing to do, nothing to say"
    use = "from cellcount_lib.tables.committed import committed, table\n"
    use += "import cellcount_lib; print(cellcount_lib.__file__)\n"
    use += "print(committed()); t = table('table1'); print(len(t.results.runs), len(t.published))\n"
    use += "from cellcount_lib.inference.model_file import load_model\n"
    use += "print(load_model().info.protocol)\n"
    use += "from cellcount_lib.tables.committed import results_folder\n"
    use += "print((results_folder() / 'labelling.csv').is_file())\n"  # chapter 11 reads it
    done = run(bare, use, tmp_path, wheels)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert str(bare.parents[1]) in lines[0]
    assert "table1" in lines[1]
    assert int(lines[2].split()[0]) >= 18
    assert lines[4] == "True"
