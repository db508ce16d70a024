"""Pictures that are broken, foreign or odd: one line each, and the rest is done."""

import csv
import re
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

from cellcount_lib.errors import InputError
from cellcount_lib.inference.engine import load_onnx
from cellcount_lib.inference.network import predict
from cellcount_lib.prediction.models import OTSU, open_models
from cellcount_lib.prediction.run import Counting, find_pictures, predict_files
from tests.command import cellcount
from tests.discs import draw

DISCS = draw(np.random.default_rng(0), size=(150, 170), number=5, radius=14)[0]
GREY = DISCS[..., 0]


def png(name):
    return lambda folder, values, **how: Image.fromarray(values).save(folder / name, **how)


def bomb(folder):
    """A PNG of a kilobyte that says it has 60000x60000 pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    parts = [
        chunk(b"IHDR", header),
        chunk(b"IDAT", zlib.compress(b"\0" * 999)),
        chunk(b"IEND", b""),
    ]
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def rotated(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(DISCS).save(folder / "exif.jpg", quality=97, exif=exif)


def tiff(name, values, **how):
    return lambda folder: tifffile.imwrite(folder / name, values, **how)


CASES = {
    # name: (how it is written, what its row says: a count, or words of the error)
    "good.png": (lambda f: png("good.png")(f, DISCS), 5),
    "broken.png": (
        lambda f: (f / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot"),
        "damaged|begins",
    ),
    "cut.png": (
        lambda f: (
            png("cut.png")(f, DISCS),
            (f / "cut.png").write_bytes((f / "cut.png").read_bytes()[:3000]),
        ),
        "truncated or damaged",
    ),
    "nothing.tif": (lambda f: (f / "nothing.tif").write_bytes(b""), "the file is empty"),
    "text.jpg": (lambda f: (f / "text.jpg").write_text("hello"), "found a file that begins with"),
    "bomb.png": (bomb, "expected at most 179 million pixels"),
    "constant.png": (lambda f: png("constant.png")(f, np.full((40, 50), 77, np.uint8)), 0),
    "nan.tif": (tiff("nan.tif", np.full((40, 50), np.nan, np.float32)), "found NaN or infinity"),
    "negative.tif": (tiff("negative.tif", GREY.astype(np.int16) - 300), 5),
    "dot.png": (lambda f: png("dot.png")(f, np.zeros((1, 1), np.uint8)), 0),
    "strip.png": (lambda f: png("strip.png")(f, np.zeros((3, 5000), np.uint8)), 0),
    "cmyk.jpg": (
        lambda f: Image.fromarray(DISCS).convert("CMYK").save(f / "cmyk.jpg"),
        "mode CMYK",
    ),
    "palette.png": (
        lambda f: Image.fromarray(GREY).convert("P").save(f / "palette.png"),
        5,
    ),
    "exif.jpg": (rotated, 5),
    "seven.tif": (
        tiff("seven.tif", np.stack([GREY] * 7), metadata={"axes": "CYX"}, photometric="minisblack"),
        "found 7 channels",
    ),
    "folder.png": (lambda f: (f / "folder.png").mkdir(), None),  # no picture
}


def test_one_line_each_and_the_rest_is_done(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for write, _ in CASES.values():
        write(folder)
    ended = cellcount("predict", folder, "--out", out, "--model", OTSU, "--cell-size", "28")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    with (out / "counts.csv").open() as file:
        rows = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    assert set(rows) == {name for name, (_, said) in CASES.items() if said is not None}
    for name, row in rows.items():
        said = CASES[name][1]
        if isinstance(said, int):
            assert (row["status"], int(row["count"])) == ("ok", said), (name, row)
        else:
            assert row["status"] == "failed", name
            assert re.search(said, row["error"]), (name, row["error"])
            assert "\n" not in row["error"]
            assert ended.stderr.count(f"skipped: {folder / name}") == 1
    assert len(list((out / "labels").iterdir())) == sum(
        isinstance(s, int) for _, s in CASES.values()
    )


def test_a_stack_of_200_pages_has_200_rows(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY[:60, :80]] * 200), photometric="minisblack")
    ended = cellcount("predict", tmp_path / "a.tif", "--out", tmp_path / "out", "--model", OTSU)
    assert "200 pictures" in ended.stdout
    assert (tmp_path / "out" / "labels" / "a_0200.tif").exists()


def test_a_stack_that_does_not_fit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((9, 100, 100), np.uint8), photometric="minisblack"
    )
    free = psutil.virtual_memory()._replace(available=4 * 89_999)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    ended = cellcount("predict", tmp_path / "a.tif", "--out", tmp_path / "out", "--model", OTSU)
    assert "a quarter of the free memory" in ended.stderr


@pytest.mark.parametrize("size", [(1, 1), (3, 5000), (5000, 3)])
def test_networks_take_any_shape(size):
    found = predict(load_onnx(), np.zeros((*size, 3), np.uint8))
    assert found.labels.shape == size
    assert found.labels.max() == 0


def test_two_at_once_on_one_folder_leave_what_one_leaves(tmp_path):
    for number in range(6):
        image, _ = draw(np.random.default_rng(number), size=(150, 170), number=4, radius=14)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    pictures, models = find_pictures([str(tmp_path)]), open_models(OTSU)

    def work(out):
        predict_files(pictures, models, Counting((OTSU,)), out, jobs=2)

    threads = [threading.Thread(target=work, args=(tmp_path / "both",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work(tmp_path / "one")
    both, one = (
        {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
        for out in (tmp_path / "both", tmp_path / "one")
    )
    assert both == one


def test_results_beside_the_pictures_and_never_over_anothers(tmp_path):
    png("a.png")(tmp_path, DISCS)
    before = (tmp_path / "a.png").read_bytes()
    for _ in range(2):  # its own results are no pictures the second time
        ended = cellcount("predict", tmp_path, "--out", tmp_path, "--model", OTSU)
        assert "1 pictures" in ended.stdout
        assert (tmp_path / "a.png").read_bytes() == before
    (tmp_path / "data" / "labels").mkdir(parents=True)
    with pytest.raises(InputError, match=r"labels/ in it was not written by this command"):
        find_pictures([str(tmp_path / "a.png")], out=tmp_path / "data")
