"""The book as one PDF: Sphinx puts all chapters on one page, Chromium prints it.

python tools/pdf.py         book/_build/the-cell-counting-book.pdf
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "book" / "_build" / "the-cell-counting-book.pdf"
# What answers to a click on a page is opened or left out on paper.
PAPER = """
  for (const box of document.querySelectorAll("details")) box.open = true;
  for (const reply of document.querySelectorAll(".reply[data-right=true]")) reply.style.display = "block";
  for (const control of document.querySelectorAll("input[type=range]")) control.remove();
"""  # noqa: E501


def main() -> None:
    program = str(Path(sys.executable).with_name("jupyter-book"))
    build = [program, "build", str(ROOT / "book"), "--builder", "singlehtml", "-q"]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    page = ROOT / "book" / "_build" / "singlehtml" / "intro.html"
    if not page.exists():
        sys.exit(f"{page}: expected the book on one page, found nothing there")
    print_page(page, OUT)
    print(f"{OUT.relative_to(ROOT)}: {OUT.stat().st_size / 1e6:.1f} MB")


def print_page(page: Path, out: Path) -> None:
    """Print a page with the Chromium of this machine, or Playwright's own."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        view = browser.new_page()
        view.goto(page.as_uri(), wait_until="load")
        view.wait_for_function("!window.MathJax || MathJax.startup?.promise")
        view.evaluate(PAPER)
        margin = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
        view.pdf(path=str(out), format="A4", margin=margin, print_background=True)
        browser.close()


if __name__ == "__main__":
    main()
