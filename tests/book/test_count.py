"""The page that counts, in a real browser: the same cells as in Python, and nothing leaves it."""

import csv
import dataclasses
import io
import json
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cellcount_lib.data.simulate import simulate
from cellcount_lib.errors import DataError
from cellcount_lib.inference.engine import load_onnx
from cellcount_lib.inference.formulations import Distance, Flow, ThreeClasses
from cellcount_lib.inference.network import predict
from cellcount_lib.live import assets
from cellcount_lib.postprocess.postprocess import POSTPROCESS
from cellcount_lib.prediction.counter import counted
from cellcount_lib.prediction.intervals import interval
from cellcount_lib.prediction.models import CHOSEN_FROM, NEURONS, NUCLEI, OTSU, open_models
from cellcount_lib.prediction.outputs import measure
from cellcount_lib.prediction.reading import read_pictures
from cellcount_lib.scoring.matching import match
from cellcount_lib.scoring.protocols import protocol
from tests.book import live
from tests.book.live import DROP, ask, base64_of, numbers, png, tiff

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Count</title>
<div class="cellcount-count"></div><script src="count/count.js"></script></html>"""

COUNT = """async ([file, name, said, mirrored]) => {
  const { readPicture, startEngine, load, bytesOf, ABOUT } = globalThis.cellcount;
  if (mirrored) {
    globalThis.engine = null; // that one has opened the network as it is
    ABOUT.models[name].mirrored = true;
  }
  const engine = await (globalThis.engine ??= startEngine());
  const given = await readPicture(new File([bytesOf(file)], "a"), () => load("tiff"));
  const { suits } = await engine.ask("look", { given });
  if (name === "auto") name = suits;
  if (name) await engine.open(name);
  const info = ABOUT.models[name] ?? { rules: ABOUT.rules, threshold: 0 };
  const about = { name, rules: info.rules, said, cutoff: info.threshold };
  const { labels, cellPx, objects } = await engine.ask("count", about);
  return { labels: text(labels), cellPx, name, objects };
}"""

READ = """async ([bytes, name]) => {
  const { readPicture, load, bytesOf } = globalThis.cellcount;
  try {
    const read = await readPicture(new File([bytesOf(bytes)], name), () => load("tiff"));
    return { ...read, rgb: text(read.rgb), grey: text(read.grey) };
  } catch (error) { return { error: error.message }; }
}"""

LABEL = """([mask, heatmap, width, height, rules, scale]) => {
  const { bytesOf, postprocess } = globalThis.cellcount;
  const heat = new Float32Array(bytesOf(heatmap).buffer);
  return text(postprocess(bytesOf(mask), width, height, rules, scale, heat).labels);
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return live.written(tmp_path_factory.mktemp("count"), PAGE)


@pytest.fixture(scope="module")
def page(browser, folder):
    with live.from_disk(browser, folder) as (page, _):
        yield page


STYLES = ("fnc-yellow", "nuclei-medium", "nuclei-overcrowded", "nuclei-small", "nuclei-uneven")
WIDTHS = (None, None, 20, 60)


def test_the_page_finds_the_cells_that_python_finds(page):
    tp = n = 0
    opened = {name: open_models(name) for name in ("auto", OTSU, *CHOSEN_FROM)}
    for i in range(20):
        sample = simulate(40 + i, style=STYLES[i % 5], size=(300, 400))
        asked = ["auto", OTSU, *CHOSEN_FROM][i // 5 % (2 + len(CHOSEN_FROM))]
        said = WIDTHS[i % 4]
        models = opened[asked]
        model, prediction, width, _ = counted(sample.image, models, cell_px=said)
        given = None if asked == OTSU else asked
        found = ask(page, COUNT, [base64_of(png(sample.image)), given, said, False])
        assert (found["name"] or OTSU) == model.name.split()[0]
        assert found["cellPx"] == (None if width is None else pytest.approx(width))
        labels = numbers(found["labels"], np.int32, prediction.labels.shape)
        matched = match(prediction.labels, labels, rule="hungarian-iou", threshold=0.9)
        tp += len(matched.pairs)
        n += matched.n_true + matched.n_pred
        assert ((labels > 0) == (prediction.labels > 0)).mean() > 0.9999
        for one in found["objects"]:
            inside = labels == one["object"]
            assert one["area_px"] == inside.sum()
            assert [one["y"], one["x"]] == pytest.approx(np.argwhere(inside).mean(axis=0))
            grey = sample.image.mean(axis=2)
            assert one["mean_intensity"] == pytest.approx(grey[inside].mean(), rel=1e-5)
            if prediction.heatmap is not None:
                heat = prediction.heatmap[inside].mean()
                assert one["confidence"] == pytest.approx(heat, abs=1e-3)
    assert n > 500
    assert 2 * tp / n >= 0.99


SWEEP = """async ([png, name, said, cutoffs]) => {
  const { readPicture, startEngine, bytesOf, ABOUT } = globalThis.cellcount;
  const engine = await (globalThis.engine ??= startEngine());
  await engine.ask("look", { given: await readPicture(new File([bytesOf(png)], "a.png")) });
  await engine.open(name);
  const about = { name, rules: ABOUT.models[name].rules, said, cutoffs };
  return (await engine.ask("sweep", about)).counts;
}"""


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        (NUCLEI, {"index": 45, "style": "nuclei-uneven", "size": (300, 400)}),
        (NEURONS, {"index": 250, "style": "fnc-yellow", "size": (600, 800)}),
    ],
)
def test_the_count_at_every_cutoff_is_that_of_python(page, name, drawn):
    image = simulate(**drawn).image
    cutoffs = [0.05, 0.3, 0.6, 0.95]
    (model,) = open_models(name)
    # the width is found at the network's own cutoff, and stays
    width = counted(image, [model]).cell_px
    here = [
        np.unique(counted(image, [model], cell_px=width, threshold=c).prediction.labels).size - 1
        for c in cutoffs
    ]
    assert here[1] > here[-1]
    said = None if name == NUCLEI else width
    found = ask(page, SWEEP, [base64_of(png(image)), name, said, cutoffs])
    assert found == pytest.approx(here, rel=0.02, abs=1)  # a few pixels are as good as on a cutoff


