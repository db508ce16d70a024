"""What a page says of the whole: version, date, commit, how to cite; and where to report or run it.

The address of the repository stands in one place, pyproject.toml. While it is not set there, the
links that need it are left out (``make release-check``).
"""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = {"binderhub_url": "https://mybinder.org", "colab_url": "https://colab.research.google.com"}


def project(root: Path) -> dict[str, Any]:
    """Return the project's table of ``pyproject.toml``: name, version, addresses."""
    made: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return made


def commit(root: Path) -> str:
    """Return when and from which commit this is, if that is known: ``2026-11-28, 1a2b3c4``."""
    command = ["git", "-C", str(root), "log", "-1", "--format=%cs, %h"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def ask(app: Any, config: Any) -> None:
    """Ask for the state once, and give the theme the address for its buttons."""
    root = Path(config.project_root)
    about, state = project(root), commit(root)
    app.about = {
        "state": "; ".join(filter(None, [f"Version {about['version']}", state])),
        "address": about.get("urls", {}).get("Repository", ""),
    }
    if app.about["address"]:
        # the pages of chapters lie in the book where the notebooks lie in the repository
        config.html_theme_options |= {
            "repository_url": app.about["address"],
            "path_to_docs": "",
            "launch_buttons": LAUNCH,
        }


def add(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Put the footer on a page."""
    address = app.about["address"]
    parts = [
        app.about["state"],
        f'<a href="{"../" * page.count("/")}credits.html">How to cite</a>',
    ]
    if address:
        report = f"{address}/issues/new?template=page.md&amp;title={page}"
        parts += [
            f'<a href="{address}">Source</a>',
            f'<a href="{report}">Report a mistake on this page</a>',
        ]
    context["theme_extra_footer"] = f"<p>{' · '.join(parts)}</p>"


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_config_value("project_root", str(ROOT), "html")
    app.connect("config-inited", ask)
    app.connect("html-page-context", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
