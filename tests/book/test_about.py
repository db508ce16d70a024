"""The foot of a page and its buttons, before and after the address of the repository is set."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.release_check import left

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "https://github.com/owner/cells"
CONF = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
extensions = ["myst_nb", "about"]
html_theme = "sphinx_book_theme"
nb_execution_mode = "off"
project_root = "project"
"""
CELL = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": "1"}
TITLE = {"cell_type": "markdown", "metadata": {}, "source": "# A chapter"}


@pytest.fixture
def book(tmp_path):
    """A book of two pages, one of them a chapter, beside a project without any address."""
    (tmp_path / "chapters").mkdir()
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}}
    notebook = {"cells": [TITLE, CELL], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "chapters" / "01_a.ipynb").write_text(json.dumps(notebook))
    (tmp_path / "credits.md").write_text("# Credits\n")
    (tmp_path / "index.md").write_text("# Index\n\n```{toctree}\nchapters/01_a\ncredits\n```\n")
    (tmp_path / "conf.py").write_text(CONF)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").write_text('[project]\nname="a"\nversion="1.2.3"\n')
    return tmp_path


def build(book: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-d", "trees", ".", "html"]
    done = subprocess.run(command, cwd=book, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def shown(book: Path, name: str) -> tuple[str, list[str]]:
    """The footer of a page, and all addresses on it that lead away."""
    text = (book / "html" / f"{name}.html").read_text()
    footer = re.search(r'<div class="extra_footer">(.*?)</div>', text, re.DOTALL)
    return footer[1], re.findall(r'href="(https://[^"]+)"', text)


def test_without_an_address_a_page_leads_nowhere_and_with_one_it_can_be_run(book):
    build(book)
    footer, away = shown(book, "chapters/01_a")
    assert "Version 1.2.3" in footer
    assert '<a href="../credits.html">How to cite</a>' in footer
    assert "Report" not in footer
    assert not [place for place in away if "binder" in place or "colab" in place]
    with (book / "project" / "pyproject.toml").open("a") as file:
        file.write(f'urls = {{ Repository = "{ADDRESS}" }}\n')
    build(book)
    footer, away = shown(book, "chapters/01_a")
    assert f'<a href="{ADDRESS}">Source</a>' in footer
    report = f"{ADDRESS}/issues/new?template=page.md&amp;title=chapters/01_a"
    assert f'<a href="{report}">' in footer
    assert (ROOT / ".github" / "ISSUE_TEMPLATE" / "page.md").exists()
    (binder,) = [place for place in away if "mybinder.org" in place]
    assert binder.endswith("chapters/01_a.ipynb")
    assert "owner/cells" in binder
    footer, _ = shown(book, "index")
    assert '<a href="credits.html">How to cite</a>' in footer


def test_a_release_is_ready_when_everything_is_set_and_says_what_is_not(tmp_path):
    project = '[project]\nname = "a"\nversion = "1.0"\n'
    citation, changes = "version: 1.0\n", "# Changelog\n\n## 1.0\n"

    def missing(project=project, citation=citation, changes=changes):
        files = {"pyproject.toml": project, "CITATION.cff": citation, "CHANGELOG.md": changes}
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        return left(tmp_path)

    asked = ("Repository: expected", "doi: of the archived release", "Package: expected")
    found = missing()
    assert len(found) == len(asked)
    for words in asked:
        assert sum(words in line for line in found) == 1
    project += f'[project.urls]\nRepository = "{ADDRESS}"\nPackage = "https://example.org/a"\n'
    citation += f'doi: 10.5281/zenodo.1\nrepository-code: "{ADDRESS}"\n'
    assert missing(project, citation) == []
    assert "as https://HOST/OWNER/NAME" in missing(project.replace("/owner", ""), citation)[0]
    assert missing(project, citation.replace("cells", "other")) == [
        f'CITATION.cff: expected repository-code: "{ADDRESS}"'
    ]
    assert "expected version: 1.0" in missing(project, citation.replace("1.0", "1.1", 1))[0]
    assert "section ## 1.0" in missing(project, citation, "# Changelog\n")[0]


def test_the_project_itself_says_what_is_left(capsys):
    done = subprocess.run(
        [sys.executable, "tools/release_check.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == bool(left())
    assert done.stdout.splitlines() == (left() or ["everything is set"])
