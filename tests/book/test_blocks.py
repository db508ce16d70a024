"""The page that looks into a network, in a real browser: torch's maps, and what each unit sees."""

import base64
import functools
import json
import re

import numpy as np
import onnx
import pytest
import torch

from cellcount_lib.data.simulate import simulate
from cellcount_lib.inference.info import shipped
from cellcount_lib.inference.model_file import load_model
from cellcount_lib.inference.network import seen
from cellcount_lib.live import blocks
from cellcount_lib.models.measure import receptive_field
from cellcount_lib.prediction.models import in_yellow
from tests.book import live
from tests.book.live import DROP, ask, base64_of, numbers, png, tiff

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Blocks</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="count/count.css"><main><h1>Blocks</h1>
<div class="cellcount-blocks"></div></main><script src="count/blocks.js"></script></html>"""

LOOK = """async (png) => {
  const { readPicture, look, bytesOf } = globalThis.cellcount;
  const { small, blocks } = await look(await readPicture(new File([bytesOf(png)], "a.png")));
  const maps = (block) => block.maps.map((map) => ({ ...map, values: text(map.values) }));
  const found = blocks.map((block) => ({ ...block, maps: maps(block) }));
  return { small: { ...small, rgb: text(small.rgb) }, blocks: found };
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return live.written(tmp_path_factory.mktemp("blocks"), PAGE)


@pytest.fixture(scope="module")
def page(browser, folder):
    with live.from_disk(browser, folder) as (page, asked):
        early = [url for url in asked if "runtime" in url or "model" in url]
        assert not early, "loaded before it is asked"
        yield page


@functools.cache
def network():
    return load_model(blocks.NETWORK)


def feature_maps(model, image):
    """What leaves every block, (C, H, W), for an image (3, H, W) from 0 to 1."""
    found = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda module, given, out, name=name: found.update({name: out[0]})
        )
        for name in blocks.BLOCKS
    ]
    with torch.inference_mode():
        model.eval()(image[None])
    for handle in handles:
        handle.remove()
    return found


