"""The footer of every page: what was built, from which state, and how to cite it."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def project() -> dict[str, Any]:
    """Return the project's table of ``pyproject.toml``: name, version, addresses."""
    made: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return made


def commit(root: Path = ROOT) -> str:
    """Return when and from which commit this is, if that is known: ``2026-11-28, 1a2b3c4``."""
    command = ["git", "-C", str(root), "log", "-1", "--format=%cs, %h"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def footer() -> str:
    """Return the words below a page; the address and a way to report appear once they are set."""
    about = project()
    words = [f"Version {about['version']}", *filter(None, [commit()])]
    parts = [
        "; ".join(words),
        '<a href="{root}credits.html">How to cite</a>',
    ]
    if address := about.get("urls", {}).get("Repository"):
        parts += [
            f'<a href="{address}">Source</a>',
            f'<a href="{address}/issues/new?template=page.md&amp;title={{page}}">Report a mistake on '
            "this page</a>",
        ]
    return " · ".join(parts)


def add(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Put the footer on a page."""
    context["theme_extra_footer"] = (
        f"<p>{app.cellcount_footer.format(root='../' * page.count('/'), page=page)}</p>"
    )


def prepare(app: Any) -> None:
    """Ask for the state once."""
    app.cellcount_footer = footer()


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", prepare)
    app.connect("html-page-context", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
