"""Training on corrections: from the base model, on all of them, in a process of its own.

    python -m cellcount_lib.service.retrain DATA OUT MODEL PROFILE PROCESS

It needs what `cellcount train` and `cellcount export` need. A training that was cut off goes on.
"""

import csv
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cellcount_lib.data.images import read_image, read_labels, write_labels, write_png
from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole
from cellcount_lib.inference.info import DEFAULT, MODEL
from cellcount_lib.machine import end_with

LEAST = 2  # pictures: one to train on, one to choose the cutoff on
EVERY = 5  # which picture chooses the cutoff
CHECKPOINT = "checkpoint.safetensors"  # in the folder of a training, after every epoch
LOOK = 0.5  # seconds between two looks at a training


def write_dataset(folder: Path, names: Sequence[str], project: Path) -> None:
    """Write pictures and their corrections as a dataset, whose table comes last."""
    if (folder / "index.csv").exists():
        return
    if len(names) < LEAST:
        raise DataError(f"expected at least {LEAST} corrected pictures, found {len(names)}")
    shutil.rmtree(folder, ignore_errors=True)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("id", "image", "label", "split"))
    for place, name in enumerate(names):
        image, label = f"images/{place:05d}.png", f"labels/{place:05d}.png"
        write_png(folder / image, read_image(project / "pictures" / name)[0])
        write_labels(folder / label, read_labels(project / "corrections" / f"{name}.tif"))
        rows.writerow((name, image, label, "val" if place % EVERY == 1 else "train"))
    write_whole(folder / "index.csv", table.getvalue())


def trained(data: Path, out: Path, model: Path, profile: str, *, look: Callable[[], None]) -> None:
    """Train in a process, which ends with this one; `look` is called while it works."""
    arguments = [*map(str, (data, out, model)), profile, str(os.getpid())]
    command = [sys.executable, "-m", "cellcount_lib.service.retrain", *arguments]
    log = out.with_suffix(".log")
    with log.open("w") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            while process.poll() is None:
                look()
                time.sleep(LOOK)
        finally:
            process.kill()
    if process.returncode or not model.is_file():
        lines = log.read_text(errors="replace").strip().splitlines() or ["it ended without a word"]
        raise DataError(f"the training failed: {lines[-1][:300]}")


def main() -> None:
    """Train, and write the model as ONNX."""
    data, out, model, profile, owner = sys.argv[1:]
    end_with(int(owner))
    from cellcount_lib.inference.export import export_onnx
    from cellcount_lib.inference.model_file import load_model
    from cellcount_lib.training.result import finished
    from cellcount_lib.training.run import train
    from cellcount_lib.training.spec import Training

    training = Training(dataset=f"folder:{data}", profile=profile, init=DEFAULT)
    if finished(training, Path(out)) is None:
        train(training, Path(out), show=False)
    summary = finished(training, Path(out))
    if summary is None or summary["status"] != "completed":
        sys.exit(f"the network {(summary or {}).get('reason', 'was not finished')}")
    export_onnx(load_model(Path(out) / MODEL), Path(model))


if __name__ == "__main__":
    main()