def test_an_interval_is_that_of_python(page):
    asked = [(n, allowed) for n in (0, 1, 8, 24, 99, 1000) for allowed in (0.0, 0.7, 1.5, 2.0, 4.1)]
    found = page.evaluate("(all) => all.map((one) => globalThis.cellcount.interval(...one))", asked)
    assert [tuple(one) for one in found] == [interval(*one) for one in asked]


def test_a_model_that_sees_mirror_images_does_so_on_the_page(page):
    image = simulate(1, style="nuclei-medium", size=(260, 330)).image
    name = NUCLEI
    network = load_onnx(name)
    plain, want = (
        predict(dataclasses.replace(network, mirrored=mirrored), image, cell_px=30).labels
        for mirrored in (False, True)
    )
    found = ask(page, COUNT, [base64_of(png(image)), name, 30, True])
    labels = numbers(found["labels"], np.int32, want.shape)
    assert want.max() > 3
    assert (plain != want).any()
    assert (labels == want).mean() > 0.9999


@pytest.fixture(scope="module")
def crowd():
    return simulate(1, style="nuclei-overcrowded", size=(240, 320)).labels


@pytest.mark.parametrize("scale", [1.0, 1.7])
@pytest.mark.parametrize(
    "asks", [Distance(), ThreeClasses(4), Flow()], ids=lambda a: type(a).__name__
)
def test_other_ways_to_tell_cells_apart(page, crowd, asks, scale):
    heat = planes = asks.probability(crowd)
    if asks.planes:
        noise = np.random.default_rng(0).normal(0, 1, (asks.planes, *crowd.shape))
        planes = asks.perfect(crowd)
        planes[1:] += noise.astype(np.float32)
        planes[0] = heat
    settings = asks.adapt(protocol("recommended"), magnification=2.0).postprocess
    want = settings.label(heat > 0.5, scale=scale, heatmap=planes)
    assert want.max() > 10
    given = [base64_of((heat > 0.5).tobytes()), base64_of(planes.tobytes()), 320, 240]
    answer = ask(page, LABEL, [*given, assets.rules(settings), scale])
    found = numbers(answer, np.int32, want.shape)
    assert ((found > 0) == (want > 0)).all()
    matched = match(want, found, rule="hungarian-iou", threshold=0.9)
    assert 2 * len(matched.pairs) / (matched.n_true + matched.n_pred) >= 0.99


