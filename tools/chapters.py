"""Execute the chapters for the book, each only when what decides its outputs has changed.

    python tools/chapters.py                    into book/chapters/, which the book is rendered from
    python tools/chapters.py --keep             and the outputs into chapters/, to be committed
    python tools/chapters.py 05 --fresh         chapter 5 again, changed or not

Outputs are taken from book/chapters/ or from the committed chapter if they were made from the same
code cells, definitions that these reach, models, results and profile; words may change without a
new execution, and so may a part of the library that the chapter does not use.
"""

import argparse
import base64
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cellcount_lib.files import write_whole  # noqa: E402
from cellcount_lib.fingerprint import closure_of_source, digest, source_hash  # noqa: E402
from cellcount_lib.inference.info import DEFAULT  # noqa: E402
from cellcount_lib.prediction.models import CHOSEN_FROM  # noqa: E402
from cellcount_lib.records import machine, now, versions  # noqa: E402

MARK = "cellcount"  # key of a notebook's metadata: what its outputs were made from
PROFILE = "laptop"
PHOTOGRAPH = 100_000  # bytes: a figure that is larger with a palette shows photographs


@dataclass(frozen=True)
class Chapter:
    """A chapter, and the two places that may hold outputs for it."""

    source: Path
    built: Path

    def read(self) -> dict[str, Any]:
        """Return the notebook as committed."""
        found: dict[str, Any] = json.loads(self.source.read_text())
        return found


def chapters(names: list[str]) -> list[Chapter]:
    """Return the chapters, or those whose name begins with one of `names`."""
    found = sorted((ROOT / "chapters").glob("[0-9][0-9]_*.ipynb"))
    if names:
        found = [path for path in found if path.name.startswith(tuple(names))]
    return [Chapter(path, ROOT / "book" / "chapters" / path.name) for path in found]


def key(notebook: Mapping[str, Any], profile: str) -> str:
    """Return the hash of everything that decides the outputs: cells, what they reach, files."""
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    whole = "\n".join(code)
    return digest([list(map(source_hash, code)), profile, reached(whole), files_in(whole)])


def reached(code: str) -> dict[str, str]:
    """Hash the definitions of the library that code reaches, also what only draws or teaches."""
    return closure_of_source(code, silent=(), library=ROOT / "cellcount_lib")


def files_in(code: str) -> dict[str, str]:
    """Hash the models and the results that a chapter names, or all results if it goes through them.

    Some models are meant without their names: the default one of `load_model`, and those that a
    count chooses from.
    """
    every, found = "committed(" in code, {}
    meant = {DEFAULT} if "load_model(" in code else set()
    if any(word in code for word in ("open_models(", '"serve"', '"predict"')):
        meant |= set(CHOSEN_FROM)
    for path in sorted((ROOT / "cellcount_lib" / "pretrained").glob("*.safetensors")):
        if path.stem in meant or f'"{path.stem}"' in code:
            for file in (path, path.with_suffix(".onnx")):
                found[file.relative_to(ROOT).as_posix()] = sha256(file.read_bytes()).hexdigest()
    for pattern in ("*.csv", "*/*.csv", "*/*.html", "*/*.json", "*/*.npz"):
        for path in sorted((ROOT / "results").glob(pattern)):
            name = path.stem.removesuffix("-images")
            if every or f'"{name}"' in code or path.name in code:
                found[path.relative_to(ROOT).as_posix()] = sha256(path.read_bytes()).hexdigest()
    return found


def outputs_from(donor: Path, wanted: str) -> dict[str, Any] | None:
    """Return the notebook at `donor` if its outputs were made from what is `wanted`."""
    if not donor.exists():
        return None
    notebook: dict[str, Any] = json.loads(donor.read_text())
    return notebook if notebook["metadata"].get(MARK, {}).get("key") == wanted else None


