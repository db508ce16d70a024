"""Lines "Taught in: CHAPTER" of the library: the chapter is there, and names what says so.

Of a function or class its name; of a module its place or one of its public names.
"""

import ast
import json
import re
from pathlib import Path

import pytest

from cellcount_lib.fingerprint import LIBRARY
from cellcount_lib.runs.grid import project

LINE = re.compile(r"^\s*Taught in: (.*?)\.?$", re.MULTILINE)


def taught():
    """(module, names of which the chapter must use one, chapter), for every such docstring."""
    for path in sorted(LIBRARY.rglob("*.py")):
        module = ".".join(path.relative_to(LIBRARY).with_suffix("").parts)
        module = module.removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        public = [name for node in tree.body for name in defined(node) if name[0] != "_"]
        public.append(path.stem)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
                names = [getattr(node, "name", "")] if hasattr(node, "name") else public
                for chapters in LINE.findall(ast.get_docstring(node) or ""):
                    for chapter in chapters.split(", "):
                        yield module, tuple(names), chapter


def defined(node):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    return [target.id for target in targets if isinstance(target, ast.Name)]


def code_of(chapter: Path) -> str:
    cells = json.loads(chapter.read_text())["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


@pytest.mark.parametrize(("module", "names", "chapter"), sorted(set(taught())), ids=str)
def test_what_is_taught_is_in_its_chapter(module, names, chapter):
    path = project() / "chapters" / f"{chapter}.ipynb"
    assert path.exists(), f"{module}: there is no chapter {chapter}"
    code = code_of(path)
    used = [name for name in names if re.search(rf"\b{name}\b", code)]
    imported = re.search(rf"cellcount_lib\.{re.escape(module)}\b", code)
    assert used or (imported and len(names) != 1), f"{chapter} does not use {module}"


def test_lines_are_found():
    found = {(module, chapter) for module, _, chapter in taught()}
    assert ("training.weightmap", "04_ablations") in found
    assert len(found) > 25