def png16(array) -> bytes:
    """Encode 16 bits with all five filters of PNG, row by row in turn (RFC 2083, section 6)."""
    height, width = array.shape[:2]
    channels = 1 if array.ndim == 2 else array.shape[2]
    step = 2 * channels
    rows = array.astype(">u2").reshape(height, -1).view(np.uint8).astype(int)
    padded = np.pad(rows, ((1, 0), (step, 0)))
    left, up, corner = padded[1:, :-step], padded[:-1, step:], padded[:-1, :-step]
    apart = np.abs([up - corner, left - corner, left + up - 2 * corner])
    paeth = np.choose(apart.argmin(axis=0), [left, up, corner])
    guesses = [0 * rows, left, up, (left + up) // 2, paeth]
    lines = b"".join(
        bytes([y % 5]) + ((rows[y] - guesses[y % 5][y]) % 256).astype(np.uint8).tobytes()
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    colour = {1: 0, 3: 2, 4: 6}[channels]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    whole = zlib.compress(lines)
    parts = chunk(b"IDAT", whole[:50]) + chunk(b"IDAT", whole[50:])
    return b"\x89PNG\r\n\x1a\n" + header + parts + chunk(b"IEND", b"")


def lzw(array) -> bytes:
    data = io.BytesIO()
    Image.fromarray(array).save(data, format="TIFF", compression="tiff_lzw")
    return data.getvalue()


COLOUR = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
DEEP = np.random.default_rng(1).gamma(2, 900, (41, 29)).astype(np.uint16)
DEEP_COLOUR = np.random.default_rng(2).integers(0, 4000, (23, 31, 3), dtype=np.uint16)
SIGNED = np.where(DEEP > 2000, 1500, -500).astype(np.int16)  # cells on a ground below 0
FILES = {
    "grey.png": png(COLOUR[..., 0]),
    "colour.png": png(COLOUR),
    "deep.png": png16(DEEP),
    "deep-colour.png": png16(DEEP_COLOUR),
    "deep-few-levels.png": png16(DEEP // 64),
    "grey.tif": tiff(COLOUR[..., 0]),
    "colour.tif": tiff(COLOUR, photometric="rgb"),
    "deep.tif": tiff(DEEP, compression="zlib", predictor=2),
    "deep-big-endian.tif": tiff(DEEP, byteorder=">"),
    "deep-colour.tif": tiff(DEEP_COLOUR, photometric="rgb", compression="zlib"),
    "alpha.tif": tiff(np.dstack([COLOUR, COLOUR[..., 0]]), photometric="rgb", extrasamples=[2]),
    "tiles.tif": tiff(DEEP, tile=(16, 16)),
    "strips.tif": tiff(DEEP, rowsperstrip=7),
    "lzw.tif": lzw(COLOUR),
    "float.tif": tiff((DEEP / 7).astype(np.float32)),
    "float-big-endian.tif": tiff((DEEP / 7).astype(np.float32), byteorder=">"),
    "float-alpha.tif": tiff(
        np.dstack([DEEP_COLOUR / -7, np.full((23, 31), 1e6)]).astype(np.float32),
        photometric="rgb",
        extrasamples=[2],
    ),
    "signed.tif": tiff(SIGNED),
    "signed-big-endian.tif": tiff(SIGNED, byteorder=">"),
    "signed-8.tif": tiff((SIGNED // 20).astype(np.int8)),
    "signed-8-above-0.tif": tiff((DEEP % 100).astype(np.int8)),
    "signed-levels.tif": tiff(DEEP.astype(np.int16) - 900, compression="zlib", predictor=2),
    "signed-colour.tif": tiff(DEEP_COLOUR.astype(np.int16) - 900, photometric="rgb"),
    "signed-32.tif": tiff(100_000 - 70 * DEEP.astype(np.int32)),
    "signed-32-big-endian.tif": tiff(100_000 - 70 * DEEP.astype(np.int32), byteorder=">"),
    "unsigned-32.tif": tiff(DEEP.astype(np.uint32) + 3_000_000_000, compression="zlib"),
    "constant.png": png16(np.full((9, 9), 3000, np.uint16)),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_read_as_python_reads_them(page, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    (plane,) = read_pictures(path).planes
    read = ask(page, READ, [base64_of(FILES[name]), name])
    assert "error" not in read, read
    shape = (read["height"], read["width"])
    assert numbers(read["rgb"], np.uint8, (*shape, 3)).tolist() == plane.image.tolist()
    grey = numbers(read["grey"], np.float32, shape)
    stored = plane.stored.mean(axis=2, dtype=np.float64)
    np.testing.assert_allclose(grey, stored, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("kind", [np.float32, np.int16])
def test_intensities_are_in_the_units_of_the_file(page, tmp_path, kind):
    path = tmp_path / "cells.tif"
    image = simulate(1, style="nuclei-medium", size=(260, 330)).image
    path.write_bytes(tiff((image[..., 0] * 12.3 - 400).astype(kind)))
    (plane,) = read_pictures(path).planes
    want = measure(plane, counted(plane.image, open_models(OTSU)).prediction, None).objects
    found = ask(page, COUNT, [base64_of(path.read_bytes()), None, None, False])["objects"]
    assert len(want) > 3
    assert [one["area_px"] for one in found] == [one["area_px"] for one in want]
    intensities = [one["mean_intensity"] for one in found]
    assert intensities == pytest.approx([one["mean_intensity"] for one in want], abs=1e-3)


PLANES = tiff(np.zeros((5, 9, 9), np.uint8), planarconfig="separate", photometric="minisblack")
BOMB = png(COLOUR)[:16] + struct.pack(">II", 60_000, 60_000) + png(COLOUR)[24:]
BROKEN = {
    "empty.png": (b"", "The file is empty"),
    "text.png": (b"These are not pixels.", "Expected a PNG, JPEG or TIFF"),
    "cut.png": (png16(DEEP)[:80], "cut short or damaged"),
    "bomb.png": (BOMB, "50 million"),
    "channels.tif": (PLANES, "5 channels"),
    "white.tif": (tiff(COLOUR[..., 0], photometric="miniswhite"), "inverted grey"),
    "float-16.tif": (
        tiff(DEEP.astype(np.float16)),
        "integers of 8, 16 or 32 bits or floats of 32, found floats of 16 bits",
    ),
    "differences-32.tif": (
        tiff(DEEP.astype(np.int32), compression="zlib", predictor=2),
        "32 bits without differences",
    ),
    "signed-64.tif": (tiff(DEEP.astype(np.int64)), "found integers of 64 bits"),
    "nan.tif": (tiff(np.full((9, 9), np.nan, np.float32)), "NaN"),
    "signature.tif": (b"II*\0" + bytes(20), "found none in it"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_counted_is_said(page, name):
    data, said = BROKEN[name]
    assert said in ask(page, READ, [base64_of(data), name])["error"]


def test_pages_of_a_stack_are_told(page):
    stack = tiff(np.stack([DEEP, DEEP[::-1]]), photometric="minisblack")
    assert ask(page, READ, [base64_of(stack), "stack.tif"])["pages"] == 2


def cells(page) -> int:
    return int(page.locator(".count strong").inner_text())


def settled(page) -> None:
    page.wait_for_selector(".cellcount-count[aria-busy=false]")


def test_a_reader_counts_a_picture_by_keyboard_and_saves_the_result(browser, folder):
    page = browser.new_page(accept_downloads=True)
    page.set_default_timeout(120_000)
    asked = []
    page.on("request", lambda r: asked.append(r.url))
    page.goto((folder / "index.html").as_uri())
    assert not any("runtime" in url or "model" in url for url in asked), "loaded before it is asked"
    assert "Nothing leaves this machine" in page.locator(".private").inner_text()
    page.get_by_role("button", name="Example: nuclei").focus()
    page.keyboard.press("Enter")
    settled(page)
    drawn = int(re.search(r"drew (\d+)", page.locator(".count").inner_text())[1])
    assert drawn > 10
    assert abs(cells(page) - drawn) <= 0.1 * drawn
    told = page.locator(".result ul").inner_text()
    assert "counted by nuclei-flows" in told
    error = load_onnx(NUCLEI).info.training["count_error"]
    low, high = interval(cells(page), error["allowed"])
    assert f"{low} to {high} cells are there, if your picture is like the {error['number']}" in told
    assert f"{cells(page)} cells" in page.locator("canvas").get_attribute("aria-label")
    assert f"Widths of {cells(page)} cells" in page.locator("svg").get_attribute("aria-label")

    page.locator("select").select_option(OTSU)
    settled(page)
    assert page.locator("input[type=range]").is_disabled()  # Otsu's threshold has no cutoff
    page.locator("select").select_option(NEURONS)
    settled(page)
    assert f"counted by {NEURONS}" in page.locator(".result ul").inner_text()
    assert "no interval" in page.locator(".result ul").inner_text()
    page.locator("input[type=range]").focus()
    page.keyboard.press("End")
    assert page.locator("output").inner_text() == "0.95"
    settled(page)
    few = page.locator("canvas").evaluate("c => c.toDataURL()")
    page.keyboard.press("Home")
    assert page.locator("output").inner_text() == "0.05"
    settled(page)
    assert page.locator("canvas").evaluate("c => c.toDataURL()") != few

    assert page.locator("figure").count() == 1
    page.get_by_role("button", name="Show the count at every cutoff").click()
    settled(page)
    said = page.locator("figure", has_text="Cells found at cutoffs").inner_text()
    page.get_by_role("button", name="Show the count at every cutoff").click()  # once more
    settled(page)
    assert page.locator("figure", has_text="Cells found at cutoffs").inner_text() == said
    assert f"{cells(page)} at the lowest" in said
    assert f"{cells(page)} at 0.05" in said
    page.locator("input[type=range]").press("End")
    settled(page)
    moved = page.locator("figure", has_text="Cells found at cutoffs").inner_text()
    assert moved.split(";")[0] == said.split(";")[0]
    assert f"{cells(page)} at the highest" in moved

    page.get_by_label("estimate the size").uncheck()
    page.get_by_label("Width of a cell").fill("90")
    settled(page)
    assert "width of a cell: 90 px, as you say" in page.locator(".result ul").inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the cells").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert len(rows) == cells(page)
    assert list(rows[0]) == ["object", "x", "y", "area_px", "mean_intensity", "confidence"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the overlay").click()
    with Image.open(download.value.path()) as overlay:
        assert overlay.size == (696, 520)
    assert {url[:5] for url in asked} <= live.INSIDE, asked
    page.close()


def test_a_picture_is_dropped_and_what_is_wrong_with_the_next_is_said(browser, folder):
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto((folder / "index.html").as_uri())
    sample = simulate(3, style="nuclei-medium", size=(200, 260))
    page.evaluate(DROP, [base64_of(tiff(sample.image, photometric="rgb")), "mine.tif"])
    page.wait_for_selector("text=mine.tif: 260 x 200 pixels")
    before = cells(page)
    assert before > 0
    page.evaluate(DROP, [base64_of(b"nothing"), "broken.png"])
    page.wait_for_selector("text=It did not work: Expected a PNG, JPEG or TIFF")
    assert cells(page) == before
    page.evaluate(DROP, [base64_of(png(np.full((64, 64, 3), 9, np.uint8))), "flat.png"])
    page.wait_for_selector("text=look at this one: no cells; flat picture")
    assert cells(page) == 0
    bright = np.full((64, 64), -900, np.int16)
    bright[:32] = -300  # the largest value lies below 0, too
    page.evaluate(DROP, [base64_of(tiff(bright)), "below-0.tif"])
    page.wait_for_selector("text=below-0.tif: 64 x 64 pixels")
    assert "saturated picture" in page.locator(".result ul").inner_text()
    blue = np.zeros((64, 64, 3), np.uint8) + np.arange(64, dtype=np.uint8)[:, None, None]
    blue[:2, :, 2] = 255  # in one channel
    page.evaluate(DROP, [base64_of(png(blue)), "blue.png"])
    page.wait_for_selector("text=blue.png: 64 x 64 pixels")
    assert "saturated picture" in page.locator(".result ul").inner_text()
    page.close()


def test_all_files_together_stay_below_20_mb(folder):
    assert sum(path.stat().st_size for path in (folder / "count").iterdir()) < 20e6


def test_what_is_vendored_is_what_was_published(monkeypatch, tmp_path):
    with (assets.VENDOR / "sources.csv").open() as table:
        for row in csv.DictReader(table):
            assert assets.vendored(row["file"])
            assert (
                f"{row['package']} {row['version']}" in (assets.VENDOR / "LICENSES.txt").read_text()
            )
    for file in ("sources.csv", "UTIF.js"):
        (tmp_path / file).write_bytes((assets.VENDOR / file).read_bytes())
    (tmp_path / "UTIF.js").write_bytes(b"// changed")
    monkeypatch.setattr(assets, "VENDOR", tmp_path)
    with pytest.raises(DataError, match=r"UTIF\.js: expected SHA-256"):
        assets.vendored("UTIF.js")


def test_what_the_page_cannot_do_is_an_error_of_the_build():
    with pytest.raises(DataError, match="found Plateaus"):
        assets.rules(POSTPROCESS["morelli2021"])


def test_the_models_that_auto_chooses_from_are_on_the_page(folder):
    text = (folder / "count" / "count.js").read_text()
    about = json.loads(re.match(r"globalThis.cellcount = \{ ABOUT: (.*) \};\n", text)[1])
    assert list(about["models"]) == list(CHOSEN_FROM)
    assert {f"model-{name}.js" for name in CHOSEN_FROM} <= {
        p.name for p in (folder / "count").iterdir()
    }
