"""Fingerprints: which definitions a number depends on, read from the syntax tree.

A number depends on the functions, classes and constants that its entry point can reach through the
names they use, wherever those are defined. Each is hashed without what decides nothing: docstrings,
comments, annotations, import lines, the words of errors. So a module can move, a file be renamed
and a message be mended, and no number becomes stale; an edit of one method makes the rows of that
method stale and no other.

Of a registry (`registry.Registry`) that a run chooses from by name, only the chosen entries count:
a new recipe beside the old ones changes nothing. Modules of `SILENT` decide no number.
"""

import ast
import hashlib
import json
import symtable
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from cellcount_lib.errors import DataError

LIBRARY = Path(__file__).resolve().parent
SILENT = frozenset(
    {
        "errors",
        "files",
        "registry",
        "machine",
        "fingerprint",
        "code",
        "cache",
        "progress",
        "plots",
        "records",
    }
)
Chosen = Mapping[str, Collection[str]]
"""Names that a run asks for, by the kind of their registry."""


def digest(value: Any, *, digits: int = 16) -> str:
    """Return the first hex digits of the SHA-256 of a JSON value, whatever the order of its keys.

    Examples
    --------
    >>> digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def source_hash(source: str) -> str:
    """Hash what Python code does.

    Examples
    --------
    >>> source_hash("x: int = 1  # one") == source_hash('"Say what."\\nimport os\\nx = (1)')
    True
    >>> source_hash("x = 1") == source_hash("x = 2")
    False
    """
    return _hash(_left(ast.parse(source).body))


def closure(
    entries: Iterable[str], chosen: Chosen | None = None, *, library: Path = LIBRARY
) -> dict[str, str]:
    """Return a hash for every definition that the entries can reach, by its name.

    The entries are names of definitions, each the only one of its name in the library. Of
    registries whose kind is in `chosen` only the named entries count; of all others, every entry.
    The result does not say where a definition stands; those of one name share a hash.
    """
    known = _opened(library)
    return known.reach([known.only(name) for name in entries], chosen or {})


def closure_of_source(
    source: str, *, silent: Collection[str] = SILENT, library: Path = LIBRARY
) -> dict[str, str]:
    """Return the hashes of the definitions that code outside of the library reaches."""
    known = _opened(library)
    outside = _Module("", ast.parse(source), known.name)
    places = {
        place
        for node in outside.tree.body
        for place in known.used(outside, _Definition("", (node,), outside))
    }
    return known.reach(places, {}, silent)


def _opened(library: Path) -> "_Library":
    """Open a library; once, as long as no file of it is written."""
    return _as_of(library, max(path.stat().st_mtime_ns for path in library.rglob("*.py")))


@lru_cache(maxsize=4)
def _as_of(library: Path, written: int) -> "_Library":
    return _Library(library)


Place = tuple[str, str]
"""Module and name of a definition; of an entry of a registry, the name is "REGISTRY[key]"."""


@dataclass(eq=False)
class _Definition:
    """Statements that define one name."""

    name: str
    nodes: tuple[ast.AST, ...]
    module: "_Module"
    kind: str = ""  # of a registry
    entries: Mapping[str, ast.AST] = field(default_factory=dict)  # of a registry

    @cached_property
    def left(self) -> list[ast.AST]:
        """What decides something."""
        return _left(self.nodes)

    @cached_property
    def hash(self) -> str:
        return _hash(self.left)

    @cached_property
    def names(self) -> frozenset[str]:
        """Names that are looked up outside of the definition."""
        return frozenset(name for node in self.left for name in _free_names(node))

    @cached_property
    def imports(self) -> dict[str, Place]:
        """What the definition itself imports."""
        return {k: v for node in self.nodes for k, v in _imports(node, self.module.package)}


class _Module:
    """A parsed file: its definitions and its imports."""

    def __init__(self, name: str, tree: ast.Module, package: str) -> None:
        self.name, self.tree, self.package = name, tree, package
        self.imports: dict[str, Place] = {}
        self.defined: dict[str, list[ast.AST]] = {}
        self.body: list[ast.AST] = []  # statements that do something when the module is imported
        self._walk(tree.body)

    def _walk(self, statements: Iterable[ast.stmt]) -> None:
        for node in statements:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imports |= dict(_imports(node, self.package))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.defined.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in (n for t in targets for n in ast.walk(t)):
                    if isinstance(target, ast.Name):
                        self.defined.setdefault(target.id, []).append(node)
            elif isinstance(node, ast.With | ast.Try):
                self._walk(node.body)
            elif not _is_text(node) and not _for_type_checker(node):
                self.body.append(node)

    @cached_property
    def definitions(self) -> dict[str, _Definition]:
        definitions = {}
        for name, nodes in self.defined.items():
            if name == "__all__":
                continue
            kind, entries = _registry(nodes[0])
            definitions[name] = _Definition(name, tuple(nodes), self, kind, entries)
            for key, value in entries.items():
                definitions[f"{name}[{key}]"] = _Definition(f"{kind} {key}", (value,), self)
        if self.body:
            definitions["(body)"] = _Definition("(body)", tuple(self.body), self)
        return definitions


@cache
def _parsed(name: str, text: str, package: str) -> _Module:
    return _Module(name, ast.parse(text), package)


class _Library:
    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        self.files = {
            ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): path
            for path in sorted(folder.rglob("*.py"))
        }
        self._modules: dict[str, _Module] = {}
        self._used: dict[Place, tuple[Place, ...]] = {}

    def module(self, name: str) -> _Module:
        if name not in self._modules:
            self._modules[name] = _parsed(name, self.files[name].read_text(), self.name)
        return self._modules[name]

    def only(self, name: str) -> Place:
        """Return the place of the one definition of this name."""
        modules = [module for module in self.files if name in self.module(module).defined]
        if len(modules) != 1:
            where = ", ".join(modules) or "none"
            raise DataError(f"fingerprint: expected one definition of {name}, found {where}")
        return modules[0], name

    def reach(
        self, places: Iterable[Place], chosen: Chosen, silent: Collection[str] = SILENT
    ) -> dict[str, str]:
        waiting, seen = list(places), set()
        hashes: dict[str, set[str]] = {}
        while waiting:
            place = waiting.pop()
            if place in seen or place[0].split(".")[-1] in silent:
                continue
            seen.add(place)
            module = self.module(place[0])
            definition = module.definitions[place[1]]
            waiting += [(place[0], "(body)")] if module.body else []
            if definition.kind:
                names = chosen.get(definition.kind, definition.entries)
                keys = [key for key in definition.entries if key in names]
                waiting += [(place[0], f"{place[1]}[{key}]") for key in keys]
                continue
            hashes.setdefault(definition.name, set()).add(definition.hash)
            if place not in self._used:
                self._used[place] = tuple(self.used(module, definition))
            waiting += self._used[place]
        return {
            name: of_name.pop() if len(of_name) == 1 else digest(sorted(of_name), digits=8)
            for name, of_name in sorted(hashes.items())
        }

    def used(self, module: _Module, definition: _Definition) -> Iterator[Place]:
        """Give the places in the library of all that a definition names."""
        for name in definition.names:
            if name in definition.imports:
                place = definition.imports[name]
            elif name in module.defined and module.name:
                place = (module.name, name)
            elif name in module.imports:
                place = module.imports[name]
            else:
                continue
            yield from self._resolved(place, name, definition)

    def _resolved(self, place: Place, name: str, definition: _Definition) -> Iterator[Place]:
        """Follow a name to where it is defined; of a module, to the attributes that are used."""
        whole = ".".join(filter(None, place))
        inside = self.module(place[0]).defined if place[0] in self.files else ()
        if whole in self.files and place[1] not in inside:
            of_module = [n for node in definition.nodes for n in _attributes(node, name)]
            for attribute in of_module or list(self.module(whole).defined):
                yield from self._resolved((whole, attribute), attribute, definition)
            return
        if place[0] not in self.files:
            return  # of another package
        module = self.module(place[0])
        if place[1] in module.definitions:
            entries = module.definitions[place[1]].entries
            keys = {k for n in definition.nodes for k in _subscripts(n, name)} if entries else set()
            if keys and keys <= set(entries):
                yield from ((place[0], f"{place[1]}[{key}]") for key in keys)
            else:
                yield place
        elif place[1] in module.imports:
            yield from self._resolved(module.imports[place[1]], name, definition)


def _imports(node: ast.AST, package: str) -> Iterator[tuple[str, Place]]:
    """Give local names of the library's imports anywhere in a node, and what they stand for."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.ImportFrom) and inner.module and inner.level == 0:
            head, _, below = inner.module.partition(".")
            if head == package:
                yield from ((a.asname or a.name, (below, a.name)) for a in inner.names)


