"""The rendered book in a real browser: built with warnings as errors, opened from disk, offline."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.browser import chromium

ROOT = Path(__file__).resolve().parents[2]


def pages() -> list[str]:
    """Every page of the table of contents."""
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    return [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]


PAGES = pages()
INSIDE = ("file:", "data:", "blob:")  # where a page may take something from
CHAPTERS = [name for name in PAGES if name.startswith("chapters/")]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The book built from the committed chapters with the outputs they were committed with."""
    from tools.book_pages import main

    book = tmp_path_factory.mktemp("site") / "book"
    left_out = shutil.ignore_patterns("_build", "_generated", "chapters")
    shutil.copytree(ROOT / "book", book, ignore=left_out)
    (book / "chapters").mkdir()
    for path in (ROOT / "chapters").glob("[0-9][0-9]_*.ipynb"):
        shutil.copy(path, book / "chapters")
    for beside in ("results", "pyproject.toml"):
        (book.parent / beside).symlink_to(ROOT / beside)
    main(book)
    program = str(Path(sys.executable).with_name("jupyter-book"))
    build = [program, "build", str(book), "-W", "--keep-going"]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return book / "_build" / "html"


@pytest.fixture
def visit(browser, site):
    """Open pages from disk; whatever goes wrong on them, or leaves them, fails the test."""
    opened, errors, outside = [], [], []

    def open_page(name: str, *, width: int = 1280, **context):
        page = browser.new_page(viewport={"width": width, "height": 900}, **context)
        opened.append(page)
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on(
            "request",
            lambda r: outside.append(r.url) if not r.url.startswith(INSIDE) else None,
        )
        page.goto((site / f"{name}.html").as_uri(), wait_until="load")
        return page

    yield open_page
    for page in opened:
        page.close()
    assert errors == []
    assert outside == []


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_and_fits_a_phone(visit, name):
    page = visit(name)
    assert page.locator("article h1").count() == 1
    images = page.locator("article img").evaluate_all(
        "all => all.map(i => [i.alt, i.naturalWidth])"
    )
    assert all(alt.strip() and width > 0 for alt, width in images), images
    raw = page.locator("article").inner_text()
    for left_over in ("{cite}", "{term}", "$$", "\\text{", "READING"):
        assert left_over not in raw
    fits_a_phone(page)


def fits_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 900})
    too_wide = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert too_wide <= 0, f"the page is {too_wide} px wider than the phone"
    cut = page.locator("article table").evaluate_all(
        """all => all.filter(table => {
            if (table.getBoundingClientRect().right <= innerWidth) return false;
            const scrolls = box => ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
            return !scrolls(table) && !scrolls(table.parentElement);
        }).length"""
    )
    assert cut == 0, f"{cut} tables are cut off"


# what the theme decides are colours; a list of what is right takes as long as finding it
RULES = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
ONLY_WRONG = {"preload": False, "resultTypes": ["violations"]}


@pytest.mark.parametrize("theme", RULES)
@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible(visit, name, theme):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(name, color_scheme=theme)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    options = ONLY_WRONG | RULES[theme]
    found = Axe().run(page, context="main", options=options).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    said = [f"{v['id']}: {v['nodes'][0]['html'][:200]} ({len(v['nodes'])})" for v in serious]
    assert said == []


def test_formulas_are_typeset(visit):
    page = visit("notation")
    page.wait_for_selector("mjx-container")
    assert page.locator("mjx-container").count() > 10
    assert page.locator("mjx-merror").count() == 0
    assert "mathjax" in page.locator("script[src*=mathjax]").get_attribute("src")


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_quiz_replies_to_the_keyboard(visit, name):
    page = visit(name)
    fields = page.locator(".cellcount-quiz fieldset")
    assert 3 <= fields.count() <= 5
    for n in range(fields.count()):
        field = fields.nth(n)
        assert field.locator(".reply:visible").count() == 0
        field.locator("input").first.focus()
        page.keyboard.press("Space")
        assert field.locator(".reply:visible").count() == 1
        replies = {field.locator(".reply:visible").inner_text()}
        for _ in range(field.locator("input").count() - 1):
            page.keyboard.press("ArrowDown")
            assert field.locator(".reply:visible").count() == 1
            replies.add(field.locator(".reply:visible").inner_text())
        assert len([r for r in replies if r.startswith("Right.")]) == 1
        assert len(replies) == field.locator("input").count()


