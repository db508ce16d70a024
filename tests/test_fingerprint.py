"""Which definitions a number depends on: the rules one by one, then six kinds of run."""

import dataclasses
import re
import shutil

import pytest

from cellcount_lib.errors import DataError
from cellcount_lib.fingerprint import LIBRARY, closure, closure_of_source, digest, source_hash
from cellcount_lib.methods.score import Scoring
from cellcount_lib.runs import identity
from cellcount_lib.training import code
from cellcount_lib.training.spec import Training

SMALL = {
    "registry.py": "class Registry:\n    pass\n",
    "errors.py": "class InputError(Exception):\n    pass\n",
    "plots.py": "COLOUR = 'red'\n\ndef draw(x):\n    return COLOUR\n",
    "low/__init__.py": "from mini.low.parts import helper\n",
    "low/parts.py": (
        "SIZE = 3\nOTHER = 4\n\n"
        "def helper(x):\n    return x * SIZE\n\n"
        "def unused(x):\n    return OTHER\n\n"
        "class Base:\n    width = SIZE\n\n"
        "class Kind(Base):\n    name: str\n\n"
        "    def area(self):\n        return helper(self.width)\n"
    ),
    "names.py": (
        "from mini.low.parts import Kind, helper\nfrom mini.registry import Registry\n\n"
        "WAYS = Registry('way', {'plain': helper, 'kind': Kind, 'new': 7})\n"
    ),
    "top.py": (
        "from mini.errors import InputError\n"
        "from mini import low, plots\n\n"
        "def entry(way: str, x=None):\n"
        '    """Say."""\n'
        "    from mini.names import WAYS\n"
        "    SIZE = 5\n"
        "    if x is None:\n        raise InputError('nothing')\n"
        "    plots.draw(x)\n"
        "    return WAYS[way], low.helper(x), SIZE\n\n"
        "def fixed():\n    from mini.names import WAYS\n    return WAYS['new']\n"
    ),
}


@pytest.fixture
def mini(tmp_path):
    """A library of its own, and a way to write it again with an edit: each in a new folder."""
    number = iter(range(100))

    def make(edit=None, old="", new=""):
        folder = tmp_path / str(next(number)) / "mini"
        for name, text in SMALL.items():
            if name == edit:
                assert old in text
                text = text.replace(old, new)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    return make


def reach(library, entry="entry", **chosen):
    return closure([entry], chosen, library=library)


def test_what_is_reached_is_named_and_nothing_else(mini):
    found = reach(mini(), way={"plain"})
    assert set(found) == {"entry", "way plain", "helper", "SIZE"}
    assert set(reach(mini(), way={"kind"})) == {
        "entry",
        "way kind",
        "Kind",
        "Base",
        "helper",
        "SIZE",
    }
    assert set(reach(mini())) == {*reach(mini(), way={"kind"}), "way plain", "way new"}
    assert set(reach(mini(), "fixed")) == {"fixed", "way new"}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("top.py", '"""Say."""', '"""Say something else."""'),
        ("top.py", "entry(way: str, x=None)", "entry(way: 'Mapping', x: int = None) -> None"),
        ("top.py", "    SIZE = 5", "    # five\n    SIZE = (5)"),
        ("top.py", "'nothing'", "f'expected x, found {x}'"),
        ("low/parts.py", "OTHER = 4", "OTHER = 5"),
        ("low/parts.py", "SIZE = 3", '"""Words."""\nSIZE: int = 3\n"""Of a thing."""'),
        ("plots.py", "'red'", "'blue'"),
        ("names.py", "'new': 7", "'new': 8, 'newer': 9"),
        ("names.py", "'kind': Kind, 'new': 7", "'new': 7, 'kind': Kind"),
        ("low/__init__.py", "from mini", "import os\nfrom mini"),
    ],
)
def test_what_changes_nothing(mini, file, old, new):
    for way in ("plain", "kind"):
        assert reach(mini(file, old, new), way={way}) == reach(mini(), way={way})


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("top.py", "SIZE = 5", "SIZE = 6", {"entry"}),
        ("top.py", "x=None", "x=0", {"entry"}),
        ("low/parts.py", "SIZE = 3", "SIZE = 4", {"SIZE"}),
        ("low/parts.py", "x * SIZE", "x + SIZE", {"helper"}),
        ("low/parts.py", "width = SIZE", "width = SIZE + 1", {"Base"}),
        ("low/parts.py", "name: str", "title: str", {"Kind"}),
        ("names.py", "'kind': Kind", "'kind': helper", {"way kind", "Kind", "Base"}),
    ],
)
def test_what_changes_is_named(mini, file, old, new, named):
    before, after = reach(mini(), way={"kind"}), reach(mini(file, old, new), way={"kind"})
    assert {name for name in before if before[name] != after.get(name)} == named


