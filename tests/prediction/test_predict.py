"""``cellcount predict`` on real files, as a person uses it; the answers are known by drawing."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellcount_lib.data.images import write_png
from cellcount_lib.errors import InputError, WriteError
from cellcount_lib.inference.export import export_onnx
from cellcount_lib.inference.info import ModelInfo
from cellcount_lib.inference.model_file import load_model, save_model
from cellcount_lib.models import build
from cellcount_lib.prediction.models import open_models
from cellcount_lib.prediction.run import Counting, find_pictures, predict_files
from tests.command import cellcount
from tests.discs import draw

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    """A small Unet whose weights are set so that its logit is 40 (brightness - 0.4), as ONNX."""
    import torch
    from torch import nn

    model = build("small-unet", bn_momentum=0.1)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    first, second, *_, before, after, head = convs
    with torch.no_grad():
        first.weight[0, :, 1, 1] = 1 / 3  # the mean of the channels
        second.weight[0, 0, 1, 1] = 1
        skip = before.weight.shape[1] // 2  # decoder: (upsampled, skip) or (skip, upsampled)
        before.weight[0, 0, 1, 1] = 1
        before.weight[0, skip, 1, 1] = 1
        after.weight[0, 0, 1, 1] = 1
        head.weight[0, 0, ...] = 40
        head.bias.fill_(-16)
    path = tmp_path_factory.mktemp("model") / "bright.safetensors"
    info = ModelInfo(model.config, pixel_size_um=0.5, cell_px=28, training={"dataset": "by hand"})
    save_model(path, model, info)
    export_onnx(load_model(path), path.with_suffix(".onnx"))
    return path.with_suffix(".onnx")


@pytest.fixture
def pictures(tmp_path):
    """Five readable files of six planes, with the number of discs in each."""
    folder = tmp_path / "in"
    folder.mkdir()
    counts = {"a.png": 3, "b.tif": 5, "c.jpg": 2, "d.tif#1": 1, "d.tif#2": 4, "e.png": 0}
    made = {}
    for index, (name, number) in enumerate(counts.items()):
        rng = np.random.default_rng(index)
        made[name] = draw(rng, size=(150, 170), number=number, radius=14)
    write_png(folder / "a.png", made["a.png"][0])
    deep = made["b.tif"][0].astype(np.uint16) * 16 + 5
    tifffile.imwrite(folder / "b.tif", deep, photometric="rgb")
    Image.fromarray(made["c.jpg"][0]).save(folder / "c.jpg", quality=97)
    stack = np.stack([made["d.tif#1"][0], made["d.tif#2"][0]])
    tifffile.imwrite(folder / "d.tif", stack, photometric="rgb")
    write_png(folder / "e.png", made["e.png"][0])
    return folder, {name: labels for name, (_, labels) in made.items()}


def command(*arguments):
    return [sys.executable, "-m", "cellcount_lib", "predict", *map(str, arguments)]


def run_command(*arguments, **options):
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=200, **options
    )


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def tree(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_everything_once(pictures, model_file, tmp_path):
    folder, labels = pictures
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    (folder / "notes.txt").write_text("not a picture")
    out = tmp_path / "out"
    asked = ("--model", model_file, "--cell-size", 28, "--geojson", "--rois")
    ended = run_command(folder, *asked, "--out", out)
    assert ended.returncode == 1, ended.stderr
    assert "skipped: " in ended.stderr
    assert "broken.png" in ended.stderr
    assert "1 files could not be read" in ended.stderr
    assert f"6 pictures, 15 cells: {out / 'counts.csv'}" in ended.stdout

    rows = {Path(row["image"]).name: row for row in table(out / "counts.csv")}
    assert sorted(rows) == sorted([*labels, "broken.png"])
    assert rows["broken.png"]["status"] == "failed"
    assert rows["broken.png"]["error"]
    assert rows["broken.png"]["count"] == ""
    objects = table(out / "objects.csv")
    for name, truth in labels.items():
        row = rows[name]
        assert row["status"] == "ok"
        assert int(row["count"]) == truth.max()
        assert (row["protocol"], float(row["threshold"])) == ("recommended", 0.5)
        key = name.replace(".tif#", "_000").rsplit(".", 1)[0] if "#" in name else name[0]
        found = tifffile.imread(out / "labels" / f"{key}.tif")
        assert found.dtype == np.uint16
        if name != "c.jpg":  # JPEG rings around the discs
            np.testing.assert_array_equal(found > 0, truth > 0)
            assert int(row["area_px_total"]) == np.count_nonzero(truth)
        mine = [o for o in objects if Path(o["image"]).name == name]
        assert len(mine) == truth.max()
        for one in mine:
            at = truth[round(float(one["y"])), round(float(one["x"]))]
            assert at > 0
            if name != "c.jpg":
                ys, xs = np.nonzero(truth == at)
                assert float(one["x"]) == pytest.approx(xs.mean(), abs=1e-3)
                assert float(one["y"]) == pytest.approx(ys.mean(), abs=1e-3)
                assert int(one["area_px"]) == len(xs)
            assert 0.5 < float(one["confidence"]) <= 1
        overlay = np.asarray(Image.open(out / "overlays" / f"{key}.png"))
        assert overlay.shape == (*truth.shape, 3)
        outlines = json.loads((out / "geojson" / f"{key}.geojson").read_text())
        assert len(outlines["features"]) == truth.max()
        assert (out / "rois" / f"{key}.zip").exists()
    # intensities are those of the file: 16 bits in b.tif, three channels averaged
    deep = tifffile.imread(folder / "b.tif").astype(float).mean(axis=2)
    truth = labels["b.tif"]
    expected = np.mean([deep[truth == n].mean() for n in range(1, 6)])
    assert float(rows["b.tif"]["mean_intensity"]) == pytest.approx(expected, rel=1e-6)


def test_a_second_run_computes_only_what_changed(pictures, model_file, tmp_path):
    folder, _ = pictures
    out = tmp_path / "out"
    first = cellcount("predict", folder, "--model", model_file, "--out", out)
    assert first.returncode == 0, first.stderr
    before = tree(out)
    stamps = {p: p.stat().st_mtime_ns for p in (out / "labels").iterdir()}
    second = cellcount("predict", folder, "--model", model_file, "--out", out)
    assert "(6 were done before)" in second.stdout
    assert tree(out) == before
    assert {p: p.stat().st_mtime_ns for p in (out / "labels").iterdir()} == stamps
    shutil.copy(folder / "e.png", folder / "a.png")
    third = cellcount("predict", folder, "--model", model_file, "--out", out)
    assert "(5 were done before)" in third.stdout
    assert "6 pictures, 12 cells" in third.stdout
    other = cellcount("predict", folder, "--model", model_file, "--out", out, "--threshold", "0.6")
    assert "done before" not in other.stdout


def test_killed_and_run_again_it_ends_the_same(model_file, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(40):
        image, _ = draw(np.random.default_rng(index), size=(150, 170), number=4, radius=14)
        write_png(folder / f"{index:02d}.png", image)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    cellcount("predict", folder, "--model", model_file, "--out", whole)
    for at_least in (1, 12, 25):
        process = subprocess.Popen(
            command(folder, "--model", model_file, "--out", cut),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if (cut / "state").exists() and len(list((cut / "state").iterdir())) >= at_least:
                break
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    ended = cellcount("predict", folder, "--model", model_file, "--out", cut)
    assert ended.returncode == 0, ended.stderr
    assert "done before" in ended.stdout
    left = {name: data for name, data in tree(cut).items() if not name.endswith(".part")}
    assert left == tree(whole)


def test_pixel_size_and_cell_size_rescale(model_file, tmp_path):
    image, _ = draw(np.random.default_rng(0), size=(200, 240), number=6, radius=14)
    small = image[::2, ::2]
    tifffile.imwrite(
        tmp_path / "says.tif", small, photometric="rgb", resolution=(1e4, 1e4), resolutionunit=3
    )
    write_png(tmp_path / "silent.png", small)

    def count(*options):
        out = tmp_path / "out"
        ended = cellcount(
            "predict", tmp_path / "s*.[tp][in][fg]", "--model", model_file, "--out", out, *options
        )
        assert ended.returncode == 0, ended.stderr
        return {
            Path(r["image"]).name: (
                int(r["count"]),
                round(float(r["magnified"]), 1),
                r["cell_px_from"],
            )
            for r in table(out / "counts.csv")
        }

    both = ["says.tif", "silent.png"]
    (cells, ratio, where), other = count().values()
    assert (cells, where) == (6, "found")
    assert other == (cells, ratio, where)
    assert 1.8 < ratio < 2.2
    assert count("--pixel-size", 1) == dict.fromkeys(both, (6, 2, "pixel size"))
    (tmp_path / "sizes.csv").write_text("image,cell_px\nsays.tif,14\nsilent.png,28\n")
    by_table = count("--cell-size", tmp_path / "sizes.csv")
    assert by_table == {"says.tif": (6, 2, "option"), "silent.png": (0, 1, "option")}
    assert count("--cell-size", 14) == dict.fromkeys(both, (6, 2, "option"))
    rows = {Path(r["image"]).name: r for r in table(tmp_path / "out" / "counts.csv")}
    says = rows["says.tif"]
    assert float(says["area_um2_mean"]) == pytest.approx(float(says["area_px_mean"]), rel=1e-3)
    assert rows["silent.png"]["area_um2_mean"] == ""
    with tifffile.TiffFile(tmp_path / "out" / "labels" / "says.tif") as file:
        assert file.pages.first.tags["XResolution"].value == (10000, 1)


def test_channels(model_file, tmp_path):
    image, _ = draw(np.random.default_rng(0), size=(150, 170), number=5, radius=14)
    both = np.stack([np.full(image.shape[:2], 20, np.uint8), image[..., 0]])
    tifffile.imwrite(tmp_path / "a.tif", both, imagej=True, metadata={"axes": "CYX"})
    silent = cellcount(
        "predict", tmp_path / "a.tif", "--model", model_file, "--out", tmp_path / "out"
    )
    assert silent.returncode == 1
    assert "found 2 channels; say which to use" in silent.stderr
    for channels, cells in (("2", 5), ("1", 0)):
        places = [tmp_path / "a.tif", "--model", model_file, "--out", tmp_path / "out"]
        ended = cellcount("predict", *places, "--channels", channels)
        assert f"1 pictures, {cells} cells" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing*.png"], "expected pictures .*found nothing of that name"),
        (["{empty}"], "a folder without any"),
        (["{a}", "--model", "no-such-model"], "unknown model 'no-such-model'"),
        (["{a}", "--model", "{a}"], "expected an ONNX file"),
        (["{a}", "--channels", "x"], "--channels: expected"),
        (["{a}", "--pixel-size", "0"], "--pixel-size"),
        (["{a}", "--cell-size", "-3"], "--cell-size: expected a finite number > 0"),
        (["{a}", "--cell-size", "wide"], "--cell-size: expected a width in pixels, auto"),
        (["{a}", "--cell-size", "no.csv"], "no.csv: expected a CSV file"),
        (["{a}", "--model", "otsu-watershed", "--threshold", "0.5"], "chooses its own"),
        (["{a}", "--protocol", "clissa"], "did you mean 'clissa2023'"),
        (["{a}", "--device", "cpu"], "need the safetensors file"),
        (["{a}", "--model", "neurons", "--device", "cuda:77"], "cannot be used here"),
        (["{a}", "--model", "neurons", "--precision", "fp8"], "unknown precision"),
        (["{a}", "--out", "{a}/x"], "could not be written"),
    ],
)
def test_mistakes_are_one_sentence(pictures, model_file, tmp_path, arguments, message):
    folder, _ = pictures
    (tmp_path / "empty").mkdir()
    places = {"a": folder / "a.png", "empty": tmp_path / "empty"}
    given = [a.format(**places) for a in arguments]
    defaults = {"--model": model_file, "--out": tmp_path / "out"}
    for name, value in defaults.items():
        if name not in given:
            given += [name, value]
    ended = cellcount("predict", *given)
    assert ended.returncode == 1
    assert re.search(message, ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("error: ")


# --- the parts -----------------------------------------------------------------------------------


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_sources_are_found_once_and_named_apart(tmp_path):
    paths = [
        touch(tmp_path / p)
        for p in ("one/x.png", "one/x.tif", "two/x.png", "two/X.PNG", "two/y.jpg", "two/z.txt")
    ]
    found = find_pictures([str(tmp_path / "one"), str(tmp_path / "*" / "*.*"), str(paths[0])])
    assert [s.path for s in found] == sorted(paths[:5])
    keys = [s.key.lower() for s in found]
    assert len(set(keys)) == 5
    assert {s.path.name: s.key for s in found}["y.jpg"] == "y"
    # results that lie inside a folder of pictures are not pictures
    touch(tmp_path / "one" / "out" / "overlays" / "x.png")
    (tmp_path / "one" / "out" / "state").mkdir()
    again = find_pictures([str(tmp_path / "one" / "**")], out=tmp_path / "one" / "out")
    assert [s.path for s in again] == sorted(paths[:2])
    assert find_pictures([str(paths[5])])[0].path == paths[5]  # asked for by name: taken


def test_names_of_results_stay_inside_their_folder(tmp_path, monkeypatch):
    for place in ("one/images/1.png", "two/images/1.png"):  # name and folder are the same
        touch(tmp_path / place)
    monkeypatch.chdir(tmp_path)
    found = find_pictures(["one/images", "two/images", str(tmp_path / "one" / "images")])
    assert len(found) == 2  # each once, however it is spelled
    assert len({s.key for s in found}) == 2
    for source in found:
        assert (tmp_path / "out" / source.key).parent == tmp_path / "out"


def test_a_file_never_has_the_name_of_another_files_page(tmp_path):
    for name in ("a.tif", "a_0001.png", "b_0001.png", "A_0002.png"):
        touch(tmp_path / name)
    keys = {s.path.name: s.key for s in find_pictures([str(tmp_path)])}
    assert keys == {
        "a.tif": "a",  # its pages: a_0001, a_0002 ...
        "a_0001.png": "a_0001~",
        "A_0002.png": "A_0002~",
        "b_0001.png": "b_0001",  # there is no b
    }


def test_a_result_that_cannot_be_written_ends_the_run(pictures, model_file, tmp_path, monkeypatch):
    folder, _ = pictures
    models = open_models(str(model_file))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "labels").write_text("a file where a folder should be")
    with pytest.raises(WriteError, match="could not be written"):
        predict_files(find_pictures([str(folder)]), models, Counting(("m",)), tmp_path / "out")


def test_a_damaged_state_file_is_computed_again(pictures, model_file, tmp_path):
    folder, _ = pictures
    models, out = open_models(str(model_file)), tmp_path / "out"
    sources = find_pictures([str(folder / "a.png")])
    assert predict_files(sources, models, Counting(("m",)), out).before == 0
    assert predict_files(sources, models, Counting(("m",)), out).before == 1
    (out / "state" / "a.json").write_text('{"mark"')
    assert predict_files(sources, models, Counting(("m",)), out).before == 0


def test_more_objects_than_sixteen_bits_hold():
    from cellcount_lib.errors import DataError
    from cellcount_lib.prediction.outputs import write_outputs

    labels = np.arange(70_000, dtype=np.int32).reshape(100, 700)
    with pytest.raises(DataError, match="at most 65535"):
        write_outputs(Path("x"), "k", None, labels, pixel_size_um=None, formats=())


def test_the_model_made_by_hand_is_what_it_says(model_file):
    grey = np.arange(256, dtype=np.uint8)[None, :, None].repeat(16, 0).repeat(3, 2)
    found = open_models(str(model_file))[0].apply(grey).heatmap
    edge = np.flatnonzero(found[8] > 0.5)[0]
    assert 90 < edge < 115  # 0.4 of 255 is 102


@pytest.mark.parametrize("options", [[], ["--device", "cpu", "--precision", "fp32"]])
def test_without_torch(pictures, model_file, tmp_path, options):
    """Where neither it nor what belongs to a training is installed, ONNX Runtime counts."""
    absent = ("torch", "torchvision", "fastai", "kornia", "safetensors", "matplotlib", "seaborn")
    code = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from cellcount_lib.cli import main
main()
"""
    folder, _ = pictures
    model = model_file if not options else model_file.with_suffix(".safetensors")
    given = [sys.executable, "-c", code, "predict", folder, "--model", model]
    ended = subprocess.run(
        [*map(str, given), "--out", str(tmp_path / "out"), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if options:
        assert ended.returncode == 1
        assert ended.stderr == "error: this needs torch: pip install 'cellcount-book[train]'\n"
    else:
        assert ended.returncode == 0, ended.stderr
        assert "6 pictures, 15 cells" in ended.stdout


def test_globs_in_vain():
    with pytest.raises(InputError, match="nothing of that name"):
        find_pictures(["no/such/*.png"])