@pytest.mark.parametrize("name", ["chapters/04_ablations", "chapters/06_threshold_and_ruler"])
def test_a_slider_moves_by_keyboard_and_says_where_it_is(visit, name):
    page = visit(name)
    box = page.locator(".cellcount-slider").first
    picture = box.locator("img:visible")
    assert picture.count() == 1
    seen = {picture.get_attribute("alt")}
    said = {box.locator("output").inner_text()}
    handle = box.locator("input[type=range]")
    handle.focus()
    last = int(handle.get_attribute("max"))
    for key in ["Home", *["ArrowRight"] * last]:
        page.keyboard.press(key)
        assert box.locator("img:visible").count() == 1
        seen.add(box.locator("img:visible").get_attribute("alt"))
        said.add(box.locator("output").inner_text())
        assert handle.get_attribute("aria-valuetext") == box.locator("output").inner_text()
    assert len(seen) == len(said) == last + 1


@pytest.mark.parametrize("name", CHAPTERS)
def test_solutions_are_folded_away_and_open(visit, name):
    page = visit(name)
    folded = page.locator("details", has_text="Show the solution")
    solutions = (ROOT / f"{name}.ipynb").read_text().count('"solution"')
    assert folded.count() == solutions >= 3
    inside = folded.first.locator(".highlight")
    assert not inside.first.is_visible()
    folded.first.locator("summary").click()
    assert inside.first.is_visible()


CHAPTER_6 = "chapters/06_threshold_and_ruler"


@pytest.mark.parametrize(
    ("name", "theme", "width"),
    [("count", "light", 1280), ("count", "dark", 390), (CHAPTER_6, "dark", 390)],
)
def test_the_page_that_counts_shows_its_example_to_everybody(visit, name, theme, width):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(name, width=width, color_scheme=theme)
    page.get_by_role("button", name="Example: nuclei").click()
    page.wait_for_selector(".cellcount-count .count strong", timeout=120_000)
    assert "the simulator drew" in page.locator(".cellcount-count .count").inner_text()
    found = Axe().run(page, context="main", options=ONLY_WRONG).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_chapter_2_looks_into_a_network_and_keeps_the_picture_in_sight(visit):
    from axe_playwright_python.sync_playwright import Axe

    page = visit("chapters/02_architectures", width=390, color_scheme="dark")
    section = page.locator("#what-the-levels-see")
    section.get_by_role("button", name="Example: neurons").click()
    page.wait_for_selector(".cellcount-blocks[aria-busy=false]", timeout=120_000)
    assert section.locator(".block").count() == 10
    section.locator(".block").nth(5).locator(".map").last.hover()
    assert "bottleneck, second block, channel" in section.locator(".told").inner_text()
    picture = section.locator(".seen canvas").bounding_box()
    header = page.locator(".bd-header-article").bounding_box()
    assert header["y"] + header["height"] <= picture["y"] < 100
    found = Axe().run(page, context="main", options=ONLY_WRONG).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_chapter_has_a_deck_that_the_teaching_guide_links(site):
    decks = sorted(path.stem for path in (site / "slides").glob("*.html"))
    assert decks == sorted(name.removeprefix("chapters/") for name in CHAPTERS)
    linked = re.findall(
        r'href="slides/([^"]+)\.html">([^<]+)<', (site / "teaching.html").read_text()
    )
    assert [name for name, _ in linked] == decks
    for name, title in linked:
        assert f"<title>{title}</title>" in (site / "slides" / f"{name}.html").read_text()


def test_the_wrap_up_quiz_replies_and_names_the_chapters_of_every_question(visit):
    page = visit("wrap_up")
    questions = page.locator(".cellcount-quiz fieldset")
    assert questions.count() == page.locator("article table tbody tr").count() == 12
    for place in range(12):
        question = questions.nth(place)
        said = question.locator(".reply:visible")
        assert said.count() == 0
        for answer in question.locator("input").all():
            answer.check()
            right = said.get_attribute("data-right") == "true"
            assert said.inner_text().startswith("Right." if right else "Not quite.")
        chapters = page.locator("article table tbody tr").nth(place).locator("a")
        assert 2 <= chapters.count() <= 3


def test_every_session_of_the_teaching_guide_has_a_plan_of_two_hours():
    text = (ROOT / "book" / "sessions.md").read_text()
    plans = text.split("\n## Session ")[1:]
    guide = (ROOT / "book" / "teaching.md").read_text().partition("| session |")[2]
    wanted = re.findall(r"^\| (\d+) \|", guide, re.MULTILINE)
    assert [plan.partition(":")[0] for plan in plans] == wanted
    for plan in plans:
        assert sum(map(int, re.findall(r"^\| (\d+) \|", plan, re.MULTILINE))) == 120, plan[:40]
        for part in ("**Prepare.**", "**What goes wrong.**", "**Skip**"):
            assert plan.count(part) == 1, plan[:40]


