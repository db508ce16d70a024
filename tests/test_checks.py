import numpy as np
import pytest

from cellcount_lib.checks import (
    check_first_plane,
    check_heatmap,
    check_image,
    check_labels,
    check_mask,
    check_positive,
    check_same_shape,
)
from cellcount_lib.errors import CellcountError, InputError, unknown_name


@pytest.mark.parametrize("check", [check_mask, check_labels, check_heatmap])
@pytest.mark.parametrize(
    "value",
    [np.zeros((2, 2, 2)), np.zeros(4), np.zeros((0, 3)), "text", None, np.array([["a"]])],
    ids=["3-d", "1-d", "empty", "str", "none", "strings"],
)
def test_planes_refuse_what_is_not_a_plane_of_numbers(check, value):
    with pytest.raises(InputError, match="thing"):
        check("thing", value)


def test_the_first_of_several_planes_is_the_heatmap():
    planes = np.stack([np.full((2, 3), 0.5), np.full((2, 3), -7.0)])
    assert check_first_plane("x", planes).tolist() == [[0.5] * 3] * 2
    assert check_first_plane("x", planes[0]).shape == (2, 3)
    for wrong in (planes[::-1], planes * [[[1]], [[np.nan]]], planes[:0], planes[None]):
        with pytest.raises(InputError, match="x: expected"):
            check_first_plane("x", wrong)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("check", [check_mask, check_heatmap])
def test_not_finite(check, bad):
    with pytest.raises(InputError, match="finite"):
        check("x", np.array([[0.5, bad]]))


def test_mask_is_greater_than_zero():
    assert check_mask("m", np.array([[0, 1, 255]])).tolist() == [[False, True, True]]
    assert check_mask("m", np.array([[-1.0, 0.0, 0.1]])).tolist() == [[False, False, True]]
    same = np.array([[True]])
    assert check_mask("m", same) is same


def test_labels_are_int32_without_copy():
    labels = np.array([[0, 7]], np.int32)
    assert check_labels("l", labels) is labels
    assert check_labels("l", np.array([[0, 65535]], np.uint16)).tolist() == [[0, 65535]]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.array([[True]]), "connected components"),
        (np.array([[0.5]]), "integer"),
        (np.array([[-1]]), ">= 0, found -1"),
        (np.array([[2**31]]), "int32"),
        (np.array([[2**31]], np.uint32), "int32"),
    ],
)
def test_labels_refused(value, says):
    with pytest.raises(InputError, match=says):
        check_labels("l", value)


@pytest.mark.parametrize("value", [np.array([[1.01]]), np.array([[-0.01]]), np.array([[1]])])
def test_heatmap_refuses_logits_and_integers(value):
    with pytest.raises(InputError, match="heat: expected"):
        check_heatmap("heat", value)


def test_image_says_what_it_found():
    with pytest.raises(InputError, match=r"found float64 array of shape \(2, 2, 3\)"):
        check_image("image", np.zeros((2, 2, 3)))
    with pytest.raises(InputError, match="image"):
        check_image("image", np.zeros((2, 2), np.uint8))


def test_same_shape_names_each():
    with pytest.raises(InputError, match=r"a \(2, 3\), b \(3, 2\)"):
        check_same_shape(["a", "b"], [np.zeros((2, 3)), np.zeros((3, 2))])


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, "1", None])
def test_positive(value):
    with pytest.raises(InputError, match="sigma"):
        check_positive("sigma", value)


def test_unknown_name_suggests_the_nearest_and_lists_all():
    error = unknown_name("loss", "focl", ["dice", "focal"])
    assert isinstance(error, CellcountError)
    assert isinstance(error, ValueError)
    assert str(error) == "unknown loss 'focl'; did you mean 'focal'? Known: dice, focal"
    assert "did you mean" not in str(unknown_name("loss", "zzz", ["dice", "focal"]))
