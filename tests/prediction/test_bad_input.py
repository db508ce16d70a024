"""Pictures that are broken, foreign or odd: one line each, and the rest is done.

`CASES` are files, `BESIDE` what else can go wrong; the page for biologists (``book/predict.md``)
has a table that says what happens, and a test compares them.
"""

import csv
import errno
import re
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image
from safetensors.numpy import save as save_bytes

from cellcount_lib.errors import InputError
from cellcount_lib.inference.engine import load_onnx
from cellcount_lib.inference.info import DEFAULT, SHIPPED
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


def cut(folder):
    png("cut.png")(folder, DISCS)
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:3000])


def tiff_bomb(folder):
    """A TIFF of a few kilobytes that says it has 60000x60000 pixels."""
    values = np.zeros((16, 16), np.uint8)
    path = folder / "bomb.tif"
    tifffile.imwrite(path, values, photometric="minisblack", rowsperstrip=16)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for tag in ("ImageWidth", "ImageLength"):
            file.pages.first.tags[tag].overwrite(60_000)


class Case(NamedTuple):
    write: Callable[[Path], object]  # to a folder
    row: str  # of the table on the page
    says: int | str | None  # a count, or words of the error; None: no picture


CASES = {
    "good.png": Case(lambda f: png("good.png")(f, DISCS), "8 bit, grey or colour", 5),
    "broken.png": Case(
        lambda f: (f / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot"),
        "damaged, cut short, empty or of another kind",
        "damaged|begins",
    ),
    "cut.png": Case(cut, "damaged, cut short, empty or of another kind", "truncated or damaged"),
    "nothing.tif": Case(
        lambda f: (f / "nothing.tif").write_bytes(b""),
        "damaged, cut short, empty or of another kind",
        "the file is empty",
    ),
    "text.jpg": Case(
        lambda f: (f / "text.jpg").write_text("hello"),
        "damaged, cut short, empty or of another kind",
        "found a file that begins with",
    ),
    "bomb.png": Case(
        bomb, "a PNG or JPEG of more than 179 million pixels", "at most 179 million pixels"
    ),
    "bomb.tif": Case(
        tiff_bomb,
        "a TIFF, CZI, ND2 or LIF of more than a quarter of the free memory",
        r"a quarter of the free memory, found 3\.6 GB",
    ),
    "constant.png": Case(
        lambda f: png("constant.png")(f, np.full((40, 50), 77, np.uint8)), "one grey everywhere", 0
    ),
    "nan.tif": Case(
        tiff("nan.tif", np.full((40, 50), np.nan, np.float32)),
        "NaN or infinity among the values",
        "found NaN or infinity",
    ),
    "negative.tif": Case(
        tiff("negative.tif", GREY.astype(np.int16) - 300), "negative values, fractions, 32 bit", 5
    ),
    "dot.png": Case(lambda f: png("dot.png")(f, np.zeros((1, 1), np.uint8)), "1x1, 3x5000", 0),
    "strip.png": Case(
        lambda f: png("strip.png")(f, np.zeros((3, 5000), np.uint8)), "1x1, 3x5000", 0
    ),
    "cmyk.jpg": Case(
        lambda f: Image.fromarray(DISCS).convert("CMYK").save(f / "cmyk.jpg"),
        "CMYK, the colours of print",
        "mode CMYK",
    ),
    "palette.png": Case(
        lambda f: Image.fromarray(GREY).convert("P").save(f / "palette.png"), "a palette", 5
    ),
    "exif.jpg": Case(rotated, "a note of a camera (EXIF) to turn it", 5),
    "seven.tif": Case(
        tiff("seven.tif", np.stack([GREY] * 7), metadata={"axes": "CYX"}, photometric="minisblack"),
        "two, or more than three channels",
        "found 7 channels",
    ),
    "folder.png": Case(lambda f: (f / "folder.png").mkdir(), "a folder named like a picture", None),
}


def test_one_line_each_and_the_rest_is_done(tmp_path, monkeypatch):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for case in CASES.values():
        case.write(folder)
    free = psutil.virtual_memory()._replace(available=4_000_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    ended = cellcount("predict", folder, "--out", out, "--model", OTSU, "--cell-size", "28")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    with (out / "counts.csv").open() as file:
        rows = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    assert set(rows) == {name for name, case in CASES.items() if case.says is not None}
    for name, row in rows.items():
        says = CASES[name].says
        if isinstance(says, int):
            assert (row["status"], int(row["count"])) == ("ok", says), (name, row)
        else:
            assert row["status"] == "failed", name
            assert re.search(says, row["error"]), (name, row["error"])
            assert "\n" not in row["error"]
            assert ended.stderr.count(f"skipped: {folder / name}") == 1
    assert len(list((out / "labels").iterdir())) == sum(
        isinstance(case.says, int) for case in CASES.values()
    )
    with tifffile.TiffFile(out / "labels" / "exif.tif") as file:
        assert file.pages.first.shape == GREY.shape  # not turned
    assert "flat picture" in rows["constant.png"]["check"]


def test_a_stack_of_200_pages_has_200_rows(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY[:20, :24]] * 200), photometric="minisblack")
    ended = cellcount("predict", tmp_path / "a.tif", "--out", tmp_path / "out", "--model", OTSU)
    assert "200 pictures" in ended.stdout
    assert (tmp_path / "out" / "labels" / "a_0200.tif").exists()


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


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.onnx", lambda: (SHIPPED / f"{DEFAULT}.onnx").read_bytes()[:-1000], "cut short"),
        ("m.onnx", lambda: b"", "expected an ONNX file"),
        ("m.onnx", lambda: b"a text", "expected an ONNX file"),
        ("m.onnx", lambda: foreign().SerializeToString(), "expected a model written by this pro"),
        ("m.safetensors", lambda: b"a text", "cut short or of another kind"),
        ("m.safetensors", lambda: save_bytes({"x": np.zeros(3)}), "expected a model written by"),
    ],
)
def test_foreign_and_cut_models_end_the_command_before_it_counts(tmp_path, name, content, says):
    png("a.png")(tmp_path, DISCS)
    (tmp_path / name).write_bytes(content())
    ended = cellcount(
        "predict", tmp_path / "a.png", "--out", tmp_path / "out", "--model", tmp_path / name
    )
    assert ended.returncode == 1
    assert re.fullmatch(rf"error: .*{name}: .*{says}.*\n", ended.stderr), ended.stderr
    assert not (tmp_path / "out").exists()