@pytest.mark.parametrize("name", ["wrap_up", "chapters/05_losses"])
def test_an_answer_of_a_quiz_stands_beside_its_button_on_a_phone(visit, name):
    page = visit(name, width=390)
    answers = page.locator(".cellcount-quiz fieldset > div")
    assert answers.count() >= 9
    for place in range(answers.count()):
        button = answers.nth(place).locator("input").bounding_box()
        label = answers.nth(place).locator("label").bounding_box()
        assert label["x"] > button["x"]
        assert label["y"] < button["y"] + button["height"]


def test_a_timetable_keeps_its_order(visit):
    page = visit("sessions")
    assert page.locator("article table").count() == 10
    assert page.locator(".cellcount-sort").count() == 0


@pytest.mark.parametrize("width", [1280, 390])
def test_a_deck_is_shown_slide_by_slide(visit, width):
    page = visit("slides/06_threshold_and_ruler", width=width)
    page.wait_for_selector(".reveal.ready section.present h1")
    seen = set()
    for _ in range(40):
        seen.add(page.evaluate("Reveal.getSlidePastCount()"))
        if page.evaluate("Reveal.isLastSlide()"):
            break
        page.keyboard.press("Space")
        for image in page.locator("section.present:not(.stack) img").all():
            box = image.bounding_box()
            assert image.get_attribute("alt")
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= 900
    assert len(seen) == page.evaluate("Reveal.getTotalSlides()") > 15


def test_search_finds_a_word_from_disk(visit):
    page = visit("search")
    page.goto(page.url + "?q=watershed")
    # results appear one after another
    found = page.locator("#search-results li a", has_text="Telling touching cells apart")
    found.first.wait_for()


def test_tables_sort_fold_and_filter(visit):
    page = visit("chapters/10_results")
    table = page.locator("#table-losses table").first
    heads = table.locator("thead th")
    width = heads.count()
    assert width > 6
    assert heads.locator("visible=true").count() == 6
    fold = table.locator("xpath=preceding-sibling::button[1]")
    fold.press("Enter")
    assert heads.locator("visible=true").count() == width
    assert fold.get_attribute("aria-expanded") == "true"

    def column(number):
        return table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()

    place = next(i for i, text in enumerate(heads.all_inner_texts(), 1) if "regenerated" in text)
    values = [float(text.split()[0]) for text in column(place) if text.strip()]
    for press in (sorted, lambda v: sorted(v, reverse=True)):
        heads.nth(place - 1).locator("button").click()
        assert [float(text.split()[0]) for text in column(place) if text.strip()] == press(values)
    labels = column(1)
    wanted = [text for text in labels if "tversky" in text.lower()]
    assert 0 < len(wanted) < len(labels)
    table.locator("xpath=preceding-sibling::input[1]").fill("TVERSKY")
    left = table.locator("tbody tr:visible > :first-child").all_inner_texts()
    assert left == wanted


def test_a_cell_is_sorted_by_the_number_it_begins_with(visit):
    page = visit("notation")
    texts = ["0.69 ± 0.02", "-19.1", "\u22125", "1,234", "missing", "", "p 0.5", "+.5 (a)"]
    found = page.evaluate("texts => texts.map(numberOf).map(n => isNaN(n) ? null : n)", texts)
    assert found == [0.69, -19.1, -5, 1234, None, None, None, 0.5]


def test_a_figure_is_enlarged_by_keyboard_and_closed_again(visit):
    page = visit("chapters/10_results")
    button = page.locator("article figure button.cellcount-enlarge").first
    before = button.locator("img").bounding_box()["width"]
    button.press("Enter")
    large = page.locator("dialog[open] img")
    assert large.get_attribute("alt") == button.locator("img").get_attribute("alt")
    assert large.bounding_box()["width"] > before
    page.keyboard.press("Escape")
    page.locator("dialog[open]").wait_for(state="detached", timeout=5000)


def test_every_page_says_what_it_is_of_and_how_to_cite_it(visit):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    page = visit("chapters/02_architectures")
    words = page.locator(".extra_footer").inner_text()
    assert f"Version {version}" in words
    page.locator(".extra_footer a", has_text="How to cite").click()
    page.wait_for_load_state()
    assert "cite" in page.locator("article").inner_text().lower()


def test_code_can_be_copied(visit):
    page = visit("chapters/01_data", permissions=["clipboard-read", "clipboard-write"])
    page.locator(".cell_input .highlight").nth(1).hover()
    button = page.locator(".cell_input button.copybtn").nth(1)
    button.click()
    assert "success" in (button.get_attribute("class") or "")


