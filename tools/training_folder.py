"""Pictures that were made for a training, as a folder that `cellcount train folder:OUT` reads."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cellcount_lib.data.images import write_labels, write_png
from cellcount_lib.data.sample import Sample
from cellcount_lib.files import write_whole


class Picture(NamedTuple):
    """A picture as it is written."""

    name: str
    split: str
    sample: Sample


def write_folder(pictures: Iterable[Picture], out: Path) -> None:
    """Write them unless all are there: the table comes last and says so."""
    if (out / "index.csv").exists():
        return
    for folder in ("images", "labels"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("id", "split", "image", "label"))
    for name, split, sample in pictures:
        image, label = f"images/{name}.png", f"labels/{name}.png"
        write_png(out / image, sample.image)
        write_labels(out / label, sample.labels)
        table.writerow((name, split, image, label))
    write_whole(out / "index.csv", text.getvalue())
