"""The public strategies make what their names say: shapes, ranges, hostile cases among tame ones, on any backend."""

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from minidistill.testing import strategies as make

anything = settings(max_examples=500, database=None)


@pytest.mark.parametrize("outside", [lambda B, N: B > 4, lambda B, N: N > 6, lambda B, N: min(B, N) < 1])
def test_shapes_are_small(outside):
    with pytest.raises(NoSuchExample):
        find(make.shapes_BN(leading=st.just(())), lambda shape: outside(*shape), settings=anything)


@pytest.mark.parametrize("wanted", [(1, 1), (4, 6), (2, 1, 1), (3, 4, 6)])
def test_shapes_come_with_and_without_replicas_down_to_one_row_and_one_class(wanted):
    find(make.shapes_BN(), lambda shape: shape == wanted, settings=anything)


@given(make.shapes_BN(classes=2, batch=3).flatmap(lambda shape: st.tuples(st.just(shape), make.logits_BN(shape))))
def test_logits_have_their_shape_and_are_finite_and_within_1e4(pair):
    shape, z = pair
    assert z.shape == shape
    assert shape[-1] >= 2
    assert shape[-2] >= 3
    assert np.abs(z).max() <= 1e4


@given(make.shapes_BN().flatmap(make.probabilities_BN))
def test_rows_of_probabilities_sum_to_1_and_none_is_negative(p):
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-12)


@pytest.mark.parametrize(
    "wanted",
    [
        lambda p: (p == 0).any() and p.max() < 1,
        lambda p: (p == 1).any(),
        lambda p: (p == p[0, 0]).all(),
        lambda p: p.min() > 0,
    ],
    ids=["exact zeros", "an exact one", "uniform", "no zero"],
)
def test_probabilities_come_with_exact_zeros_and_ones_and_without(wanted):
    find(make.probabilities_BN((2, 4)), wanted, settings=anything)


@pytest.mark.parametrize("wanted", [lambda z: np.ptp(z) > 1e3, lambda z: 0 < np.ptp(z) < 0.2, lambda z: not z.any()],
                         ids=["extreme", "tame", "all equal"])  # fmt: skip
def test_logits_come_extreme_and_tame_and_tied(wanted):
    find(make.logits_BN((2, 4)), wanted, settings=anything)


@given(make.batches_BN(classes=2, dtype=np.float32))
def test_a_batch_is_two_arrays_of_logits_and_a_label_for_each_row(batch):
    z, v, y = batch
    assert z.shape == v.shape
    assert z.dtype == v.dtype == np.float32
    assert y.shape == z.shape[:-1]
    assert ((y >= 0) & (y < z.shape[-1])).all()


@given(make.temperatures)
def test_temperatures_stay_in_their_range(T):
    assert 0.01 <= T <= 10_000


@pytest.mark.parametrize("largest", [None, 3])
def test_layer_shapes_reach_their_largest_and_no_further(largest):
    shapes = make.layer_shapes() if largest is None else make.layer_shapes(largest)
    largest = largest or 5
    seen = set()

    @settings(max_examples=300, database=None)
    @given(shapes)
    def look(shape):
        lead, *sizes = shape
        assert len(lead) <= 1
        assert len(sizes) == 3
        seen.update((i, size) for i, size in enumerate(sizes))
        seen.add(lead)

    look()
    assert seen == {(i, size) for i in range(3) for size in range(1, largest + 1)} | {(), (1,), (2,), (3,)}
    one = make.layer_shapes(1, leading=st.just((7,)))
    find(one, lambda shape: shape == ((7,), 1, 1, 1), settings=anything)


@given(make.logits_BN((2, 3, 4)), make.layouts)
def test_a_layout_is_an_equal_array(z, layout):
    np.testing.assert_array_equal(layout(z), z)


def test_among_the_layouts_are_arrays_that_are_read_only_and_not_contiguous():
    z = np.arange(6.0).reshape(2, 3)
    assert not make.read_only(z).flags.writeable
    for layout in (make.transposed, make.backwards, make.strided):
        assert not layout(z).flags.c_contiguous
    assert make.contiguous(z).base is None


@given(st.data())
def test_on_moves_the_arrays_that_a_strategy_makes_to_a_backend_and_nothing_else(backend, data):
    made = data.draw(make.on(backend, st.tuples(make.batches_BN(), make.temperatures)))
    (z, v, y), T = made
    for array in (z, v, y):
        assert isinstance(array, type(backend.xp.zeros(1)))
    assert isinstance(T, float)
    assert isinstance(data.draw(make.on(backend, make.logits_BN((2, 3)))), type(z))
    moved = []
    backend.asarray, original = lambda a: moved.append(a) or original(a), backend.asarray
    try:
        z = np.zeros(2)
        data.draw(make.on(backend, st.just((z, 3.0))))
    finally:
        backend.asarray = original
    assert len(moved) == 1
    assert moved[0] is z
