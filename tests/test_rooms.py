"""The floor plan: a room imports only what stands before it, and nothing goes in circles.

Every import counts: those inside functions, and those for the type checker alone.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "cellcount_lib"

# From the ground up. Rooms of one line do not know each other.
FLOORS = (
    (
        *("errors", "checks", "registry", "files", "progress", "seeds"),
        *("machine", "fingerprint", "modelconfig", "records", "plots"),
    ),
    ("data",),
    ("models", "losses", "postprocess"),
    ("scoring",),
    ("inference",),
    ("training",),
    ("methods",),
    ("runs",),
    ("tables",),
    ("labels", "active", "reporting"),
    ("prediction", "teaching"),
    ("live",),
    ("service",),
    ("doctor",),
    ("cli",),
    ("__main__",),
)
GROUND = FLOORS[0]  # modules that may use each other
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def module_of(path, library):
    return ".".join(path.relative_to(library).with_suffix("").parts).removesuffix(".__init__")


def imports(library):
    """(importing module, line, imported module) of the whole library, by names below it."""
    modules = {module_of(path, library): path for path in sorted(library.rglob("*.py"))}
    for module, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(library.name):
                place = (node.module or "").removeprefix(library.name).lstrip(".")
                for alias in node.names:
                    below = f"{place}.{alias.name}".lstrip(".")
                    yield module, node.lineno, below if below in modules else place
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] == library.name:
                        yield module, node.lineno, alias.name.removeprefix(f"{library.name}.")


def upward(library):
    """Say which lines import from a higher floor, or from a room beside them."""
    found = []
    for module, line, imported in imports(library):
        here, there = module.split(".")[0], imported.split(".")[0]
        allowed = here == there or FLOOR[there] < FLOOR[here] or {here, there} <= set(GROUND)
        if here and there and not allowed:
            found.append(f"{module}, line {line}: imports {imported}, which stands above or beside")
    return found


def circle(library):
    """Return the modules of a circle of imports, or nothing."""
    graph: dict[str, set[str]] = {}
    for module, _, imported in imports(library):
        if imported != module:
            graph.setdefault(module, set()).add(imported)
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return error.args[1]
    return []


def test_every_module_has_its_floor():
    rooms = {module_of(path, LIBRARY).split(".")[0] for path in LIBRARY.rglob("*.py")} - {
        "__init__"
    }
    assert rooms == set(FLOOR)


def test_no_room_imports_from_a_higher_one():
    assert upward(LIBRARY) == []


def test_no_circle():
    assert circle(LIBRARY) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from cellcount_lib.runs.grid import project", "data.splits, line 2: imports runs.grid"),
        ("    from cellcount_lib import scoring", "data.splits, line 2: imports scoring"),
        ("import cellcount_lib.cli", "data.splits, line 2: imports cli"),
    ],
)
def test_the_check_names_the_line(line, said, tmp_path):
    library = tmp_path / LIBRARY.name
    for name in ("data/splits.py", "runs/grid.py", "scoring/__init__.py", "cli.py"):
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).touch()
    (library / "data" / "splits.py").write_text(
        f"if True:\n{line if line[0] == ' ' else '    ' + line}\n"
    )
    (found,) = upward(library)
    assert found.startswith(said)


def test_the_check_finds_a_circle(tmp_path):
    library = tmp_path / LIBRARY.name
    library.mkdir()
    (library / "files.py").write_text("def f():\n    from cellcount_lib import seeds\n")
    (library / "seeds.py").write_text("from cellcount_lib.files import f\n")
    assert set(circle(library)) == {"files", "seeds"}
