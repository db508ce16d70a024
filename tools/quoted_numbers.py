"""Are the numbers that prose quotes what the committed results say?

    python tools/quoted_numbers.py            names every number that differs, and exits with 1
    python tools/quoted_numbers.py --write    types them again, after the tables have changed

What an address means is explained in cellcount_lib/tables/quoted.py.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cellcount_lib.errors import CellcountError  # noqa: E402
from cellcount_lib.files import write_whole  # noqa: E402
from cellcount_lib.tables.quoted import LINK, resolve  # noqa: E402


def prose(root: Path = ROOT) -> list[Path]:
    """Return every chapter and page, and the source of the pages of findings and advice."""
    book = root / "book"
    chapters = (root / "chapters").glob("*.ipynb")
    return [*sorted(chapters), *sorted(book.glob("*.md")), book / "findings.yml"]


def wrong(path: Path, results: Path | None = None) -> Iterator[str]:
    """Say which numbers of a chapter or page are not what stands at their address."""
    for text, address in LINK.findall(path.read_text()):
        try:
            expected = resolve(address, results).typed_like(text)
        except CellcountError as error:
            yield f"{path.name}: [{text}]({address}): {error}"
            continue
        if expected != text:
            yield f"{path.name}: [{text}]({address}): expected {expected}"


def typed_again(text: str, results: Path | None = None) -> str:
    """Return the text of a chapter or page with its numbers as the results have them now."""

    def number(link: re.Match[str]) -> str:
        return f"[{resolve(link[2], results).typed_like(link[1])}]({link[2]})"

    return LINK.sub(number, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="type the numbers again")
    asked = parser.parse_args()
    differ = [line for path in prose() for line in wrong(path)]
    for line in differ:
        print(line)
    if asked.write:
        for path in prose():
            text = path.read_text()
            if (again := typed_again(text)) != text:
                write_whole(path, again)
                print(f"{path.name}: written")
    elif differ:
        sys.exit(1)


if __name__ == "__main__":
    main()
