"""The book as one PDF: Sphinx puts all chapters on one page, Chromium prints it.

python -m tools.pdf         book/_build/html/the-cell-counting-book.pdf

It has contents with page numbers, bookmarks and links. The first page of the built book links it
from then on.
"""

import io
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pypdf import PdfReader, PdfWriter

from cellcount_lib.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / "book" / "_build"
NAME = "the-cell-counting-book.pdf"
PLACE = '<p class="cellcount-pdf" hidden></p>'  # in book/intro.md
LINK = f'<p>The whole book is also <a href="{NAME}">one PDF</a>, to print or to keep.</p>'
# What answers to a click on a page is opened or left out on paper.
PAPER = """
  for (const box of document.querySelectorAll("details")) box.open = true;
  for (const reply of document.querySelectorAll(".reply[data-right=true]")) reply.style.display = "block";
  for (const control of document.querySelectorAll("input[type=range]")) control.remove();
"""  # noqa: E501
# Behind every line of the contents the number of its page, or three digits while it is not known.
NUMBERED = """(pages) => {
  for (const link of document.querySelectorAll("#jb-print-toc a[href^='#']")) {
    const number = link.querySelector(".page") ?? link.appendChild(document.createElement("span"));
    number.className = "page";
    number.textContent = pages[link.getAttribute("href")] ?? "000";
    number.style.cssText = "float: right; color: black";
  }
}"""
TITLES = """() => [...document.querySelectorAll("#jb-print-toc a[href^='#']")]
  .map((link) => [link.firstChild.textContent, link.getAttribute("href")])"""
FOOTER = '<div style="font-size: 8px; text-align: center; width: 100%"><span class="pageNumber"></span></div>'  # noqa: E501


def main() -> None:
    program = str(Path(sys.executable).with_name("jupyter-book"))
    build = [program, "build", str(ROOT / "book"), "--builder", "singlehtml", "-q"]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    page, site = BUILT / "singlehtml" / "intro.html", BUILT / "html"
    for expected in (page, site / "intro.html"):
        if not expected.exists():
            sys.exit(f"{expected}: expected the built book, found nothing there; run `make book`")
    out = site / NAME
    print_page(page, out, contents=True)
    link_from(site / "intro.html")
    print(f"{out.relative_to(ROOT)}: {out.stat().st_size / 1e6:.1f} MB")


def link_from(page: Path) -> None:
    """Fill the place for a link to the PDF, which is empty while there is none."""
    write_whole(page, page.read_text().replace(PLACE, LINK))


def print_page(page: Path, out: Path, *, contents: bool = False) -> None:
    """Print a page with the Chromium of this machine, or Playwright's own."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        view = browser.new_page()
        view.goto(page.as_uri(), wait_until="load")
        view.wait_for_function("!window.MathJax || MathJax.startup?.promise")
        view.evaluate(PAPER)

        def printed() -> bytes:
            return view.pdf(
                format="A4",
                margin={"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"},
                print_background=True,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=FOOTER,
            )

        if contents:
            view.evaluate(NUMBERED, {})
            pages = targets(printed())
            view.evaluate(NUMBERED, pages)
            titles = view.evaluate(TITLES)
            out.write_bytes(bookmarked(printed(), {title: pages[at] for title, at in titles}))
        else:
            out.write_bytes(printed())
        browser.close()


def targets(pdf: bytes) -> dict[str, int]:
    """Return the page, from 1, of everything that a link within the PDF can lead to."""
    reader = PdfReader(io.BytesIO(pdf))
    pages = {
        f"#{name.removeprefix('/')}": reader.get_destination_page_number(place)
        for name, place in reader.named_destinations.items()
    }
    return {name: page + 1 for name, page in pages.items() if page is not None}


def bookmarked(pdf: bytes, titles: Mapping[str, int]) -> bytes:
    """Return the PDF with a bookmark for every title; Chromium's own would double its size."""
    writer, out = PdfWriter(clone_from=io.BytesIO(pdf)), io.BytesIO()
    for title, page in titles.items():
        writer.add_outline_item(title, page - 1)
    writer.write(out)
    return out.getvalue()


if __name__ == "__main__":
    main()
