"""Cross-validation: every picture is tested once, by a network that has not seen it."""

import pytest

from cellcount_lib.data.datasets import entries_of, load
from cellcount_lib.errors import InputError
from tests.discs import write_dataset


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("folds") / "data", train=8, val=2, test=2)


def test_every_picture_is_tested_in_one_fold_and_validated_in_another(discs):
    tested, judged = [], []
    for fold in range(1, 6):
        name = f"fold:{fold}:folder:{discs}"
        parts = {part: load(name, split=part).names for part in ("train", "val", "test")}
        together = [picture for names in parts.values() for picture in names]
        assert sorted(together) == sorted(load(f"folder:{discs}").names)
        assert {len(parts["val"]), len(parts["test"])} <= {2, 3}
        tested += parts["test"]
        judged += parts["val"]
    assert sorted(tested) == sorted(judged) == sorted(load(f"folder:{discs}").names)


def test_a_picture_is_the_same_in_every_fold_and_the_data_another(discs):
    plain = {s.meta["name"]: s for s in load(f"folder:{discs}")}
    marks = {load(f"folder:{discs}").fingerprint}
    for fold in (1, 2):
        data = load(f"fold:{fold}:folder:{discs}")
        marks.add(data.fingerprint)
        for sample in data:
            assert (sample.labels == plain[sample.meta["name"]].labels).all()
    assert len(marks) == 3
    assert load(f"fold:1:folder:{discs}", split="test").name == f"fold:1:folder:{discs}"
    assert entries_of("fold:2:simulated:nuclei")["style"] == {"nuclei"}
    assert entries_of("fold:2:simulated")["kind of dataset"] == {"fold", "simulated"}


@pytest.mark.parametrize("wrong", ["fold:0:simulated", "fold:6:simulated", "fold:1:", "fold:x:y"])
def test_what_is_no_fold(wrong):
    with pytest.raises(InputError, match="expected fold:NUMBER:NAME with a number from 1 to 5"):
        load(wrong)
