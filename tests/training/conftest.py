import pytest

from cellcount_lib.training.run import train
from tests.discs import write_dataset
from tests.training.small import training


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    """A folder of pictures with a split."""
    return write_dataset(tmp_path_factory.mktemp("discs") / "data")


@pytest.fixture(scope="session")
def done(discs, tmp_path_factory):
    """A training long enough to find the discs, the folder it left, and its result."""
    out = tmp_path_factory.mktemp("done")
    asked = training(discs, steps=30)
    return asked, out, train(asked, out, show=False, jobs=1)
