"""A small dataset of bright discs on a dark ground: what a network learns in seconds."""

import csv
from pathlib import Path

import numpy as np
from skimage.draw import disk

from cellcount_lib.data.images import write_labels, write_png


def draw(rng, size=(96, 112), number=5, radius=9.0):
    """Return image and labels of discs that do not touch."""
    labels = np.zeros(size, np.int32)
    while labels.max() < number:
        centre = rng.uniform(radius + 1, np.array(size) - radius - 1)
        inside = disk(centre, radius, shape=size)
        around = disk(centre, radius + 3, shape=size)
        if not labels[around].any():
            labels[inside] = labels.max() + 1
    image = rng.integers(10, 40, (*size, 3)).astype(np.uint8)
    image[labels > 0] += np.array([140, 120, 20], np.uint8)
    return image, labels


def write_dataset(folder: Path, *, train=6, val=2, test=2, seed=0, **options) -> Path:
    """Write a folder dataset with a split."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    with (folder / "index.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "image", "label", "split"])
        for part, number in (("train", train), ("val", val), ("test", test)):
            for index in range(number):
                name = f"{part}{index}.png"
                image, labels = draw(rng, **options)
                write_png(folder / "images" / name, image)
                write_labels(folder / "labels" / name, labels)
                rows.writerow([name[:-4], f"images/{name}", f"labels/{name}", part])
    return folder


def disc_labels(size, places):
    """Labels of discs, each (row, column, radius); where two overlap, the first has the pixels."""
    labels = np.zeros(size, np.int32)
    for number, (row, column, radius) in enumerate(places, start=1):
        rows, columns = disk((row, column), radius, shape=size)
        free = labels[rows, columns] == 0
        labels[rows[free], columns[free]] = number
    return labels