def test_a_moved_definition_and_a_renamed_file_are_the_same(mini):
    moved = mini("top.py", "from mini.names", "from mini.registers")
    (moved / "names.py").rename(moved / "registers.py")
    parts = moved / "low" / "parts.py"
    (moved / "below.py").write_text(parts.read_text().replace("OTHER", "ANOTHER"))
    for path in (moved / "registers.py", moved / "low" / "__init__.py"):
        path.write_text(path.read_text().replace("mini.low.parts", "mini.below"))
    parts.unlink()
    assert reach(moved) == reach(mini())


def test_code_outside_reaches_what_it_names(mini):
    source = "from mini.low.parts import helper\n\nprint(helper(2))\n"
    assert set(closure_of_source(source, library=mini())) == {"helper", "SIZE"}


def test_what_cannot_be_told_apart_is_an_error(mini):
    twice = mini("plots.py", "def draw", "def helper(x):\n    return 1\n\ndef draw")
    with pytest.raises(DataError, match=r"one definition of helper, found low\.parts, plots"):
        reach(twice, "helper")
    with pytest.raises(DataError, match="one definition of nothing, found none"):
        reach(twice, "nothing")
    with pytest.raises(DataError, match="name in quotes"):
        reach(mini("names.py", "'new': 7", "**{'new': 7}"))


