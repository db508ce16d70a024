"""What puts the service on a server: the unit and the Containerfile say what this project has."""

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from cellcount_lib.cli import app

ROOT = Path(__file__).resolve().parents[2]
UNIT, CONTAINER = ROOT / "deploy" / "cellcount.service", ROOT / "deploy" / "Containerfile"


def options(arguments):
    """How the command line reads `cellcount` with arguments; what it does not know is an error."""
    name, *rest = arguments
    command = typer.main.get_command(app).commands[name]
    return command.make_context(name, rest).params


def test_the_unit_starts_the_service_in_its_own_folder():
    unit = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    unit.optionxform = str
    unit.read_string(UNIT.read_text())  # a name that stands twice raises
    service = unit["Service"]
    program, *arguments = service["ExecStart"].split()
    assert program.endswith("/bin/cellcount")
    asked = options(arguments)
    assert asked["root"].is_relative_to(f"/var/lib/{service['StateDirectory']}")
    assert asked["behind_proxy"]
    assert asked["host"] == "127.0.0.1"


def test_systemd_understands_the_unit(tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed here")
    text = re.sub(r"(?<=^ExecStart=)\S+", sys.executable, UNIT.read_text(), flags=re.MULTILINE)
    (tmp_path / UNIT.name).write_text(text)
    done = subprocess.run(
        [program, "verify", str(tmp_path / UNIT.name)], capture_output=True, text=True
    )
    about_it = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, about_it) == (0, [])


def test_the_container_is_built_of_what_is_here_and_starts_the_service():
    text = CONTAINER.read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and line[0] != "#"]
    assert [word for word, _ in lines] == [
        *("FROM", "COPY", "COPY", "COPY", "RUN", "USER", "VOLUME", "STOPSIGNAL", "ENTRYPOINT")
    ]
    copied = [name for word, rest in lines if word == "COPY" for name in rest.split()[:-1]]
    for name in copied:
        assert (ROOT / name).exists(), name
    assert {"pyproject.toml", "cellcount_lib", "README.md", "LICENSE"} <= {*copied}
    found = dict(lines)
    program, *arguments = json.loads(found["ENTRYPOINT"])
    assert program == "cellcount"
    assert options(arguments)["root"].is_relative_to(found["VOLUME"])
    assert f"--home-dir {found['VOLUME']} {found['USER']}" in found["RUN"]
