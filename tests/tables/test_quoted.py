"""Numbers in the prose of chapters and pages: those of the tables, or recognisably none."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest
import yaml

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.files import write_whole
from cellcount_lib.inference.info import SHIPPED
from cellcount_lib.prediction.models import NEURONS, NUCLEI
from cellcount_lib.tables.quoted import LINK, resolve
from tests.tables.made_results import results, write_results
from tools.quoted_numbers import prose, typed_again, wrong

ROOT = Path(__file__).resolve().parents[2]
PROSE = prose(ROOT)
ARE_RUNS = ("03_one_experiment", "scoring_without_training")  # executed copies are pages, too


def markdown(path: Path) -> str:
    """The words of a page, or of a chapter's cells and captions."""
    if path.suffix == ".md":
        return path.read_text()
    if path.suffix == ".yml":
        parts = chain(*yaml.safe_load(path.read_text()).values())
        return "\n\n".join(str({**part, "claims": ""}) for part in parts)
    cells = json.loads(path.read_text())["cells"]
    words = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    about = [cell["metadata"].get("mystnb", {}) for cell in cells]
    words += [shown["figure"]["caption"] for shown in about if "figure" in shown]
    words += [shown["image"]["alt"] for shown in about if "image" in shown]
    return "\n\n".join(words)


def test_numbers_of_models_stand_in_their_cards():
    cards = "".join((SHIPPED / f"{name}.md").read_text() for name in (NEURONS, NUCLEI))
    typed = {number for number, why in CONSTANTS["predict"].items() if why == IN_CARDS}
    assert len(typed) == 8
    assert [number for number in sorted(typed) if f"| {number} " not in cards] == []


@pytest.mark.parametrize("path", PROSE, ids=lambda p: p.stem)
def test_a_quoted_number_is_what_its_table_says(path):
    assert list(wrong(path)) == []
    if path.stem in ARE_RUNS:
        assert LINK.search(markdown(path)) is None


# A decimal that is neither quoted nor code nor mathematics is a constant: of the methods, of the
# world, or of an example that the sentence makes up.
IN_CARDS = "in the models' cards"
CONSTANTS = {
    "05_losses": {
        "0.001": "learning rate that fastai takes by default",
        "0.875": "the cutoff of the protocol clissa2023",
        "0.1": "distance of the lines of a figure",
        "1.3": "a property of the function that is drawn",
        "0.75": "the published exponent of Focal Tversky",
        "0.73": "the logistic function of 1",
    },
    "06_threshold_and_ruler": {
        "0.875": "the cutoff of the protocol clissa2023",
        "0.5": "where the grid of the study begins",
        "0.8965": "a reading of an unreadable source",
        "0.0865": "another reading of it",
    },
    "08_transfer": {
        "0.05": "an example",
        "0.25": "a cutoff of the report, which no table has",
        "0.67": "a cutoff of the report, which no table has",
    },
    "09_touching_cells": {"0.35": "the scale of the grid"},
    "credits": {"2.0": "version of a licence"},
    "how_to_use": {"3.11": "version of Python"},
    "predict": {"0.1": "percentiles of the conversion", "99.9": "percentiles of the conversion"}
    | {"0.5": "the IoU of a match"}
    | dict.fromkeys(
        ("0.876", "0.921", "0.906", "0.755", "0.946", "0.558", "0.748", "0.854"), IN_CARDS
    ),
    "speedrun": dict.fromkeys(("0.005", "0.01"), "a rate that is tried"),
    "simulator": {"0.5": "the AUC of no difference"},
    "your_data": {"0.5": "the IoU of a match"},
    "teaching": {"0.5": "a misconception", "0.95": "a misconception"},
    "04_ablations": {
        "1.5": "weight of cells",
        "2.25": "the same, by map and class",
        "0.87": "claimed by the preprint",
        "0.8": "claimed by the preprint",
        "3.8177538": "constant of the released code",
        "1.65": "a property of the function that is drawn",
    },
    "01_data": {"0.1": "a limit of the figure"},
    "10_results": {
        **dict.fromkeys(("0.0005", "0.008", "0.005"), "a rate that is tried"),
        "0.001": "learning rate that fastai takes by default",
        "0.875": "the cutoff of the protocol clissa2023",
    },
}
NO_PROSE = (
    r"```.*?```",  # code, and directives that include generated tables
    r"\$\$.*?\$\$",
    r"`[^`\n]*`",
    r"\$[^$\n]*\$",
    r"\]\([^)]*\)",  # where a link leads
)


