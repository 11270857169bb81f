"""Lists, tuples and dicts of arrays: one vector, and back, each array in its own type and with its name."""

from types import SimpleNamespace

import numpy as np
import pytest

import minidistill as md
from minidistill.testing import check_gradient
from minidistill.testing.gradients.trees import Tree, holds_arrays, leaves

MANY = {"W": [np.arange(3, dtype="f4"), np.arange(4).reshape(2, 2)], "b": (np.array(7.5),), "c": np.array([8, 9], "u1")}


def test_many_arrays_are_one_vector_and_back_each_in_its_type():
    tree = Tree(MANY)
    assert [str(dtype) for dtype in tree.dtypes] == ["float32", "float64", "float64", "float64"]
    assert tree.vector().dtype == Tree(np.ones(2, "f4")).vector().dtype == np.float64
    assert tree.vector().tolist() == [0, 1, 2, 0, 1, 2, 3, 7.5, 8, 9]
    for u, dtypes in ((tree.vector(), tree.dtypes), (1j * tree.vector(), 4 * [np.dtype(complex)])):
        made = tree.filled(u, tree.dtypes)
        assert [(name, a.shape, a.dtype) for name, _, a in leaves(made)] == [
            ("x['W'][0]", (3,), dtypes[0]), ("x['W'][1]", (2, 2), dtypes[1]), ("x['b'][0]", (), dtypes[2]),
            ("x['c']", (2,), dtypes[3]),
        ]  # fmt: skip
        assert np.concatenate([a.ravel() for _, _, a in leaves(made)]).tolist() == u.tolist()
        assert [type(made), type(made["W"]), type(made["b"])] == [dict, list, tuple]
    names = [tree.name("g", i) for i in (2, 5, 7, 9)]
    assert names == ["g['W'][0][2]", "g['W'][1][1, 0]", "g['b'][0][]", "g['c'][1]"]
    assert [tree.place(i) for i in (2, 5, 7, 9)] == [("W", 0, 2), ("W", 1, 1, 0), ("b", 0), ("c", 1)]


@pytest.mark.parametrize(
    ("x", "holds"),
    [(np.ones(2), False), (1.0, False), ([1.0, 2.0], False), ([np.float64(1)], False), ([[1.0], [2.0]], False),
     ([], False), ((), False), ("text", False), (["text"], False), ([SimpleNamespace(dtype=1)], False),
     ([SimpleNamespace(reshape=1)], False), ({}, True), ({"a": 1.0}, True), ([np.ones(1)], True), ((np.ones(1),), True),
     ([1.0, np.ones(1)], True), ([[np.ones(1)]], True), ([{}], True)],
)  # fmt: skip
def test_a_list_holds_arrays_where_one_is_in_it_and_is_an_array_where_numbers_are(x, holds):
    assert holds_arrays(x) == holds
    assert holds_arrays([x]) == (holds or isinstance(x, np.ndarray))


def test_a_copy_of_many_arrays_shares_no_memory():
    tree = Tree(MANY)
    for (_, _, copied), (_, _, array) in zip(leaves(tree.copied()), leaves(tree.x), strict=True):
        np.testing.assert_array_equal(copied, array)
        assert not np.shares_memory(copied, array)


@pytest.mark.parametrize("dtype", ["i1", "i8", "u2", "f2", "f4", "f8"])
def test_whole_numbers_become_float64_and_are_told_from_floats(dtype):
    tree = Tree([np.ones(2, dtype)])
    assert tree.converted == (dtype[0] in "iu")
    assert tree.dtypes == [np.dtype("f8") if tree.converted else np.dtype(dtype)]
    assert [a.dtype for a in tree.matched([np.ones(2, dtype)])] == [np.dtype(dtype)]  # a gradient may be of any


@pytest.mark.parametrize(
    ("gradient", "text"),
    [
        ([np.ones(2)], r"^gradient must be a list of 2 arrays, as x is, got 1$"),
        (np.ones(2), r"^gradient must be a list of 2 arrays, as x is, got ndarray$"),
        (
            [np.ones(2), {"b": np.ones(2)}],
            r"^gradient\[1\] must be a dict of \['W'\], as x\[1\] is, got one of \['b'\]$",
        ),
        ([np.ones(2), np.ones(2)], r"^gradient\[1\] must be a dict of \['W'\], as x\[1\] is, got ndarray$"),
        ([np.ones(3), {"W": np.ones(2)}], r"^gradient\[0\] must have the shape of x\[0\], \(2,\), got \(3,\)$"),
        ([[np.ones(2)], {"W": np.ones(2)}], r"^gradient\[0\] must be an array of the shape of x\[0\], got list$"),
        (
            [np.ones(2), {"W": None}],
            r"^gradient\[1\]\['W'\] must be an array of the shape of x\[1\]\['W'\], got NoneType$",
        ),
        ({"W": np.ones(2)}, r"^gradient must be a list of 2 arrays, as x is, got dict$"),
        ([np.ones(2), {"W": 1j * np.ones(2)}], r"^gradient\[1\]\['W'\] must hold real numbers, got complex128$"),
    ],
)
def test_a_gradient_that_is_not_what_x_is_names_the_part_that_does_not_fit(gradient, text):
    x = [np.ones(2), {"W": np.ones(2)}]
    with pytest.raises(md.ArgumentError, match=text):
        check_gradient(lambda p: (p[0] * p[1]["W"]).sum(), x, gradient)