def test_tables_of_the_pages_are_those_of_the_library(visit):
    from cellcount_lib.data.manifest import names
    from cellcount_lib.losses import PRESETS
    from cellcount_lib.scoring.protocols import PROTOCOLS

    def first_column(name: str) -> list[str]:
        cells = visit(name).locator("article tbody tr td:first-child").all_inner_texts()
        return [c.strip() for c in cells]

    assert first_column("datasets") == list(names())
    headings = [h.strip("#") for h in visit("protocols").locator("article h3").all_inner_texts()]
    assert headings == list(PROTOCOLS)
    assert first_column("models")[-len(PRESETS) :] == list(PRESETS)


def test_every_link_leads_somewhere(site):
    looked = 0
    for path in set(site.rglob("*.html")) - set((site / "_static").rglob("*.html")):
        text = path.read_text()
        for target in re.findall(r'(?:href|src)="([^"#:?]+)(?:[#?][^"]*)?"', text):
            if target.startswith("${"):  # filled in by a script of the decks
                continue
            assert (path.parent / target).exists(), f"{path.name} leads to {target}: nothing there"
            looked += 1
    assert looked > 1000


def test_every_number_of_a_table_leads_to_the_run_that_made_it(visit, site):
    from cellcount_lib.tables.committed import committed, table

    text = (site / "chapters" / "10_results.html").read_text()
    for made in map(table, committed()):
        for run in made.results.runs["run"]:
            assert f'href="../results/{made.profile}/runs/{run}.html"' in text
    page = visit("chapters/10_results")
    page.locator("article table th a").first.click()
    page.wait_for_load_state()
    assert page.locator("article h1").count() == 1
    assert page.locator("text=Download the notebook").count() == 1


def test_the_book_is_printed_with_solutions_open(site, tmp_path):
    chromium()
    code = "import sys; from pathlib import Path; from tools.pdf import print_page\n"
    code += "print_page(Path(sys.argv[1]), Path(sys.argv[2]))"
    for name, page in (("notation", "notation.html"), ("results", "chapters/10_results.html")):
        given = [str(site / page), str(tmp_path / f"{name}.pdf")]
        subprocess.run([sys.executable, "-c", code, *given], check=True, cwd=ROOT)
    sizes = {}
    for path in tmp_path.glob("*.pdf"):
        content = path.read_bytes()
        assert content.startswith(b"%PDF-")
        assert content.rstrip().endswith(b"%%EOF")
        sizes[path.stem] = len(re.findall(rb"/Type\s*/Page\b", content))
    assert 1 <= sizes["notation"] <= 4
    assert sizes["results"] > 5


CONTENTS = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A book</title>
<nav id="jb-print-toc">{links}</nav>{parts}</html>"""


def test_the_contents_of_the_pdf_have_the_numbers_of_the_pages(tmp_path):
    from pypdf import PdfReader

    chromium()
    # every part begins a page; the second one takes two
    parts = {"one": "short", "two": "<br>" * 80, "three": "short"}
    titles = [f"{name}. A part" for name in parts]
    links = zip(parts, titles, strict=True)
    page = CONTENTS.format(
        links="".join(f'<p><a href="#part-{name}">{title}</a></p>' for name, title in links),
        parts="".join(
            f'<div style="break-before: page"><span id="part-{name}"></span><h2>x</h2>{text}</div>'
            for name, text in parts.items()
        ),
    )
    (tmp_path / "book.html").write_text(page)
    code = "import sys; from pathlib import Path; from tools.pdf import print_page\n"
    code += "print_page(Path('book.html').resolve(), Path('book.pdf'), contents=True)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    made = PdfReader(tmp_path / "book.pdf")
    assert len(made.pages) == 5
    assert [(mark.title, made.get_destination_page_number(mark)) for mark in made.outline] == [
        *zip(titles, (1, 2, 4), strict=True)  # from 0
    ]
    lines = made.pages[0].extract_text().splitlines()
    assert [line for line in lines if line in titles] == titles
    # the last one is at the foot
    assert [line for line in lines if line.strip().isdigit()] == ["2", "3", "5", "1"], lines
    assert made.pages[4].extract_text().split()[-1] == "5"  # the foot of the page


def test_the_first_page_links_the_pdf_once_there_is_one(site, tmp_path):
    from tools.pdf import NAME, link_from

    page = tmp_path / "intro.html"
    shutil.copy(site / "intro.html", page)
    assert NAME not in page.read_text()
    for _ in range(2):
        link_from(page)
        assert page.read_text().count(f'href="{NAME}"') == 1


def test_committed_tables_belong_to_the_simulator_that_is_committed():
    from cellcount_lib.methods.calibration import code_hash

    head = (ROOT / "results" / "calibration.csv").read_text().splitlines()[0]
    assert code_hash() in head, "results/ is stale: run `make report`"