def foreign():
    """Return the smallest ONNX graph, of nobody."""
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", *([v] for v in values)
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_a_folder_that_cannot_be_written_is_one_line_and_keeps_what_it_has(tmp_path, monkeypatch):
    png("a.png")(tmp_path, DISCS)
    given = ["predict", tmp_path / "a.png", "--out", tmp_path / "out", "--model", OTSU]
    cellcount(*given)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def refuse(self, *_, **__):  # what an administrator may do nobody refuses
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", refuse)
        ended = cellcount(*given, "--cell-size", 20)
    assert ended.returncode == 1
    assert re.fullmatch(r"error: .*could not be written \(Permission denied\).*\n", ended.stderr)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


BESIDE = {
    "a stack of many planes": test_a_stack_of_200_pages_has_200_rows,
    "a model file that is cut short or of another kind": (
        test_foreign_and_cut_models_end_the_command_before_it_counts
    ),
    "two commands at once with one folder of results": (
        test_two_at_once_on_one_folder_leave_what_one_leaves
    ),
    "results in the folder of the pictures": (
        test_results_beside_the_pictures_and_never_over_anothers
    ),
    "a folder of results that cannot be written": (
        test_a_folder_that_cannot_be_written_is_one_line_and_keeps_what_it_has
    ),
}


def test_the_page_says_what_happens():
    page = (Path(__file__).parents[2] / "book" / "predict.md").read_text()
    section = page.split("## Files that are broken or odd")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.M)[1:])
    assert set(rows) == {*(case.row for case in CASES.values()), *BESIDE}
    for name, case in CASES.items():
        begins = {int: "counted", str: "skipped", type(None): "passed over"}[type(case.says)]
        assert rows[case.row].startswith(begins), name