def test_digest_is_of_values_not_of_their_order():
    assert digest({"a": 1, "b": [None, 0.5]}) == digest({"b": [None, 0.5], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
    assert len(digest([], digits=64)) == 64


def test_code_counts_and_words_do_not():
    plain = "def f(x):\n    return x + 1\n"
    said = (
        'def f(x: int) -> int:\n    """Add one."""\n    # really\n    return (x\n            + 1)\n'
    )
    assert source_hash(plain) == source_hash(said)
    assert source_hash(plain) != source_hash(plain.replace("1", "2"))
    assert source_hash('"""Only words."""') == source_hash("")


# --- six kinds of run, on copies of the library with one edit each

TRAININGS = {
    "train": Training(),
    "train outlines": Training(loss="three-class-4", dataset="simulated:nuclei-overcrowded"),
}
SCORINGS = {
    "score again": Scoring("run", run="x", protocol="morelli2021"),
    "apply": Scoring("apply", "folder:/cells", run="x"),
    "blobs": Scoring("log-blobs", "folder:/cells"),
}
KINDS = {*TRAININGS, *SCORINGS, "draw nuclei"}


def kinds(library):
    found = {
        name: closure(code.ENTRIES, code.chosen_by(training), library=library)
        for name, training in TRAININGS.items()
    }
    for name, asked in SCORINGS.items():
        found[name] = closure(("score",), identity.chosen_by(asked), library=library)
    found["draw nuclei"] = closure(("simulate",), {"style": {"nuclei-small"}}, library=library)
    return found


@pytest.fixture(scope="module")
def before():
    return kinds(LIBRARY)


def moved(library):
    (library / "methods" / "blobs.py").rename(library / "methods" / "laplacian.py")
    for path in library.rglob("*.py"):
        path.write_text(path.read_text().replace("methods.blobs", "methods.laplacian"))


def replaced(name, old, new):
    def edit(library):
        path = library / name
        text = path.read_text()
        assert re.search(old, text), (name, old)
        path.write_text(re.sub(old, new, text, count=1))

    return edit


@pytest.mark.parametrize(
    ("edit", "stale"),
    {
        "a module is moved": (moved, set()),
        "a message says more": (
            replaced("scoring/matching.py", "expected an IoU in", "expected an overlap in"),
            set(),
        ),
        "a docstring, a comment": (
            replaced("postprocess/splitting.py", '"""Join', '"""# so\nJoin'),
            set(),
        ),
        "a figure": (replaced("plots.py", '"#56B4E9"', '"#000000"'), set()),
        "a recipe beside the others": (
            replaced(
                "training/recipes.py",
                '    "recommended": ',
                '    "new": None,\n    "recommended": ',
            ),
            set(),
        ),
        "another recipe": (replaced("training/recipes.py", "lr=0.006", "lr=0.007"), set()),
        "the recipe": (
            replaced("training/recipes.py", "lr=5e-3", "lr=6e-3"),
            {"train", "train outlines"},
        ),
        "another loss": (replaced("losses/pixel.py", r"\bgamma\b", "gamma_"), set()),
        "the loss of outlines": (
            replaced("losses/formulated.py", "class ThreeClass", "X = 1\nclass ThreeClass"),
            set(),
        ),
        "a setting of that loss": (
            replaced("losses/__init__.py", r'("three-class-4": .*)4\.0', r"\g<1>4.5"),
            {"train outlines"},
        ),
        "blobs": (replaced("methods/blobs.py", "SEEN_PX = 12", "SEEN_PX = 13"), {"blobs"}),
        "harmonisation": (replaced("methods/harmonise.py", "1e-6", "1e-5"), {"apply"}),
        "imported inside a function": (
            replaced("data/simulator/nuclei.py", r"float32\(1\.9\)", "float32(1.8)"),
            {"draw nuclei", "train outlines"},
        ),
        "the neurons": (
            replaced("data/simulator/neurons.py", r"\brng\.", "rng_."),
            {"train", "score again"},
        ),
        "a protocol": (
            replaced(
                "scoring/protocols.py", '"hungarian-distance", 20.0', '"hungarian-distance", 21.0'
            ),
            {"train", "train outlines", "apply", "blobs"},
        ),
        "how matches are counted": (
            replaced("scoring/detection.py", r"2 \* tp \+", "3 * tp +"),
            KINDS - {"draw nuclei"},
        ),
    }.values(),
    ids=lambda value: None,
)
def test_which_runs_an_edit_makes_stale(edit, stale, before, tmp_path):
    library = tmp_path / LIBRARY.name
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__", "pretrained"))
    edit(library)
    now = kinds(library)
    assert {name for name in KINDS if now[name] != before[name]} == stale


def test_every_registry_of_the_library_can_be_read_and_has_a_kind_of_its_own():
    from cellcount_lib.fingerprint import _opened

    library = _opened(LIBRARY)
    kinds_ = [
        definition.kind
        for name in library.files
        for definition in library.module(name).definitions.values()
        if definition.kind
    ]
    assert len(kinds_) > 10
    assert len(set(kinds_)) == len(kinds_)
    chosen = {name for t in TRAININGS.values() for name in code.chosen_by(t)}
    chosen |= {name for s in SCORINGS.values() for name in identity.chosen_by(s)}
    assert chosen <= set(kinds_)


def test_a_record_names_what_its_run_can_reach():
    names = set(identity.code_of(dataclasses.asdict(Training())))
    assert {"evaluate", "recipe recommended", "protocol recommended", "style fnc-yellow"} <= names
    assert not {"recipe clissa2023", "log_blobs", "snakemake", "collect", "draw_nuclei"} & names
