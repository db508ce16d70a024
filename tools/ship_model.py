"""Train a model that comes with the project, measure it, and write its files and its card.

    python -m tools.ship_model neurons --data FOLDER
    python -m tools.ship_model nuclei --data FOLDER
    python -m tools.ship_model nuclei-flows --data FOLDER

The last two start from the weights of the first, one with a new last layer: beside the mask it
draws flows, which tell touching nuclei apart. `nuclei` draws a mask alone, and is what a training
with most losses can start from. All go on where they were interrupted. (The files of the last two
that ship started from earlier networks for neurons.) FOLDER holds folder datasets of public
pictures: bbbc038_fluo/ and bbbc038_more/ (BBBC038, fluorescence), and sbsst265_sample/ (twelve
fields of S-BSST265); fnc_sample/ (Fluorescent Neuronal Cells) is only looked at. The card's numbers
are those of the file that ships, in half precision, counted as `cellcount predict` counts without
any option.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.counting import measured, pictures, scored
from benchmarks.rows import table as markdown
from cellcount_lib.data.datasets import Dataset, load
from cellcount_lib.data.reading import read_all, some
from cellcount_lib.data.sample import cell_width
from cellcount_lib.files import write_whole
from cellcount_lib.inference.export import export_onnx
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.inference.info import SHIPPED
from cellcount_lib.inference.model_file import TrainedModel, load_model, save_model
from cellcount_lib.machine import processor, version
from cellcount_lib.models import SegmentationModel, from_config
from cellcount_lib.prediction.intervals import quantile
from cellcount_lib.prediction.models import NEURONS, NUCLEI, open_models
from cellcount_lib.training.result import finished
from cellcount_lib.training.run import train
from cellcount_lib.training.spec import Training
from tools import neurons_pictures, nuclei_pictures
from tools.nuclei_pictures import BBBC038, MORE, SBSST265
from tools.training_folder import write_folder

WORK, CARDS = Path("build/models"), Path(__file__).parent / "cards"
NUCLEI_PICTURES, NEURONS_PICTURES = Path("build/nuclei"), Path("build/neurons")
SIMULATED_IMAGES = 24
NEARLY_NOTHING = 0.1  # of the weights of a new last layer
FNC = "fnc_sample"


LEVEL = 0.9  # of the intervals around counts


class Measured(NamedTuple):
    """Pictures that a model is measured on; of one column `collection` of the table, if named."""

    title: str
    folder: str
    split: str
    collection: str | None = None


MASK = "nuclei"
START = WORK / "nuclei-start.safetensors"  # neurons, with the outputs of flows
REAL_NUCLEI = Training(
    dataset=f"folder:{NUCLEI_PICTURES}",
    profile="gpu",
    grey=0.5,
    stretch=True,
    scale=1.0,
    crop=96,
    batch=8,
    steps=250,
)
TRAININGS = {
    MASK: replace(REAL_NUCLEI, loss="instances", epochs=8, init=NEURONS),
    NUCLEI: replace(REAL_NUCLEI, loss="flows", epochs=80, init=str(START)),
    NEURONS: Training(f"folder:{NEURONS_PICTURES}", epochs=64, scale=0.26, protocol_scale=1.0),
}
# Chosen on whole validation pictures as they are counted, at estimated widths. Training chooses it
# on the middles of pictures, at the true width.
CUTOFFS = {MASK: 0.7, NUCLEI: 0.45}
REAL_TEST = [
    Measured("BBBC038, test", BBBC038, "test"),
    Measured("S-BSST265, test", SBSST265, "test"),
]
MEASURED = {
    MASK: REAL_TEST,
    NUCLEI: REAL_TEST,
    NEURONS: [
        Measured("FNC, yellow", FNC, "all", "yellow"),
        Measured("FNC, red", FNC, "all", "red"),
    ],
}


def test_pictures(name: str, data: Path) -> Iterator[tuple[str, Dataset]]:
    """Yield what a model is measured on, each with a title."""
    if name == NEURONS:
        yield "simulated, test", some(pictures("simulated", "test"), SIMULATED_IMAGES)
    for title, folder, split, collection in MEASURED[name]:
        dataset = pictures(f"folder:{data / folder}", split)
        if collection is not None:
            of = (s for s in dataset.sources if s.meta["row"]["collection"] == collection)
            dataset = replace(dataset, sources=tuple(of))
        yield title, dataset


def count_error(path: Path, data: Path) -> dict[str, Any]:
    """Return how far a model's counts are from the truth on real validation pictures.

    In the words of `prediction.intervals`; the page that counts makes intervals of it.
    """
    models, held = open_models(str(path)), (BBBC038, SBSST265)
    samples = [s for name in held for s in read_all(pictures(f"folder:{data / name}", "val"))]
    rows = scored(samples, models)
    allowed = quantile(rows["n_pred"].tolist(), rows["n_true"].tolist(), level=LEVEL)
    of = "pictures of nuclei from BBBC038 and S-BSST265"
    return {"level": LEVEL, "allowed": round(allowed, 4), "number": len(rows), "pictures": of}


def with_new_head(trained: TrainedModel, channels: int) -> SegmentationModel:
    """Return a network with more outputs: the same weights but for those of the last layer.

    The plane of the mask keeps those, too; the other planes begin at nearly nothing.
    """
    torch.manual_seed(0)
    model = from_config(replace(trained.info.config, out_channels=channels))
    state = model.state_dict()
    for name, weights in trained.model.state_dict().items():
        if name.startswith("head."):
            state[name] *= NEARLY_NOTHING
            state[name][: len(weights)] = weights
        else:
            state[name] = weights
    model.load_state_dict(state)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(TRAININGS))
    parser.add_argument("--data", type=Path, required=True, help="folder of the pictures")
    given = parser.parse_args()
    for collection in (BBBC038, MORE, SBSST265, FNC):
        if not (given.data / collection).is_dir():  # not after an hour of training
            parser.error(f"--data {given.data}: expected a folder {collection}/ in it, found none")
    name, training, work = given.name, TRAININGS[given.name], WORK / given.name
    if name == NEURONS:
        write_folder(neurons_pictures.drawn(), NEURONS_PICTURES)
    else:
        write_folder(nuclei_pictures.drawn(given.data), NUCLEI_PICTURES)
    if name == NUCLEI:
        neurons = load_model(NEURONS)
        model = with_new_head(neurons, formulation(str(training.loss)).channels)
        save_model(START, model, replace(neurons.info, config=model.config))
    if finished(training, work) is None:
        train(training, work, show=True)
    summary = finished(training, work)
    assert summary is not None
    trained = load_model(work / "model.safetensors")
    # a training measures its cells on a few pictures
    width = cell_width(list(read_all(load(training.dataset, split="train"))))
    threshold = CUTOFFS.get(name, trained.info.threshold)
    info = replace(trained.info, threshold=threshold, cell_px=round(width, 1))
    path = SHIPPED / f"{name}.safetensors"
    save_model(path, trained.model, info, half=True)
    allowed = None
    if name == NUCLEI:
        error = count_error(path, given.data)
        told = replace(info, training={**info.training, "count_error": error})
        save_model(path, trained.model, told, half=True)
        allowed = error["allowed"]
    export_onnx(load_model(path), path.with_suffix(".onnx"))
    tables = []
    for title, dataset in test_pictures(name, given.data):
        table = measured(dataset, models=open_models(name), by_group=name != NEURONS)
        rows = table.drop(columns="CPU s each").astype(str).to_dict("records")
        tables.append(f"**{title}**\n\n{markdown(rows)}")
        print(tables[-1], flush=True)
    settings, profile = summary["settings"], summary["settings"]["profile"]
    card = (CARDS / f"{name}.md").read_text()
    filled = card.format(
        arch=info.config.name,
        parameters=sum(p.numel() for p in trained.model.parameters()),
        megabytes=path.stat().st_size / 1e6,
        cell_px=info.cell_px,
        threshold=info.threshold,
        tables="\n\n".join(tables),
        minutes=summary["seconds"]["training"] / 60,
        processor=processor(),
        torch=version("torch"),
        seed=settings["seed"],
        steps=settings["recipe"]["epochs"] * profile["steps"],
        batch=settings["recipe"]["batch"],
        crop=profile["crop"],
        scale=info.scale,
        fingerprint=settings["fingerprint"][:12],
        allowed=allowed,
    )
    write_whole(SHIPPED / f"{name}.md", filled)


if __name__ == "__main__":
    main()