def shown_middle(image, small):
    """The part of a picture that gives so many pixels to the network."""
    scale = network().info.scale
    sides = [min(old, round(new / scale)) for old, new in zip(image.shape, small, strict=False)]
    top, left = ((old - new) // 2 for old, new in zip(image.shape, sides, strict=False))
    return image[top : top + sides[0], left : left + sides[1]]


EXAMPLES = {  # the size at which the network sees them: multiples of 8, at most 256
    "neurons": ("fnc-yellow", (600, 800), (152, 208)),
    "nuclei, cut": ("nuclei-medium", (300, 1060), (72, 256)),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_computes_the_maps_that_torch_computes(page, name):
    style, size, expected = EXAMPLES[name]
    image = simulate(3, style=style, size=size).image
    found = ask(page, LOOK, base64_of(png(image)))
    small = (found["small"]["height"], found["small"]["width"])
    assert small == expected
    kept = seen(in_yellow(shown_middle(image, small)), network().info.scale, False)
    assert (numbers(found["small"]["rgb"], np.uint8, (*small, 3)) == kept).all()

    maps = feature_maps(network().model, torch.tensor(kept / 255).permute(2, 0, 1).float())
    assert [block["title"] for block in found["blocks"]] == [
        t for t, _, _ in blocks.BLOCKS.values()
    ]
    for block, want in zip(found["blocks"], maps.values(), strict=True):
        assert (block["channels"], block["height"], block["width"]) == tuple(want.shape)
        assert block["step"] == small[0] // block["height"]
        spread = want.flatten(1).std(dim=1)
        least = spread.sort(descending=True).values[:8][-1]
        assert len({one["channel"] for one in block["maps"]}) == min(8, len(want))
        for one in block["maps"]:
            ours, theirs = numbers(one["values"], np.float32, want.shape[1:]), want[one["channel"]]
            # both keep weights in float16; 32 bits are added up in another order
            np.testing.assert_allclose(ours, theirs, atol=1e-3 * float(theirs.max() - theirs.min()))
            assert [one["low"], one["high"]] == pytest.approx([ours.min(), ours.max()])
            assert spread[one["channel"]] >= 0.999 * least


def test_the_added_outputs_leave_the_network_as_it_is():
    file = shipped(blocks.NETWORK, ".onnx").read_bytes()
    before, more = onnx.load_from_string(file), base64.b64decode(blocks.outputs())
    after = onnx.load_from_string(file + more)
    names = [output.name for output in after.graph.output]
    assert set(names) == {value for _, _, value in blocks.BLOCKS.values()}
    del after.graph.output[1:]
    assert after == before


def test_fields_are_those_that_the_library_measures():
    largest = {
        block["title"]: max(last - first + 1 for first, last in block["sees"])
        for block in blocks.about()["blocks"]
    }
    assert largest["bottleneck, second block"] == receptive_field("c-resunet", at="bottleneck")
    assert largest["logit of “cell”"] == receptive_field("c-resunet", at="output")
    assert largest["bottleneck, first block"] == receptive_field("resunet", at="bottleneck")


def settled(page) -> None:
    page.wait_for_selector(".cellcount-blocks[aria-busy=false]")


def square(page, width, height):
    """Columns and rows of the picture that the square takes in: first, and one after the last."""
    style = page.locator(".square").get_attribute("style")
    left, wide, top, high = (
        float(re.search(rf"\b{side}: ([\d.]+)%", style)[1]) / 100
        for side in ("left", "width", "top", "height")
    )
    return [
        (round(first * side), round((first + size) * side))
        for first, size, side in ((left, wide, width), (top, high, height))
    ]


@functools.cache
def strip(side, seed=0):
    """A narrow picture in doubles, and the network for it."""
    model = load_model(blocks.NETWORK).model.double()
    values = torch.rand(3, side, 8, generator=torch.Generator().manual_seed(seed)).double()
    return model, values, feature_maps(model, values)


def depends(side, name, unit, changed):
    """Whether a unit of a block changes when rows of a picture of a height do."""
    model, values, before = strip(side)
    for factor in (30, -30):  # through a maximum only one row of two passes
        other = values.clone()
        other[:, changed] = factor * (1 + values[:, changed])
        after = feature_maps(model, other)
        if not torch.equal(before[name][:, unit], after[name][:, unit]):
            return True
    return False


def test_the_square_is_what_a_unit_depends_on_and_keys_move_the_mark(page):
    page.get_by_role("button", name="Example: neurons").focus()
    page.keyboard.press("Enter")
    settled(page)
    assert "Nothing leaves this machine" in page.locator(".private").inner_text()
    width, height = 208, 152
    rows = page.locator(".block")
    assert rows.count() == len(blocks.BLOCKS)
    for place, (name, (title, step, _)) in enumerate(blocks.BLOCKS.items()):
        # towards the corner at the right and the bottom, so that the border cuts some fields
        page.locator(".map").nth(0).focus()
        rows.nth(place).locator(".map").first.focus()
        for key in ("ArrowRight", "ArrowDown"):
            for _ in range(width // step // 8):
                page.keyboard.press(f"Shift+{key}")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Shift+ArrowUp")
        at = (height // step - 10, width // step - 1)
        told = page.locator(".told").inner_text()
        assert told.startswith(title)
        assert f" at row {at[0] + 1}, column {at[1] + 1}. " in told
        across, down = square(page, width, height)
        assert f"It sees {across[1] - across[0]} × {down[1] - down[0]} pixels." in told
        for side, unit, (first, after) in ((width, at[1], across), (height, at[0], down)):
            everything = torch.arange(side)
            outside = everything[(everything < first) | (everything >= after)]
            assert not len(outside) or not depends(side, name, unit, outside), title
            assert depends(side, name, unit, [first]), title
            assert depends(side, name, unit, [after - 1]), title


def test_page_keys_go_to_other_channels_and_a_touch_marks(page):
    strip = page.locator(".block").nth(2)
    strip.locator(".map").first.focus()
    before = page.locator(".told strong").inner_text()
    page.keyboard.press("PageDown")
    assert page.locator(".told strong").inner_text() != before
    assert strip.locator("[tabindex='0']").count() == 1
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")  # there is none before the first
    assert page.locator(".told strong").inner_text() == before
    box = page.locator(".block").last.locator(".map")
    size = box.bounding_box()
    box.hover(position={"x": size["width"] / 4, "y": size["height"] / 2})
    told = page.locator(".told").inner_text()
    at = re.match(r"logit of “cell”: -?[\d.]+ at row (\d+), column (\d+)\.", told)
    assert [int(at[1]), int(at[2])] == pytest.approx(
        [152 / 2, 208 / 4], abs=2
    )  # whole screen pixels
    assert page.locator(".dot:visible").count() == 1


def test_a_picture_is_dropped_and_what_is_wrong_with_the_next_is_said(page):
    image = simulate(3, style="nuclei-medium", size=(200, 260)).image
    page.evaluate(DROP, [base64_of(tiff(image, photometric="rgb")), "mine.tif"])
    page.wait_for_selector("text=mine.tif, 260 × 200 pixels")
    settled(page)
    caption = page.locator(".result p").first.inner_text()
    assert "64 × 48 pixels" in caption
    assert "in the colour of the dye" in caption
    page.evaluate(DROP, [base64_of(b"nothing"), "broken.png"])
    page.wait_for_selector("text=It did not work: Expected a PNG, JPEG or TIFF")
    page.evaluate(DROP, [base64_of(png(image[:20])), "low.png"])
    page.wait_for_selector("text=It did not work: Expected at least 31 pixels on each side")
    assert page.locator(".block").count() == len(blocks.BLOCKS)


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_everybody_can_use_it(browser, folder, theme, width):
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=theme)
    page.set_default_timeout(120_000)
    page.goto((folder / "index.html").as_uri())
    page.get_by_role("button", name="Example: nuclei").click()
    settled(page)
    found = Axe().run(page, context="main").response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps(serious)[:500]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
