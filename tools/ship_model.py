"""Train the model that comes with the project, measure it, and write its card.

    python tools/ship_model.py                        (15 minutes on two cores; resumes)
    python tools/ship_model.py --also folder:PATH     (one more row in the card)

The card's numbers are those of the file that ships, in half precision.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from cellcount_lib.data.datasets import load
from cellcount_lib.data.reading import read_all, some
from cellcount_lib.data.sample import cell_width
from cellcount_lib.files import write_whole
from cellcount_lib.inference.export import export_onnx
from cellcount_lib.inference.info import DEFAULT, SHIPPED
from cellcount_lib.inference.model_file import load_model, save_model
from cellcount_lib.inference.network import predict
from cellcount_lib.machine import processor, version
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.training.result import finished
from cellcount_lib.training.run import train
from cellcount_lib.training.spec import Training

# With the overcrowded nuclei in the training, hundreds to a picture, the cutoff is theirs and the
# neurons fare worse; the model is measured on them all the same.
PARTS = ("simulated", "simulated:nuclei-medium")
MEASURED = (*PARTS, "simulated:nuclei-overcrowded")
TRAINING = Training(
    dataset="+".join(PARTS),
    profile="laptop",
    grey=0.5,
    epochs=14,
    scale=0.25,
    protocol_scale=1.0,
)
WORK = Path("build/model")
TEST_IMAGES = 24
CARD = """# {name}

The network that `cellcount predict` uses unless another is named. {arch} with {parameters:,}
weights in half precision, {megabytes:.1f} MB. It was trained on **simulated pictures only**, by
`python tools/ship_model.py`.

## What it is for

- Cells or nuclei that are brighter than their surroundings, round to elongated, in one colour or
  grey.
- Pictures in which a typical cell is about {cell_px:.0f} pixels wide, or `--cell-size` says how
  wide it is: pictures are then resized to what the model knows.
- A first count, to be looked at in `overlays/`. Correct a few pictures, train on them
  (`cellcount train folder:PATH --init {name}`), and count again.

## What it is not for

- Anything that has not been compared with counts by a person on pictures like yours.
- Phase contrast, brightfield, histology, cells darker than the background, shapes in three
  dimensions.
- Diagnosis.

## Measured

F1 at IoU 0.5 and mean absolute error of the count under the protocol `recommended`, at the cutoff
{threshold} that was chosen on simulated validation pictures. Cell sizes are said to the model as
`--cell-size` does, but for the simulated neurons, which are shown as they are. Up to {images}
pictures of each test split.

{table}

Trained in {minutes:.0f} minutes ({processor}; torch {torch}), seed {seed}, {steps} steps of
{batch} crops of {crop}x{crop} pixels at scale {scale}.
Data: {dataset} (fingerprint {fingerprint}), half of the crops without colour.
"""


def measured(name: str) -> dict[str, Any]:
    """Score the shipped file on the test pictures of a dataset."""
    trained = load_model(DEFAULT)
    ruler = protocol(trained.info.protocol)
    test = some(load(name, split="test"), TEST_IMAGES)
    width = cell_width(list(read_all(some(load(name, split="train"), TEST_IMAGES))))
    told = None if name == "simulated" else width
    scale = 1.0 if told is None else told / trained.info.cell_px
    rows = []
    for sample in read_all(test):
        labels = predict(trained, sample.image, cell_px=told).labels
        image = sample.meta["name"]
        rows.append(ruler.score(sample.labels, labels, image=image, scale=scale))
    return {"pictures": len(rows), "width": width, **pooled(pd.DataFrame(rows), mpe=ruler.mpe)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--also", nargs="*", default=[], help="further datasets to measure on")
    given = parser.parse_args()
    if finished(TRAINING, WORK) is None:
        train(TRAINING, WORK, show=True)
    summary = finished(TRAINING, WORK)
    assert summary is not None
    trained = load_model(WORK / "model.safetensors")
    path = SHIPPED / f"{DEFAULT}.safetensors"
    save_model(path, trained.model, trained.info, half=True)
    export_onnx(load_model(path), path.with_suffix(".onnx"))
    lines = [
        "| test pictures of | number | cells wide | F1 | precision | recall | MAE | mean count |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in (*MEASURED, *given.also):
        scores = measured(name)
        shown = name if not name.startswith("folder:") else Path(name).name
        lines.append(
            f"| {shown} | {scores['pictures']} | {scores['width']:.0f} px | {scores['f1']:.3f} | "
            f"{scores['precision']:.3f} | {scores['recall']:.3f} | {scores['mae']:.1f} | "
            f"{scores['n_true'] / scores['pictures']:.1f} |"
        )
        print(lines[-1], flush=True)
    info = trained.info
    settings = summary["settings"]
    profile = settings["profile"]
    card = CARD.format(
        name=DEFAULT,
        arch=info.config.name,
        parameters=sum(p.numel() for p in trained.model.parameters()),
        megabytes=path.stat().st_size / 1e6,
        cell_px=info.cell_px,
        threshold=info.threshold,
        images=TEST_IMAGES,
        table="\n".join(lines),
        minutes=summary["seconds"]["training"] / 60,
        processor=processor(),
        torch=version("torch"),
        seed=settings["seed"],
        steps=settings["recipe"]["epochs"] * profile["steps"],
        batch=settings["recipe"]["batch"],
        crop=profile["crop"],
        scale=info.scale,
        dataset=settings["dataset"],
        fingerprint=settings["fingerprint"][:12],
    )
    write_whole(SHIPPED / f"{DEFAULT}.md", card)


if __name__ == "__main__":
    main()
