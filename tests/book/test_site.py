"""The rendered book in a real browser: built with warnings as errors, opened from disk, offline."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("intro", "simulator", "datasets", "models", "protocols", "predict", "results")


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Chromium: .ci/run installs it")
        pytest.skip("Chromium is not installed: the built pages are not opened in a browser")
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    from tools.book_pages import main

    book = tmp_path_factory.mktemp("site") / "book"
    shutil.copytree(ROOT / "book", book, ignore=shutil.ignore_patterns("_build", "_generated"))
    main(book)
    (book.parent / "results").symlink_to(ROOT / "results")
    program = str(Path(sys.executable).with_name("jupyter-book"))
    build = [program, "build", str(book), "-W", "--keep-going"]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return book / "_build" / "html"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def visit(browser, site: Path, name: str, width: int):
    """Open a page from disk; return it with the errors and outside requests it made."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    errors, outside = [], []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on(
        "request",
        lambda r: outside.append(r.url) if not r.url.startswith(("file:", "data:")) else None,
    )
    page.goto((site / f"{name}.html").as_uri(), wait_until="load")
    return page, errors, outside


@pytest.mark.parametrize("name", PAGES)
def test_page_opens_without_errors_and_without_the_network(browser, site, name):
    page, errors, outside = visit(browser, site, name, 1280)
    assert errors == []
    assert outside == []
    assert page.locator("article h1").count() == 1
    images = page.locator("article img").evaluate_all(
        "all => all.map(i => [i.alt, i.naturalWidth])"
    )
    assert all(alt.strip() and width > 0 for alt, width in images), images
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_page_fits_a_phone(browser, site, name):
    page, _, _ = visit(browser, site, name, 390)
    too_wide = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert too_wide <= 0, f"the page is {too_wide} px wider than the phone"
    page.close()


def test_tables_of_the_pages_are_those_of_the_library(browser, site):
    from cellcount_lib.data.manifest import names
    from cellcount_lib.losses import PRESETS
    from cellcount_lib.protocols import PROTOCOLS

    def first_column(name: str) -> list[str]:
        page, _, _ = visit(browser, site, name, 1280)
        cells = page.locator("article tbody tr td:first-child").all_inner_texts()
        page.close()
        return [c.strip() for c in cells]

    assert first_column("datasets") == list(names())
    page, _, _ = visit(browser, site, "protocols", 1280)
    headings = [h.strip("#") for h in page.locator("article h3").all_inner_texts()]
    page.close()
    assert headings == list(PROTOCOLS)
    assert first_column("models")[-len(PRESETS) :] == list(PRESETS)


def test_links_between_pages_resolve(site):
    import re

    for name in PAGES:
        text = (site / f"{name}.html").read_text()
        for target in re.findall(r'href="([^"#:?]+\.html)', text):
            assert (site / target).exists(), f"{name}.html links to {target}, which is not there"


def test_committed_tables_belong_to_the_simulator_that_is_committed():
    from cellcount_lib.data.simulator.calibration import source_hash

    head = (ROOT / "results" / "calibration.csv").read_text().splitlines()[0]
    assert source_hash() in head, "results/ is stale: run `make report`"
