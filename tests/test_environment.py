"""pyproject.toml is the one list of dependencies; everything else defers to it."""

import importlib.metadata
import json
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        canonicalize_name(r.name): Version(next(iter(r.specifier)).version) for r in requirements
    }


def declared() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    all_ = [Requirement(line) for lines in (PROJECT["dependencies"], *extras) for line in lines]
    return [r for r in all_ if r.name != PROJECT["name"]]  # an extra that includes another


@pytest.mark.parametrize("requirement", declared(), ids=lambda r: r.name)
def test_every_dependency_is_pinned_within_its_bounds(requirement):
    pinned = pins()
    name = canonicalize_name(requirement.name)
    assert name in pinned, f"{name} is in pyproject.toml but not in constraints.txt"
    assert requirement.specifier.contains(pinned[name]), f"{name}=={pinned[name]} is out of bounds"


def test_torch_and_torchvision_are_the_pair_that_imports_together():
    pinned = pins()
    assert (str(pinned["torch"]), str(pinned["torchvision"])) == ("2.14.1", "0.29.2")
    # torchvision states the one torch that it was built for
    needs = [Requirement(r) for r in importlib.metadata.requires("torchvision") or []]
    built_for = next(r for r in needs if r.name == "torch")
    assert built_for.specifier.contains(importlib.metadata.version("torch"))


def test_conda_environment_defers_to_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert [line.split("=")[0] for line in conda] == ["python", "pip", "make"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[book,dev,hpc]"]}
    python = Requirement("python" + conda[0].removeprefix("python").replace("=", "==") + ".*")
    lowest = Version(PROJECT["requires-python"].removeprefix(">="))
    assert python.specifier.contains(lowest), "the conda Python is not the reference Python"


@pytest.mark.parametrize("installed", [True, False])
def test_set_up_cell_installs_the_project_only_where_it_is_missing(monkeypatch, capsys, installed):
    calls = []
    found = object() if installed else None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    monkeypatch.setattr(subprocess, "run", lambda command, **kw: calls.append((command, kw)))
    runpy.run_path(str(ROOT / "chapters" / "setup_cell.py"))
    if installed:
        assert calls == []
    else:
        command, options = calls[0]
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
        assert command[-1] == f"{PROJECT['name']}[train]"
        assert options == {"check": True}
        assert "minute" in capsys.readouterr().out


def test_readme_names_only_targets_and_commands_that_exist():
    from cellcount_lib.cli import app

    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    code = " ".join(re.findall(r"```.*?```|`[^`]+`", readme, re.S))
    named = set(re.findall(r"\bmake ([a-z]+)\b", code))
    assert named, "README names no make target"
    assert named <= targets, f"README names unknown make targets: {named - targets}"
    commands = {c.name or c.callback.__name__ for c in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}
    used = set(re.findall(r"\bcellcount ([a-z]+)\b", readme))
    assert used, "README names no cellcount command"
    assert used <= commands, f"README names unknown commands: {used - commands}"


def test_the_python_example_of_the_readme_runs(capsys):
    readme = (ROOT / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    exec(compile(example, "README.md", "exec"), {})
    scores = eval(capsys.readouterr().out)
    assert scores["n_images"] == 5
    assert 0 < scores["f1"] < 1


def test_version_is_the_same_everywhere():
    import cellcount_lib

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cellcount_lib.__version__ == PROJECT["version"] == citation["version"]
    assert PROJECT["license"] == citation["license"] == "Apache-2.0"


def test_the_card_for_machines_says_what_the_project_and_the_citation_say():
    card = json.loads((ROOT / "codemeta.json").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    for name in ("version", "description", "keywords"):
        assert card[name] == PROJECT[name]
    assert card["identifier"] == PROJECT["name"]
    assert card["license"] == f"https://spdx.org/licenses/{PROJECT['license']}"
    assert card["programmingLanguage"]["version"] == PROJECT["requires-python"]
    assert [author["name"] for author in card["author"]] == [a["name"] for a in PROJECT["authors"]]
    assert citation["title"].startswith(f"{card['name']}: ")
    published = [paper["name"] for paper in card["referencePublication"]]
    assert published == [paper["title"] for paper in citation["references"]]