def _registry(node: ast.AST) -> tuple[str, dict[str, ast.AST]]:
    """Return the kind and the entries of ``NAME = Registry("kind", {...})``; else nothing."""
    call = getattr(node, "value", None)
    if not (isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Registry"):
        return "", {}
    kind, entries = call.args
    if not (isinstance(kind, ast.Constant) and isinstance(entries, ast.Dict)):
        raise DataError(
            f"line {call.lineno}: expected a registry of literals, Registry(kind, {{}})"
        )
    by_name = {}
    for key, value in zip(entries.keys, entries.values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            raise DataError(f"line {value.lineno}: expected a name in quotes as key of a registry")
        by_name[key.value] = value
    return str(kind.value), dict[str, ast.AST](by_name)


def _attributes(node: ast.AST, name: str) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and getattr(inner.value, "id", None) == name:
            yield inner.attr


def _subscripts(node: ast.AST, name: str) -> Iterator[str]:
    """Give the literal keys by which a registry is asked, or "" where it is used in another way."""
    asked = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Subscript) and getattr(inner.value, "id", None) == name:
            asked.add(id(inner.value))
            yield str(inner.slice.value) if isinstance(inner.slice, ast.Constant) else ""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and inner.id == name and id(inner) not in asked:
            yield ""


def _free_names(left: ast.AST) -> Iterator[str]:
    """Give the names that a definition looks up in its module, by Python's own rules of scope."""
    statement = left if isinstance(left, ast.stmt) else ast.Expr(left)  # type: ignore[arg-type]
    source = ast.unparse(ast.fix_missing_locations(statement))
    waiting = [symtable.symtable(source, "definition", "exec")]
    top = waiting[0]
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_global() or (table is top and symbol.is_referenced()):
                yield symbol.get_name()


def _left(nodes: Iterable[ast.AST]) -> list[ast.AST]:
    """Return copies of syntax trees without what decides nothing, where anything is left."""
    return [left for node in nodes if (left := _Stripper().visit(_copied(node))) is not None]


def _copied(node: Any) -> Any:
    if isinstance(node, ast.AST):
        return type(node)(**{name: _copied(value) for name, value in ast.iter_fields(node)})
    return [_copied(part) for part in node] if isinstance(node, list) else node


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _for_type_checker(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


class _Stripper(ast.NodeTransformer):
    """Remove docstrings, annotations, imports, and the words of errors."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if _is_text(node) else self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if _for_type_checker(node) else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is None:  # a field of a class: its name counts
            return ast.Expr(ast.Constant(f"field {ast.unparse(node.target)}"))
        return ast.Assign([node.target], node.value)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(error, None)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return self.generic_visit(ast.Assert(node.test, None))


def _hash(left: Iterable[ast.AST]) -> str:
    text = "\n".join(ast.dump(node) for node in left)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
