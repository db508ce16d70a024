import pytest

from cellcount_lib.data import reading
from cellcount_lib.inference import evaluation
from cellcount_lib.methods import score


@pytest.fixture(scope="package", autouse=True)
def one_process():
    """Small pictures are read and scored here: other processes take longer to begin."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (reading, evaluation, score):
            patch.setattr(module, "cores", lambda: 1)
        yield