def typed(text: str) -> set[str]:
    """Decimals that stand in prose and are not quoted."""
    text = LINK.sub(" ", text)
    for pattern in NO_PROSE:
        text = re.sub(pattern, " ", text, flags=re.DOTALL)
    return set(re.findall(r"\d+\.\d+", text))


@pytest.mark.parametrize("path", PROSE, ids=lambda p: p.stem)
def test_no_decimal_in_prose_is_typed_but_constants_with_a_reason(path):
    assert typed(markdown(path)) == set(CONSTANTS.get(path.stem, {}))


def test_what_counts_as_a_typed_decimal():
    assert typed("F1 is 0.81, or 84.5%.") == {"0.81", "84.5"}
    assert typed("The range is 0.1, in `0.2` and $0.3$ and\n```\n0.4\n```\n") == {"0.1"}
    assert typed("[0.81](result:t/a/f1) and [0.82](https://e.org/0.83)") == {"0.82"}


@pytest.fixture
def folder(tmp_path):
    """Results of one table: row a by two runs, row b by one of two."""
    made = results(**{"a, full": [[9, 8], [7, 6]], "b": [[5, 5], None]})
    place = tmp_path / "results" / "laptop"
    place.mkdir(parents=True)
    write_results(made, place, "t")
    plan = {"published": {"a, full": {"f1": 0.8149}}, "missing": []}
    (place / "t.json").write_text(json.dumps(plan))
    (place.parent / "file.csv").write_text("# made by\nname,one\n'x y',2.345\n")
    return place.parent


def f1(tp, of=20):
    return 2 * tp / (tp + of)  # nothing is invented in these results


@pytest.mark.parametrize(
    ("address", "value", "runs"),
    [
        ("result:t/a-full/f1", (f1(17) + f1(13)) / 2, ("a, full0", "a, full1")),
        ("result:t@laptop/a-full/f1/seed1", f1(13), ("a, full1",)),
        ("result:t/A,-full/f1/min", f1(13), ("a, full0", "a, full1")),
        ("result:t/a-full/f1/sd", abs(f1(17) - f1(13)) / 2**0.5, ("a, full0", "a, full1")),
        ("result:t/b/n_true", 20, ("b0",)),  # the failed run has no scores
        ("published:t/a-full/f1", 0.8149, ()),
        ("result:file.csv/x-y/one", 2.345, ()),
    ],
)
def test_an_address_leads_to_its_value(address, value, runs, folder):
    quoted = resolve(address, folder)
    assert quoted.value == pytest.approx(value, abs=1e-12)
    assert quoted.runs == runs


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("result:u/a-full/f1", "unknown table 'u'. Known: t"),
        ("result:t/a-ful/f1", "unknown row 'a-ful'; did you mean 'a-full'"),
        ("result:t/a-full/g1", "unknown score 'g1'"),
        ("result:t/a-full/label", "unknown score 'label'"),
        ("result:t/a-full/f1/median", "unknown statistic 'median'"),
        ("result:t/b/f1/seed1", "expected one of seed0, found seed1"),
        ("published:t/b/f1", "unknown published row 'b'"),
        ("published:t/a-full/mae", "unknown published score 'mae'"),
        ("result:file.csv/z/one", "unknown row of file.csv 'z'"),
        ("result:none.csv/z/one", "expected a file of results there"),
        ("result:t/a-full", "expected result:TABLE/ROW/SCORE"),
    ],
)
def test_an_address_that_leads_nowhere_says_what_there_is(address, message, folder):
    with pytest.raises((DataError, InputError), match=message):
        resolve(address, folder)


