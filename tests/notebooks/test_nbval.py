"""The committed outputs of the chapters against a fresh execution, by nbval.

Text and tables are compared; pictures are not, and cells tagged ``nbval-ignore-output`` are not:
times, the digits of a training (they belong to a processor), and panels of data that a reader may
have. Since those digits are not compared, chapters that train are executed with fewer steps and
pictures: every cell runs, and what is compared must come out the same.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.notebooks.test_chapters import BOOK, cells
from tools.chapters import MARK

ROOT = Path(__file__).resolve().parents[2]
IGNORED = "nbval-ignore-output"

# Values in place of the committed ones. What depends on them is a figure, has the tag, or is
# covered by sanitize.cfg.
FEWER = {
    "02_architectures": {"picture": "torch.rand(1, 3, 64, 64)"},  # the one that is timed
    "03_one_experiment": {"steps": "10", "epochs": "2"},
    "08_transfer": {"steps": "2"},
    "11_laboratory": {"pool": "12", "rounds": "(4, 2)", "steps": "2"},
}
# Behind a profile: as many training pictures as give the width of a cell, and few to judge by.
FEW_PICTURES = """

from dataclasses import replace
from cellcount_lib.training.profiles import PROFILES

few = {"train_images": 16, "val_images": 4, "test_images": 4}
PROFILES._entries.update({name: replace(PROFILES[name], **few) for name in PROFILES})
del few, replace, PROFILES
"""

# How many cells nbval compares in each chapter: may rise, must not fall.
COMPARED = {
    "01_data": 13,
    "02_architectures": 15,
    "03_one_experiment": 7,
    "04_ablations": 14,
    "05_losses": 15,
    "06_threshold_and_ruler": 18,
    "07_out_of_distribution": 12,
    "08_transfer": 9,
    "09_touching_cells": 11,
    "10_results": 16,
    "11_laboratory": 12,
}


LONGEST_FIRST = sorted(
    BOOK, key=lambda p: (p.stem in FEWER, -json.loads(p.read_text())["metadata"][MARK]["seconds"])
)


def compared(path: Path) -> int:
    """Cells with an output that is no picture alone, and without the tag that leaves it out."""
    number = 0
    for cell in cells(path):
        pictures = [any(k.startswith("image/") for k in o.get("data", {})) for o in cell["outputs"]]
        texts = pictures.count(False)  # a picture's own text says no more than its size
        number += bool(texts) and IGNORED not in cell["metadata"].get("tags", [])
    return number


# where jsonschema finds the package of that name it makes a grammar, for two seconds
PYTEST = "import sys; sys.modules['rfc3987_syntax'] = None; import pytest; sys.exit(pytest.main())"


def nbval(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PYTEST, "--nbval", "--nbval-current-env"]
    command += ["--nbval-sanitize-with", str(Path(__file__).with_name("sanitize.cfg"))]
    command += ["-c", os.devnull, "--rootdir", str(path.parent), "-p", "no:cacheprovider", "-q"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "nbval.plugin"}
    environment |= {"CELLCOUNT_PROGRESS": "0", "CELLCOUNT_PROJECT": str(ROOT)}
    environment |= {"LOKY_MAX_CPU_COUNT": "1"}  # the other cores have tests of their own
    return subprocess.run(
        [*command, str(path)], capture_output=True, text=True, env=environment, cwd=path.parent
    )


def shortened(path: Path, folder: Path) -> Path:
    """Copy a chapter with other values and few pictures of a training."""
    notebook = json.loads(path.read_text())
    places = dict.fromkeys(FEWER[path.stem], 0)
    for cell in (c for c in notebook["cells"] if c["cell_type"] == "code"):
        source = "".join(cell["source"])
        for name, value in FEWER[path.stem].items():
            line = rf"^{name} = .*$"
            source, found = re.subn(line, f"{name} = {value}", source, flags=re.MULTILINE)
            places[name] += found
        if re.search("^profile = ", source, flags=re.MULTILINE):
            source += FEW_PICTURES
        cell["source"] = source
    assert set(places.values()) == {1}, f"expected each once in {path.stem}, found {places}"
    copy = folder / path.name
    copy.write_text(json.dumps(notebook))
    return copy


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("path", LONGEST_FIRST, ids=lambda p: p.stem)
def test_committed_outputs_are_what_a_fresh_execution_gives(path, tmp_path):
    number = compared(path)
    print(f"{path.stem}: {number} cells compared")
    assert number >= COMPARED[path.stem]
    done = nbval(shortened(path, tmp_path) if path.stem in FEWER else path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) == len([c for c in cells(path) if "".join(c["source"]).strip()])


@pytest.mark.timeout(600)
def test_a_changed_result_is_noticed(tmp_path):
    """One digit of one committed output of a real chapter is changed: nbval must fail there."""
    (path,) = [p for p in BOOK if p.stem == "10_results"]
    notebook = json.loads(path.read_text())
    notebook["cells"] = [c for c in notebook["cells"] if c["cell_type"] == "code"][:4]
    place = tmp_path / "chapter.ipynb"
    output = notebook["cells"][3]["outputs"][0]["data"]["text/plain"]
    text = "".join(output)
    digit = re.search(r"\b\d+\b", text)
    assert digit is not None
    changed = text[: digit.start()] + str(int(digit[0]) + 1) + text[digit.end() :]
    notebook["cells"][3]["outputs"][0]["data"]["text/plain"] = changed
    place.write_text(json.dumps(notebook))
    done = nbval(place)
    assert done.returncode == 1
    assert "1 failed, 3 passed" in done.stdout
