"""The page of the service in a real browser, from the first start to signing out."""

import io
import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from cellcount_lib.data.simulate import simulate
from tests.service.running import NAME, PASSWORD, Running


@pytest.fixture
def running(tmp_path):
    made = Running(tmp_path / "service", admin=False)
    yield made
    made.stop()


def picture(seed):
    data = io.BytesIO()
    Image.fromarray(simulate(seed, style="nuclei-medium", size=(200, 260)).image).save(data, "PNG")
    return {"name": f"cells {seed}.png", "mimeType": "image/png", "buffer": data.getvalue()}


def test_from_the_first_start_to_results_and_out_again(browser, running):
    from axe_playwright_python.sync_playwright import Axe

    (address,) = re.findall(r"http://\S+#first=\S+", running.log.read_text())
    address = address.replace("127.0.0.1:0", f"127.0.0.1:{running.port}")
    base = address.split("#")[0]
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    outside, errors = [], []
    page.on("request", lambda r: outside.append(r.url) if not r.url.startswith(base) else None)
    page.on("pageerror", lambda e: errors.append(str(e)))

    def whole():
        """No serious fault for readers who cannot see it, and nothing wider than the window."""
        for width in (1000, 390):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(page, options={"preload": False}).response["violations"]
        assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []

    page.goto(address)
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("text=expected 10 to 1000 letters")  # and the token still works
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(f"text={NAME} (admin)")
    assert page.url == base, "the token is out of the address"

    page.get_by_label("New project").fill("first")
    page.get_by_role("button", name="Make it").click()
    page.wait_for_selector("text=0 pictures")
    page.get_by_label("Upload").set_input_files([picture(1), picture(2)])
    page.wait_for_selector("text=2 pictures: cells 1.png, cells 2.png")
    page.get_by_label("Upload").set_input_files([picture(2)])
    page.wait_for_selector("text=the project has a picture 'cells 2.png' already")
    page.get_by_label("Model").select_option("otsu-watershed")
    page.get_by_label("Width of a cell").fill("20")
    page.get_by_role("button", name="Count").click()
    page.get_by_role("button", name="Results of 1").click()
    said = running.client.post("/api/login", json={"name": NAME, "password": PASSWORD})
    viewer = {"name": "bo", "role": "viewer", "password": PASSWORD}
    headers = {"X-CSRF-Token": said.json()["csrf"]}
    assert running.client.post("/api/users", json=viewer, headers=headers).status_code == 201
    job = running.client.get("/api/jobs/1").json()
    assert job["cells"] > 3
    assert page.locator("#results h2").inner_text() == f"Results of job 1: {job['cells']} cells"
    heads = page.locator("#counts th").all_inner_texts()
    rows = [row.split("\t") for row in page.locator("#counts tbody tr").all_inner_texts()]
    assert [row[heads.index("image")] for row in rows] == ["cells 1.png", "cells 2.png"]
    assert sum(int(row[heads.index("count")]) for row in rows) == job["cells"]
    page.get_by_label("Overlay").select_option("cells 2.png")
    drawn = page.locator("#drawn")
    expect(drawn).to_have_js_property("naturalWidth", 260)
    assert "cells 2.png" in drawn.get_attribute("alt")
    with page.expect_download() as download:
        page.get_by_role("link", name="results.zip").click()
    assert download.value.suggested_filename == "job-1-results.zip"
    whole()

    page.reload()  # the cookie still lets in
    page.wait_for_selector("text=2 pictures")
    assert page.evaluate("document.cookie") == "", "no script can read it"
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").wait_for()
    assert not page.get_by_text("cells 1.png").is_visible()
    whole()

    page.reload()  # signed out for good; and a viewer sees results, and no way to make any
    page.get_by_label("Name").fill("bo")
    page.get_by_label("Password").fill(PASSWORD)
    assert not page.get_by_label("Token").is_visible()
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Results of 1").click()
    page.get_by_role("link", name="counts.csv").wait_for()
    for what in ("Upload", "New project", "Model"):
        assert not page.get_by_label(what).is_visible()
    context.close()
    assert outside == []
    assert errors == []
