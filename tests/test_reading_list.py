"""The reading list of CONTRIBUTING: short enough for an afternoon, and no file is forgotten."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("models", "losses", "training", "postprocess", "scoring")
MOST_LINES = 5_000


def reading_list(text):
    """Files to read, in order, and those for later with the reason."""
    section = text.split("### To read in an afternoon")[1].split("\n## ")[0]
    now, later = section.split("For later:")
    read = [
        f"{room}/{name}.py"
        for room, names in re.findall(r"^\d+\. `(\w+)/`:\s+((?:`\w+`,?\s*)+)", now, re.M)
        for name in re.findall(r"`(\w+)`", names)
    ]
    return read, {
        f"{file}.py": why for file, why in re.findall(r"^- `([\w/]+)`: (.+)$", later, re.M)
    }


def complaints(text, library):
    """Say what is wrong with a reading list."""
    read, later = reading_list(text)
    listed = [*read, *later]
    there = {
        p.relative_to(library).as_posix() for room in ROOMS for p in (library / room).glob("*.py")
    }
    yield from (
        f"{name}: listed twice" for name in sorted({n for n in listed if listed.count(n) > 1})
    )
    yield from (f"{name}: no such file" for name in sorted(set(listed) - there))
    yield from (f"{name}: neither to read nor for later" for name in sorted(there - set(listed)))
    lines = sum(len((library / n).read_text().splitlines()) for n in read if n in there)
    if lines > MOST_LINES:
        yield f"{lines} lines to read, expected at most {MOST_LINES}"
    rooms = [name.split("/")[0] for name in read]
    if rooms != sorted(rooms, key=ROOMS.index):
        yield f"expected the rooms in the order {', '.join(ROOMS)}"


def test_the_reading_list_is_whole_and_can_be_read_in_an_afternoon():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert list(complaints(text, ROOT / "cellcount_lib")) == []


@pytest.fixture
def library(tmp_path):
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "one.py").write_text("x = 1\n" * 1_000)
    (tmp_path / "scoring" / "two.py").write_text("x = 1\n")
    return tmp_path


LIST = """### To read in an afternoon
1. `models/`: `one`
2. `losses/`: `one`
3. `training/`:
   `one`
4. `postprocess/`: `one`
5. `scoring/`: `one`

For later:
- `scoring/two`: it is dull

## Rules
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("", "", []),
        ("`models/`: `one`", "`models/`: `one`, `three`", ["models/three.py: no such file"]),
        ("- `scoring/two`: it is dull", "", ["scoring/two.py: neither to read nor for later"]),
        ("- `scoring/two`: it is dull", "- `scoring/two`", ["scoring/two.py: neither to read nor"]),
        ("5. `scoring/`: `one`", "5. `scoring/`: `one`, `two`", ["listed twice", "5001 lines"]),
        ("4. `postprocess/`", "4. `scoring/`", ["listed twice", "postprocess/one.py: neither"]),
    ],
)
def test_what_is_wrong_with_a_reading_list_is_said(library, old, new, says):
    complained = list(complaints(LIST.replace(old, new) if old else LIST, library))
    assert len(complained) == len(says)
    assert all(said in text for said, text in zip(says, complained, strict=True))


def test_rooms_are_read_in_the_order_of_the_data(library):
    first, second = "1. `models/`: `one`\n", "2. `losses/`: `one`\n"
    turned = LIST.replace(first + second, second + first)
    assert [text.split(" ")[0] for text in complaints(turned, library)] == ["expected"]