def with_outputs(chapter: Mapping[str, Any], donor: Mapping[str, Any]) -> dict[str, Any]:
    """Return the chapter with the outputs of the donor, whose code cells are the same."""
    given = iter([cell for cell in donor["cells"] if cell["cell_type"] == "code"])
    cells = []
    for cell in chapter["cells"]:
        if cell["cell_type"] == "code":
            other = next(given)
            cell = {**cell, **{k: other[k] for k in ("outputs", "execution_count")}}
        cells.append(cell)
    metadata = {**chapter["metadata"], MARK: donor["metadata"][MARK]}
    return {**chapter, "cells": cells, "metadata": metadata}


def execute(chapter: Chapter, profile: str, wanted: str) -> dict[str, Any]:
    """Execute a chapter in its own kernel and return it with outputs."""
    import papermill

    os.environ["CELLCOUNT_PROGRESS"] = "0"
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / chapter.source.name
        papermill.execute_notebook(
            str(chapter.source),
            str(path),
            parameters={} if profile == PROFILE else {"profile": profile},
            kernel_name="python3",
            progress_bar=False,
            cwd=str(chapter.source.parent),
        )
        done = json.loads(path.read_text())
    seconds = round(time.perf_counter() - start, 1)
    # papermill adds a cell for parameters that were given: it is none of the chapter's
    done["cells"] = [c for c in done["cells"] if "injected-parameters" not in tags(c)]
    for cell in done["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [lighter(o) for o in cell["outputs"] if o.get("name") != "stderr"]
    here = machine()
    done["metadata"][MARK] = {
        "key": wanted,
        "profile": profile,
        "seconds": seconds,
        "executed": now(),
        "processor": here["processor"],
        "gpu": here["gpu"],
        "versions": versions(),
    }
    return with_outputs(chapter.read(), done)


def lighter(output: dict[str, Any]) -> dict[str, Any]:
    """Return an output with its picture in fewer bytes: a palette, or JPEG for photographs."""
    from PIL import Image

    data = output.get("data", {})
    if "image/png" not in data:
        return output
    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
    kind, small = "image/png", io.BytesIO()
    few = image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)  # keeps outlines
    few.save(small, format="png", optimize=True)
    if len(small.getvalue()) > PHOTOGRAPH:
        kind, small = "image/jpeg", io.BytesIO()
        image.save(small, format="jpeg", quality=88, optimize=True)
    others = {key: value for key, value in data.items() if key != "image/png"}
    return {**output, "data": {**others, kind: base64.b64encode(small.getvalue()).decode()}}


def tags(cell: Mapping[str, Any]) -> list[str]:
    return list(cell["metadata"].get("tags", ()))


def as_text(notebook: Mapping[str, Any]) -> str:
    """Return the notebook as it is committed: one order of keys, one indentation."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def bring(
    found: list[Chapter], *, profile: str, fresh: bool, keep: bool
) -> Iterator[tuple[str, str]]:
    """Bring the chapters up to date, and say of each what was done."""
    for chapter in found:
        print(f"{chapter.source.stem} ...", file=sys.stderr, flush=True)
        notebook = chapter.read()
        wanted = key(notebook, profile)
        donors = () if fresh else (chapter.built, chapter.source)
        donor = next((d for d in (outputs_from(p, wanted) for p in donors) if d), None)
        if donor is None:
            made = execute(chapter, profile, wanted)
            said = f"executed in {made['metadata'][MARK]['seconds']} s"
        else:
            made, said = with_outputs(notebook, donor), "unchanged"
        text = as_text(made)
        if not chapter.built.exists() or chapter.built.read_text() != text:
            write_whole(chapter.built, text)
        if keep and chapter.source.read_text() != text:
            write_whole(chapter.source, text)
        yield chapter.source.stem, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of names (default: all)")
    parser.add_argument("--profile", default=PROFILE)
    parser.add_argument("--fresh", action="store_true", help="execute, changed or not")
    parser.add_argument("--keep", action="store_true", help="write outputs into chapters/, too")
    asked = parser.parse_args()
    found = chapters(asked.names)
    if not found:
        parser.error(f"no chapter begins with {' or '.join(asked.names)}")
    doing = bring(found, profile=asked.profile, fresh=asked.fresh, keep=asked.keep)
    for at, (name, said) in enumerate(doing, start=1):
        print(f"[{at}/{len(found)}] {name}: {said}", flush=True)


if __name__ == "__main__":
    main()