def test_a_wrong_digit_is_named_and_typed_again(folder, tmp_path):
    page = tmp_path / "page.md"
    right = f"It is [{f1(17):.3f}](result:t/a-full/f1/seed0), [82%](published:t/a-full/f1) more."
    right = right.replace("82%", "81%")
    page.write_text(right)
    assert list(wrong(page, folder)) == []
    page.write_text(right.replace("81%", "82%"))
    assert list(wrong(page, folder)) == ["page.md: [82%](published:t/a-full/f1): expected 81%"]
    assert typed_again(page.read_text(), folder) == right
    page.write_text("[0.9](result:t/c/f1)")
    (line,) = wrong(page, folder)
    assert line.startswith("page.md: [0.9](result:t/c/f1): unknown row 'c'")


def test_a_wrong_digit_in_a_chapter_is_found(tmp_path):
    (chapter,) = [path for path in PROSE if path.stem == "09_touching_cells"]
    text = chapter.read_text()
    link = LINK.search(text)
    assert link is not None
    digit = link.end(1) - 1
    copy = tmp_path / chapter.name
    copy.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])
    (line,) = wrong(copy)
    assert line.startswith(chapter.name)
    assert line.endswith(f"expected {link[1]}")
    assert typed_again(copy.read_text()) == text


def test_after_the_tables_have_changed_the_digits_follow(folder, tmp_path):
    text = f"[{f1(17):.2f}](result:t/a-full/f1/seed0) of [20](result:t/a-full/n_true)"
    assert typed_again(text, folder) == text
    other = results(**{"a, full": [[3, 3], [2, 2]], "b": [[1, 1]]})
    changed = tmp_path / "changed" / "laptop"
    changed.mkdir(parents=True)
    runs = other.runs.assign(n_true=1234)
    write_results(replace(other, runs=pd.DataFrame(runs)), changed, "t")
    write_whole(changed / "t.json", json.dumps({"published": {}, "missing": []}))
    again = typed_again(text, changed.parent)
    assert again == f"[{f1(6):.2f}](result:t/a-full/f1/seed0) of [1234](result:t/a-full/n_true)"


CONF = """
extensions = ["myst_parser", "quoted"]
myst_url_schemes = {schemes}
exclude_patterns = ["results"]

def setup(app):
    app.add_config_value("run_results", "results", "env")
"""


def test_in_the_book_a_number_leads_to_its_run_and_a_wrong_one_is_a_warning(folder, tmp_path):
    settings = yaml.safe_load((ROOT / "book" / "_config.yml").read_text())
    assert settings["sphinx"]["local_extensions"]["quoted"] == "_ext"
    schemes = settings["parse"]["myst_url_schemes"]
    (tmp_path / "conf.py").write_text(CONF.format(schemes=schemes))
    kept = folder / "laptop" / "runs" / "a, full0.ipynb"
    kept.parent.mkdir()
    kept.touch()
    right = "[0.92](result:t/a-full/f1/seed0), [0.85](result:t/a-full/f1), "
    right += "[0.81](published:t/a-full/f1), [home](https://example.org)"
    wrong = "[0.86](result:t/a-full/f1) [0.85](result:t/a-ful/f1)"
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "page.md").write_text(f"# Page\n\n{right}\n")
    (tmp_path / "index.md").write_text(f"# T\n\n{wrong}\n\n```{{toctree}}\npart/page\n```\n")
    path = os.pathsep.join((str(ROOT), str(ROOT / "book" / "_ext")))
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", ".", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "out" / "part" / "page.html").read_text()
    assert 'href="../results/laptop/runs/a, full0.html" title="t/a-full/f1/seed0">0.92</a>' in html
    assert 'href="../chapters/10_results.html#table-t" title="t/a-full/f1">0.85</a>' in html
    assert ", 0.81, " in html
    assert "published:" not in html
    differs, nowhere = done.stderr.strip().splitlines()
    assert "index.md:3: WARNING: result:t/a-full/f1 is 0.85, the text says 0.86" in differs
    assert "index.md:3: WARNING: unknown row 'a-ful'; did you mean 'a-full'" in nowhere
