"""A slide deck for every chapter, in one file that needs no network: slides/NN_name.html.

What a deck shows follows from the chapter by one rule. A heading begins a slide, with the first
sentence of the text below it; sections below it are reached downwards. A figure has a slide of its
own, with its caption. The summary is shown whole; quiz, exercises and literature are left out.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from markdown_it import MarkdownIt

VENDOR = Path(__file__).resolve().parents[1] / "_vendor" / "reveal"
MARKDOWN = MarkdownIt("commonmark")
LEFT_OUT = ("Quiz", "Exercises", "Further reading")
WHOLE = "Summary"  # its text is shown to its end
HEADING = re.compile(r"^(#{1,3}) (.+)$")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
CITATION = re.compile(r"\s*\{cite\}`[^`]*`")
TERM = re.compile(r"\{term\}`([^`<]*?)(?: <[^`]*>)?`")
SENTENCE = re.compile(r".+?[.?!:](?=\s|$)(?<!e\.g\.)(?<!i\.e\.)", re.DOTALL)
STYLE = """
body { background: #fff; color: #222; font-family: system-ui, sans-serif; }
.reveal { font-size: 30px; }
.reveal .slides section { text-align: left; }
.reveal h1, .reveal h2, .reveal h3 { font-weight: 600; line-height: 1.15; margin: 0 0 0.6em; }
.reveal p { line-height: 1.35; margin: 0; }
.reveal img { display: block; margin: 0 auto; max-height: 520px; max-width: 100%; }
.reveal figure { margin: 0; }
.reveal figcaption { font-size: 22px; line-height: 1.3; margin-top: 0.6em; }
.reveal li { line-height: 1.3; margin-bottom: 0.35em; }
.reveal .slide-number { left: 8px; right: auto; }
.reveal footer { color: #595959; font-size: 18px; margin-top: 1.5em; }
"""
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{css}</style></head>
<body><div class="reveal"><div class="slides">
{slides}
</div></div>
<script>{script}</script>
<script>Reveal.initialize({settings});</script>
</body></html>
"""


# slides also on a narrow screen, where reveal.js would make one long page
SETTINGS = '{hash: true, slideNumber: true, transition: "none", scrollActivationWidth: null}'


class Slide(NamedTuple):
    """A slide: the depth of its heading, or that of the heading it stands below plus one."""

    depth: int
    body: str


def slides(notebook: Mapping[str, Any]) -> Iterator[Slide]:
    """Give the slides of a chapter by the rule of this module."""
    depth, left_out = 1, False
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            for level, title, text in sections(source):
                if level < 3:
                    left_out = title in LEFT_OUT
                if not left_out:
                    depth = level
                    yield Slide(level, heading(level, title, text))
        elif not left_out and (shown := figure(cell)):
            yield Slide(max(3, depth + 1), shown)


def sections(source: str) -> Iterator[tuple[int, str, str]]:
    """Give level, title and text of every heading in a cell."""
    level, title, text = 0, "", []
    for line in source.splitlines():
        if found := HEADING.match(line):
            if level:
                yield level, title, "\n".join(text)
            level, title, text = len(found[1]), found[2], []
        else:
            text.append(line)
    if level:
        yield level, title, "\n".join(text)


def plain(text: str) -> str:
    """Return a text without links and citations.

    >>> plain("A {term}`mask` of [chapter 1](01_data.ipynb) {cite}`otsu1979`.")
    'A mask of chapter 1.'
    """
    return LINK.sub(r"\1", TERM.sub(r"\1", CITATION.sub("", text)))


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, without links; nothing where it has a formula.

    >>> first_sentence("A cell [touches](b.md) another. It counts.")
    'A cell touches another.'
    """
    paragraph = plain(text.strip()).split("\n\n")[0]
    found = SENTENCE.match(paragraph)
    sentence = found[0] if found else paragraph
    return "" if "$" in sentence or sentence[:1] in "|`:<-" else " ".join(sentence.split())


def heading(level: int, title: str, text: str) -> str:
    """Return the body of a slide with a heading."""
    said = MARKDOWN.render(plain(text) if title == WHOLE else first_sentence(text))
    return f"<h{level}>{MARKDOWN.renderInline(plain(title))}</h{level}>{said}"


def figure(cell: Mapping[str, Any]) -> str:
    """Return the body of a slide with the figure of a cell, if it has one."""
    about = cell["metadata"].get("mystnb", {})
    for output in cell.get("outputs", ()) if "figure" in about else ():
        for kind, data in output.get("data", {}).items():
            if kind.startswith("image/"):
                code = "".join("".join(data).split())
                alt = html.escape(about["image"]["alt"], quote=True)
                caption = MARKDOWN.renderInline(plain(about["figure"]["caption"]))
                picture = f'<img alt="{alt}" src="data:{kind};base64,{code}">'
                return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
    return ""


def deck(notebook: Mapping[str, Any], page: str) -> str:
    """Return the deck of a chapter; slides below a heading of the second level stand under it."""
    stacks: list[list[str]] = []
    for slide in slides(notebook):
        if slide.depth < 3 or not stacks:
            stacks.append([])
        stacks[-1].append(f"<section>{slide.body}</section>")
    first = f'<footer><a href="{page}">the chapter</a> of the cell-counting book</footer></section>'
    stacks[0][0] = stacks[0][0].removesuffix("</section>") + first
    title = "".join(notebook["cells"][0]["source"]).splitlines()[0].lstrip("# ")
    return PAGE.format(
        title=html.escape(title),
        css=(VENDOR / "reveal.css").read_text() + STYLE,
        slides="\n".join(f"<section>{''.join(stack)}</section>" for stack in stacks),
        settings=SETTINGS,
        script=(VENDOR / "reveal.js").read_text().replace("</script", "<\\/script"),
    )


def write_decks(app: Any, error: Exception | None) -> None:
    """Write the decks beside the pages, once these are there."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir, "slides")
    out.mkdir(exist_ok=True)
    for path in sorted(Path(app.srcdir, "chapters").glob("[0-9][0-9]_*.ipynb")):
        made = deck(json.loads(path.read_text()), f"../chapters/{path.stem}.html")
        (out / f"{path.stem}.html").write_text(made)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("build-finished", write_decks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
