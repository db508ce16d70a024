"""A real browser for pages that are opened from disk or from a server of the test."""

import os
import shutil

import pytest


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Chromium: .ci/run installs it")
        pytest.skip("Chromium is not installed: pages are not opened in a browser")
    return found
