"""List what has to be set before a release, in the places where it is set; nothing is left: 0.

    make release-check

The address of the repository stands in one place, ``[project.urls] Repository`` of pyproject.toml:
the pages, their footer and the links to Colab and Binder read it there.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"https://[\w.-]+/[\w.-]+/[\w.-]+")
DOI = re.compile(r"^doi: *[\"']?10\.\d{4,}/\S+", re.MULTILINE)


def left(root: Path = ROOT) -> list[str]:
    """Say of each thing that is not set what is expected, and where."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    citation = (root / "CITATION.cff").read_text()
    changes = (root / "CHANGELOG.md").read_text()
    address = project.get("urls", {}).get("Repository", "")
    found = []
    if not ADDRESS.fullmatch(address):
        found.append(
            "pyproject.toml: [project.urls] Repository: expected the address of the repository as "
            f"https://HOST/OWNER/NAME, found {address or 'nothing'}"
        )
    elif f'repository-code: "{address}"' not in citation:
        found.append(f'CITATION.cff: expected repository-code: "{address}"')
    if not DOI.search(citation):
        found.append("CITATION.cff: expected doi: of the archived release, found none")
    version = f"version: {project['version']}"
    if version not in citation.splitlines():
        found.append(f"CITATION.cff: expected {version}, as in pyproject.toml")
    if f"## {project['version']}" not in changes:
        found.append(f"CHANGELOG.md: expected a section ## {project['version']}, found none")
    if not project.get("urls", {}).get("Package"):
        found.append(
            f"pyproject.toml: [project.urls] Package: expected the page of {project['name']} on "
            "the package index, which shows that the name is this project's; found nothing"
        )
    return found


if __name__ == "__main__":
    missing = left()
    print("\n".join(missing) or "everything is set")
    sys.exit(1 if missing else 0)
