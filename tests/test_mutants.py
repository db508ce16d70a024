"""tools/mutants.py on a module of two functions, whose mutants are written down here."""

import subprocess
import sys

import pytest

from tools import mutants as tool

RULE = """\
class Rule:
    name: "int | 7" = "a > b"

def older(age: int, than: int = 18, *, half: float = 0.5) -> bool:
    return age > than and age not in (99,)

def down(n):
    while n > 0:
        n -= 1
    return -n
"""
TEST = """\
from cellcount_lib.scoring.rule import down, older

def test_rule():
    assert older(19) and not older(17) and not older(99)
    assert down(3) == 0
"""
FILE = "cellcount_lib/scoring/rule.py"
LEAST = 2.0  # seconds of the processor, of which the test takes a fourth
CHANGED = [  # the line as it becomes
    "def older(age: int, than: int = 19, *, half: float = 0.5) -> bool:",
    "def older(age: int, than: int = 18, *, half: float = 0.625) -> bool:",
    "return age >= than and age not in (99,)",
    "return age > than or age not in (99,)",
    "return age > than and age  in (99,)",
    "return age > than and age not in (100,)",
    "while n >= 0:",
    "while n > 1:",
    "n += 1",
    "n -= 2",
    "return n",
]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    root = tmp_path / "checkout"
    files = {FILE: RULE, "tests/scoring/test_rule.py": TEST, "pyproject.toml": ""}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    monkeypatch.setattr(tool, "LEAST", LEAST)
    monkeypatch.setattr(tool, "LIMIT", 0.0)
    monkeypatch.setattr(tool, "warm", lambda: None)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # to import them takes seconds
    return root


def test_operators_signs_and_constants_change_and_words_and_types_do_not(checkout):
    made = tool.mutants(FILE, checkout)
    assert [mutant.lines[1] for mutant in made] == CHANGED
    assert len({mutant.key for mutant in made}) == len(made)
    assert made[2].diff().splitlines()[-4:-1] == [
        " def older(age: int, than: int = 18, *, half: float = 0.5) -> bool:",
        "-    return age > than and age not in (99,)",
        "+    return age >= than and age not in (99,)",
    ]


def measured(checkout, out, number, *, again=False):
    """Measure some mutants in a process of its own: it forks, which threads of a worker forbid."""
    code = f"""
from pathlib import Path
from tools import mutants as tool
tool.LEAST, tool.LIMIT, tool.warm = {LEAST}, 0.0, lambda: None
made = tool.mutants({FILE!r}, Path({str(checkout)!r}))
tool.measure(made[:{number}], Path({str(out)!r}), Path({str(checkout)!r}), again={again})
"""
    subprocess.run([sys.executable, "-c", code], cwd=tool.ROOT, check=True)
    return tool.Tried(out / "tried.tsv")


def test_what_no_test_notices_survives_and_is_tried_again_when_asked(checkout, tmp_path):
    made, out = tool.mutants(FILE, checkout), tmp_path / "out"
    out.mkdir()
    assert len(measured(checkout, out, 5).ended) == 5
    tried = measured(checkout, out, len(made))
    assert len(tried.path.read_text().splitlines()) == len(made), "each once"
    ended = {m.lines[1]: tried.ended[m.key] for m in made}
    survivors = {CHANGED[1], CHANGED[2], CHANGED[10]}
    assert {line for line, how in ended.items() if how == "survived"} == survivors
    assert ended["n += 1"] == "killed by the time"
    assert (checkout / FILE).read_text() == RULE

    where = checkout / tool.EQUIVALENT
    where.parent.mkdir()
    where.write_text(f"{FILE}\treturn -n\treturn n\t-0 is 0\n")
    every = tried.ended
    row = "| 11 | 8 | 3 | 1 | 73% | 80% |"
    assert tool.table(made, every, checkout).splitlines()[-2:] == [
        f"| scoring {row}",
        f"| all {row}",
    ]

    test = checkout / "tests" / "scoring" / "test_rule.py"
    test.write_text(f"{TEST}    assert not older(18)\n")
    again = measured(checkout, out, len(made), again=True).ended
    assert [m.lines[1] for m in made if again[m.key] == "survived"] == [CHANGED[1], CHANGED[10]]


def test_a_sample_stays_when_another_file_changes(checkout):
    made = tool.mutants(FILE, checkout)
    drawn = tool.sampled(made, 4, seed=1)
    assert len(drawn) == 4
    assert drawn == [m for m in made if m in drawn] != tool.sampled(made, 4, seed=2)
    assert set(tool.sampled(made[3:], 4, seed=1)) >= {*drawn} & {*made[3:]}


def test_tests_of_a_module_come_before_others_of_its_room(checkout):
    for name, text in {"runs/test_grid": "", "runs/test_kept": "cellcount_lib.scoring"}.items():
        (checkout / "tests" / f"{name}.py").parent.mkdir(exist_ok=True)
        (checkout / "tests" / f"{name}.py").write_text(text)
    own = ["tests/scoring/test_rule.py", FILE]
    assert tool.watching(FILE, checkout) == (own, ["tests/runs/test_kept.py"])


def test_tests_that_fail_without_a_mutant_are_said(checkout, tmp_path):
    (checkout / FILE).write_text(RULE.replace("18", "30"))
    with pytest.raises(SystemExit, match=r"rule\.py: its tests fail as it is; see .*tests\.log"):
        tool.measure(tool.mutants(FILE, checkout)[:1], tmp_path, checkout)


def test_what_is_said_to_be_equivalent_is_a_mutant_that_there_is():
    known = tool.equivalent()
    there = {(m.file, *m.lines) for file in {key[0] for key in known} for m in tool.mutants(file)}
    assert set(known) <= there
    assert all(known.values())
