import os
import signal
from pathlib import Path

import pytest

# A shell starts background jobs with interrupts ignored, and programs inherit that: without this
# line every test that interrupts a program fails there.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def samples_dir() -> Path:
    """Folder of real image samples: CELLCOUNT_SAMPLES, or shared/data beside the checkout."""
    root = Path(__file__).resolve().parents[1]
    named = os.environ.get("CELLCOUNT_SAMPLES")
    folder = Path(named) if named else root.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real image samples here: set CELLCOUNT_SAMPLES to a folder that has them")
    return folder
