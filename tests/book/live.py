"""What tests of live pages share: a page opened from disk, what it is asked, and files for it."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from cellcount_lib.live import assets

INSIDE = {"file:", "blob:"}

TEXT = """const text = (values) => {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let letters = "";
  for (const byte of bytes) letters += String.fromCharCode(byte);
  return btoa(letters);
};"""  # far faster than a list of numbers

DROP = """([bytes, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([globalThis.cellcount.bytesOf(bytes)], name));
  const event = new DragEvent("drop", { dataTransfer: transfer, cancelable: true });
  document.querySelector(".drop").dispatchEvent(event);
}"""


def written(folder: Path, page: str) -> Path:
    """Write a page, and beside it the scripts of all live parts."""
    assets.write_page(folder / "count")
    (folder / "index.html").write_text(page)
    return folder


@contextmanager
def from_disk(browser: Any, folder: Path) -> Iterator[tuple[Any, list[str]]]:
    """Open the page of a folder, which asks for nothing else and makes no error.

    Beside the page comes the list of what it has asked for.
    """
    page = browser.new_page()
    page.set_default_timeout(120_000)
    asked: list[str] = []
    errors: list[str] = []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: asked.append(r.url))
    page.goto((folder / "index.html").as_uri())
    yield page, asked
    page.close()
    assert {url[:5] for url in asked} <= INSIDE, asked
    assert errors == []


def ask(page: Any, function: str, given: Any) -> Any:
    """Call a function of the page; `text` there becomes `numbers` here."""
    return page.evaluate(f"(given) => {{ {TEXT} return ({function})(given); }}", given)


def numbers(text: str, kind: type, shape: tuple[int, ...]) -> Any:
    return np.frombuffer(base64.b64decode(text), kind).reshape(shape)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(image: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, format="PNG")
    return data.getvalue()


def tiff(array: Any, **how: Any) -> bytes:
    data = io.BytesIO()
    tifffile.imwrite(data, array, **how)
    return data.getvalue()
