"""The page "Your own data", followed command by command on a folder of small simulated pictures."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky import get_reusable_executor

from cellcount_lib.data.images import write_png
from cellcount_lib.data.simulate import simulate
from cellcount_lib.reporting.checklist import ASKED
from tests.command import cellcount

PAGE = (Path(__file__).parents[2] / "book" / "your_data.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.S | re.M)
ANIMALS = ("m1", "m2", "m3")
SHORT = {"train": ("--profile", "smoke", "--epochs", "1", "--steps", "2")}  # nothing else is added


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What is there when a reader has done all that the page says, with nine pictures."""
    place = tmp_path_factory.mktemp("own")
    (place / "my-pictures").mkdir()
    truth = {}
    for number in range(9):
        drawn = simulate(number, style="nuclei-medium", size=(160, 200))
        name = f"{ANIMALS[number // 3]}-{number:02d}"
        write_png(place / "my-pictures" / f"{name}.png", drawn.image)
        truth[f"{name}.png"] = drawn.count
    table = pd.DataFrame({"image": list(truth), "count": list(truth.values())})
    table.to_csv(place / "truth.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        get_reusable_executor().shutdown()  # its processes are where they began
        for language, block in BLOCKS:
            if language == "python":
                by_hand(place / "my-labelled-pictures")
                exec(compile(block, "your_data.md", "exec"), {})
                continue
            assert language == "sh", f"a block of {language} is not followed"
            for line in block.replace("\\\n", "").splitlines():
                follow(shlex.split(line))
        get_reusable_executor().shutdown()
    return place


def by_hand(labelled):
    """Write the table that the page asks the reader for."""
    names = sorted(path.stem for path in (labelled / "images").iterdir())
    rows = [(f"images/{n}.png", f"labels/{n}.tif", n.partition("-")[0]) for n in names]
    table = pd.DataFrame(rows, columns=["image", "label", "animal"])
    table.to_csv(labelled / "index.csv", index=False)


def follow(words):
    if words[0] != "cellcount":
        subprocess.run(words, check=True)
        return
    done = cellcount(*words[1:], *SHORT.get(words[1], ()))
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


def test_the_page_has_the_commands_that_are_followed():
    said = " ".join(block for _, block in BLOCKS)
    for command in ("predict", "labels convert", "train folder:", "calibrate", "report checklist"):
        assert f"cellcount {command}" in said


def test_no_animal_is_in_two_parts(folder):
    table = pd.read_csv(folder / "my-labelled-pictures" / "index.csv")
    assert (table.groupby("animal")["split"].nunique() == 1).all()
    assert table["split"].value_counts().to_dict() == {"train": 3, "val": 3, "test": 3}


def test_labels_come_back_from_the_program_as_they_went(folder):
    import tifffile

    for path in sorted((folder / "counts" / "labels").iterdir()):
        went = tifffile.imread(path)
        came = tifffile.imread(folder / "my-labelled-pictures" / "labels" / path.name)
        np.testing.assert_array_equal(came > 0, went > 0)
        assert len(np.unique(came)) == len(np.unique(went))


def test_the_checklist_says_what_the_files_of_the_training_say(folder):
    text = (folder / "checklist.md").read_text()
    line = dict(re.findall(r"^- \*\*(.+?)\*\* (.*)$", text, re.M))
    summary = json.loads((folder / "my-model" / "training.json").read_text())
    counts = pd.read_csv(folder / "my-counts" / "counts.csv")
    intervals = pd.read_csv(folder / "intervals.csv")
    assert "`folder:my-labelled-pictures`" in line["Source"]
    assert "3 train, 3 val, 3 test" in line["Sample size"]
    assert "None, byte by byte" in line["Pictures in two parts"]
    assert "`animal` has 3 values; none is in two" in line["Animals, slides or days in two parts"]
    assert "`nuclei-flows`" in line["Initial weights"]
    assert "1 of at most 1 epochs, each of 2 steps of 4 crops" in line["Optimiser and steps"]
    assert f"{summary['threshold']:g} for seed 0 (chosen on validation" in line["Cutoff"]
    scores = line["Scores with intervals"]
    assert f"F1 {summary['scores']['f1']:.3f}" in scores
    assert f"mean absolute error of the count {summary['scores']['mae']:.3f}" in scores
    assert "another training would score otherwise" in scores
    assert f"9 pictures with {counts['count'].sum()} cells" in line["Counting"]
    off = (intervals["count"] - intervals["truth"]).abs().mean()
    assert f"mean absolute difference {off:.2f}" in line["Agreement with hand counts"]
    for unknown in ("Aim", "Licence and consent", "Annotators", "Software", "Code", "Limits"):
        assert line[unknown].partition("). ")[2].startswith(ASKED), unknown
    assert str(folder) not in text
