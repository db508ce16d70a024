"""What the live pages load: scripts only, since a page from a disk may load nothing else.

`write_page` fills a folder. An HTML page with an element of the class ``cellcount-count`` includes
``count.js``, one with ``cellcount-blocks`` ``blocks.js``. Beside them lie the runtime, a script per
network and per example picture, and the reader of TIFF, each loaded when it is needed. Bytes stand
in them as base64 of gzip.
"""

import base64
import csv
import gzip
import hashlib
import io
import json
import lzma
from dataclasses import Field, asdict, fields
from pathlib import Path
from typing import Any

from PIL import Image

from cellcount_lib.data.simulate import simulate
from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole
from cellcount_lib.inference.engine import load_onnx
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.inference.info import shipped
from cellcount_lib.live import blocks
from cellcount_lib.postprocess.cleaning import Sized
from cellcount_lib.postprocess.postprocess import POSTPROCESS, Postprocessing
from cellcount_lib.prediction.checks import AS_EXPECTED, SATURATED, SURE
from cellcount_lib.prediction.models import CHOSEN_FROM

HERE = Path(__file__).parent
VENDOR = HERE / "vendor"
SHARED = ("postprocess.js", "picture.js", "read.js", "shared.js")
WAYS = ("Way", "Necks", "Peaks", "Cores", "Follow")  # known to postprocess.js
PICTURES: dict[str, dict[str, Any]] = {
    "neurons": {"index": 250, "style": "fnc-yellow", "size": (600, 800)},
    "nuclei": {"index": 0, "style": "nuclei-medium", "size": (520, 696)},
}


def write_page(folder: Path) -> None:
    """Write everything that the pages load to a folder, each file whole or not at all."""
    pictures = {name: _picture(name) for name in PICTURES}
    titles = {name: about for name, (about, _) in pictures.items()}
    counting = {
        "models": {name: network(name) for name in CHOSEN_FROM},
        "rules": rules(POSTPROCESS["recommended"]),
        "pictures": titles,
        "sure": SURE,
        "saturated": SATURATED,
        "as_expected": AS_EXPECTED,
    }
    looking = blocks.about() | {
        "models": {blocks.NETWORK: network(blocks.NETWORK) | {"outputs": blocks.outputs()}},
        "pictures": titles,
    }
    files = {
        "count.css": _own("count.css"),
        "count.js": _script(counting, "page.js"),
        "blocks.js": _script(looking, "blocks.js"),
        "runtime.js": _kept(
            "runtime",
            worker="\n".join(
                (
                    vendored("ort.wasm.min.js").decode(),
                    *map(_own, ("postprocess.js", "picture.js", "engine.js")),
                )
            ).encode(),
            # a blob, as which the glue is imported, is no address that others can lie beside
            glue=vendored("ort-wasm-simd-threaded.mjs").replace(b"import.meta.url", b'"file:///"'),
            wasm=vendored("ort-wasm-simd-threaded.wasm.xz"),
        ),
        "tiff.js": "\n".join(
            (
                vendored("pako_inflate.min.js").decode(),
                vendored("UTIF.js").decode(),
                'cellcount.keep("tiff", { UTIF });',
            )
        ),
        "LICENSES.txt": (VENDOR / "LICENSES.txt").read_text(),
    }
    for name in CHOSEN_FROM:
        files[f"model-{name}.js"] = _kept(f"model-{name}", onnx=shipped(name, ".onnx").read_bytes())
    for name, (_, png) in pictures.items():
        content = json.dumps({"png": base64.b64encode(png).decode()})
        files[f"picture-{name}.js"] = f'cellcount.keep("picture-{name}", {content});\n'
    for file, content in files.items():
        write_whole(folder / file, content)


def network(name: str) -> dict[str, Any]:
    """Return what the page must know of a network that ships with the project."""
    loaded = load_onnx(name)
    info = loaded.info
    kept = ("threshold", "scale", "cell_px", "protocol_scale", "stretch")
    return {
        "name": name,
        **{key: getattr(info, key) for key in kept},
        "multiple": loaded.multiple,
        "halo": loaded.halo,
        "mirrored": loaded.mirrored,
        "planes": 1 + formulation(info.formulation).planes,
        "rules": rules(info.ruler().postprocess),
        "count_error": info.training.get("count_error"),  # tools/ship_model.py
    }


def rules(settings: Postprocessing) -> dict[str, Any]:
    """Return the settings of a post-processing with how each follows the scale of a picture.

    Examples
    --------
    >>> rules(POSTPROCESS["recommended"])["way"]
    {'name': 'Necks', 'sizes': {'depth': {'value': 1.5, 'power': 1, 'whole': False}}}
    """
    way = type(settings.touching).__name__
    if way not in WAYS or settings.cleaning.smooth_radius:
        raise DataError(
            f"live/postprocess.js: expected one of {', '.join(WAYS)} without smoothing, found {way}"
        )
    return {
        "cleaning": _sizes(settings.cleaning),
        "way": {"name": way, "sizes": _sizes(settings.touching)},
    }


def _sizes(settings: Sized) -> dict[str, Any]:
    def follows(own: Field[Any]) -> dict[str, Any]:
        return {"power": own.metadata.get("power", 0), "whole": isinstance(own.default, int)}

    values = asdict(settings)
    return {own.name: {"value": values[own.name], **follows(own)} for own in fields(settings)}


def vendored(file: str) -> bytes:
    """Return a file of ``vendor/`` as it was published, whose hash ``sources.csv`` states."""
    content = (VENDOR / file).read_bytes()
    if file.endswith(".xz"):
        content = lzma.decompress(content)
    with (VENDOR / "sources.csv").open() as table:
        expected = next(row["sha256"] for row in csv.DictReader(table) if row["file"] == file)
    if (found := hashlib.sha256(content).hexdigest()) != expected:
        raise DataError(f"{VENDOR / file}: expected SHA-256 {expected}, found {found}")
    return content


def _script(about: dict[str, Any], file: str) -> str:
    """Return what a page includes: what it must know, what pages share, and its own file."""
    known = f"globalThis.cellcount = {{ ABOUT: {json.dumps(about)} }};"
    return "\n".join((known, *map(_own, (*SHARED, file))))


def _own(file: str) -> str:
    return (HERE / file).read_text()


def _kept(name: str, **contents: bytes) -> str:
    """Return a script that hands bytes to the page."""
    packed = {
        key: base64.b64encode(gzip.compress(content, mtime=0)).decode()
        for key, content in contents.items()
    }
    return f"cellcount.keep({json.dumps(name)}, {json.dumps(packed)});\n"


def _picture(name: str) -> tuple[dict[str, Any], bytes]:
    """Simulate an example; return what is said about it, and a PNG."""
    sample = simulate(**PICTURES[name])
    grey = (sample.image == sample.image[..., :1]).all()
    data = io.BytesIO()
    Image.fromarray(sample.image[..., 0] if grey else sample.image).save(data, format="PNG")
    return {"title": f"{name} (simulated)", "cells": sample.count}, data.getvalue()
