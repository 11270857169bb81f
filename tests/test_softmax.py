"""Softmax at a temperature, Eq. 1: what every q = softmax(z, T) obeys, in every library of arrays, from T = 1e-2 to
1e4 and for logits up to +-1e4.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import law

from minidistill import ArgumentError, log_softmax, softmax
from minidistill.testing.gradients.strategies import (
    contiguous,
    dtypes,
    layouts,
    logits_BN,
    seeds,
    shapes_BN,
    temperatures,
)

z_any = logits_BN(shapes_BN())


def on(arrays: Any, function: Any, z: np.ndarray, T: float, layout: Any = contiguous) -> np.ndarray:
    """The function of arrays of this kind, its result on the host."""
    return arrays.to_host(function(layout(arrays.asarray(z)), T))


def rounding(dtype: Any, N: int) -> float:
    """An absolute bound on the rounding error of q, and a relative one up to the error of the exponent.

    s = (z - max z)/T is off by 3 roundings, so by 3 eps|s|; exp makes that a relative error of q, and q|s| <= 1/e + 1
    bounds it absolutely. The sum adds N roundings at most, log N among its result.
    """
    return 16 * float(np.finfo(dtype).eps) * (N + 1)


@law
@given(z_any, temperatures, dtypes, layouts)
def test_eq1_probabilities_are_finite_nonnegative_and_sum_to_one(arrays, z, T, dtype, layout):
    q = on(arrays, softmax, z.astype(dtype), T, layout)
    assert q.dtype == dtype
    assert q.shape == z.shape
    assert (q >= 0).all()  # false for NaN
    np.testing.assert_allclose(q.sum(axis=-1, dtype=float), 1, rtol=0, atol=rounding(dtype, z.shape[-1]))


@law
@given(z_any, temperatures)
def test_eq1_is_the_ratio_of_exponentials(arrays, z, T):
    u = z - z.min(axis=-1, keepdims=True)
    assume(u.max() / T < 700)  # where the naive formula still fits into a float64
    naive = np.exp(u / T) / np.exp(u / T).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(on(arrays, softmax, z, T), naive, rtol=0, atol=rounding(np.float64, z.shape[-1]))


@law
@given(z_any, dtypes)
def test_eq1_is_the_usual_softmax_at_T_equal_1_and_T_only_divides_the_logits(arrays, z, dtype):
    z = z.astype(dtype)
    np.testing.assert_array_equal(on(arrays, lambda z, T: softmax(z), z, 1.0), on(arrays, softmax, z, 1.0))
    np.testing.assert_array_equal(on(arrays, softmax, 8 * z, 8.0), on(arrays, softmax, z, 1.0))  # exact: powers of 2


@law
@given(z_any, temperatures, st.integers(-1000, 1000))
def test_eq1_does_not_change_when_a_constant_is_added_to_z(arrays, z, T, c):
    z = np.round(z * 64) / 64  # z + c is then exact, and so is the difference from the maximum: the very same bits
    np.testing.assert_array_equal(on(arrays, softmax, z + c, T), on(arrays, softmax, z, T))
    np.testing.assert_array_equal(on(arrays, log_softmax, z + c, T), on(arrays, log_softmax, z, T))


@law
@given(z_any, temperatures, dtypes)
def test_eq1_keeps_the_order_of_the_logits(arrays, z, T, dtype):
    z = z.astype(dtype)
    order = np.argsort(z, axis=-1, kind="stable")
    log_q = np.take_along_axis(on(arrays, log_softmax, z, T), order, axis=-1)
    assert (np.diff(log_q, axis=-1) >= 0).all()  # exactly: rounding never reverses a subtraction or a division
    q = np.take_along_axis(on(arrays, softmax, z, T), order, axis=-1)
    slack = 8 * np.finfo(dtype).eps * q[..., 1:]  # an exp that is off by ulps may reverse neighbours
    assert (np.diff(q, axis=-1) >= -slack).all()


@law
@given(z_any, temperatures, seeds)
def test_eq1_permuting_classes_or_rows_permutes_q(arrays, z, T, seed):
    rng = np.random.default_rng(seed)
    classes, rows = rng.permutation(z.shape[-1]), rng.permutation(z.shape[-2])
    q = on(arrays, softmax, z, T)
    np.testing.assert_array_equal(on(arrays, softmax, z[..., rows, :], T), q[..., rows, :])
    atol = rounding(np.float64, z.shape[-1])  # the sum over the classes rounds in another order
    np.testing.assert_allclose(on(arrays, softmax, z[..., classes], T), q[..., classes], rtol=0, atol=atol)


@law
@given(z_any, st.floats(0, 8))
def test_eq1_tends_to_1_over_N_as_T_grows_no_slower_than_W_over_T(arrays, z, exponent):
    # With W = max z - min z of a row, exp(-W/T)/N <= q_i <= exp(W/T)/N.
    T = 10.0**exponent
    W, N = np.ptp(z, axis=-1, keepdims=True), z.shape[-1]
    with np.errstate(over="ignore"):  # an infinite bound is true
        bound = np.expm1(W / T) / N + rounding(np.float64, N)
    assert (np.abs(on(arrays, softmax, z, T) - 1 / N) <= bound).all()


@law
@given(logits_BN(shapes_BN(classes=2), scale=1.0), st.floats(1, 1.5))
def test_eq1_tends_to_the_onehot_maximum_as_T_shrinks(arrays, z, margin):
    z = np.sort(z, axis=-1)
    z[..., -1] = z[..., -2] + margin  # the runner-up's share is at most exp(-margin/T)
    q = on(arrays, softmax, z, 0.01)
    assert (1 - q[..., -1] <= z.shape[-1] * np.exp(-margin / 0.01) + rounding(np.float64, z.shape[-1])).all()


@law
@given(z_any, temperatures, dtypes, layouts)
def test_log_softmax_is_the_log_of_softmax_and_finite_where_that_is_not(arrays, z, T, dtype, layout):
    z = z.astype(dtype)
    q, log_q = on(arrays, softmax, z, T), on(arrays, log_softmax, z, T, layout)
    assert log_q.dtype == dtype
    assert np.isfinite(log_q).all()
    assert (log_q <= rounding(dtype, z.shape[-1])).all()
    normal = q >= np.finfo(dtype).tiny  # below, q has lost digits or is 0
    s = np.ptp(z.astype(float), axis=-1, keepdims=True) / T  # the exponent, which rounds relatively
    bound = rounding(dtype, z.shape[-1]) * (1 + np.broadcast_to(s, z.shape)[normal])
    assert (np.abs(np.log(q[normal].astype(float)) - log_q[normal]) <= bound).all()


@law
@given(logits_BN(shapes_BN(), np.float32), temperatures)
def test_float32_probabilities_are_those_of_float64_to_rounding(arrays, z, T):
    exact = on(arrays, softmax, z.astype(np.float64), T)
    N = z.shape[-1]
    np.testing.assert_allclose(on(arrays, softmax, z, T), exact, rtol=0, atol=rounding(np.float32, N))
    log_exact = on(arrays, log_softmax, z.astype(np.float64), T)  # relative: |log q| may be 2e6
    bound = rounding(np.float32, N) * (1 + np.abs(log_exact))
    assert (np.abs(on(arrays, log_softmax, z, T) - log_exact) <= bound).all()


@law
@given(z_any, temperatures, dtypes)
def test_a_class_that_cannot_be_has_probability_0_and_changes_no_other(arrays, z, T, dtype):
    z = z.astype(dtype)
    extended = np.concatenate([z, np.full_like(z[..., :1], -1e30)], axis=-1)
    q = on(arrays, softmax, extended, T)
    assert (q[..., -1] == 0).all()
    atol = rounding(dtype, z.shape[-1])  # one more term may regroup the sum
    np.testing.assert_allclose(q[..., :-1], on(arrays, softmax, z, T), rtol=0, atol=atol)


@pytest.mark.parametrize("wrong", [lambda z, T: softmax(z, 1 / T), lambda z, T: softmax(T * z), lambda z, T: z / T])
def test_the_test_of_eq1_rejects_a_temperature_in_the_wrong_place(arrays, wrong):
    z, T = np.array([[0.0, 1.0, 3.0]]), 2.0
    naive = np.exp(z / T) / np.exp(z / T).sum(axis=-1, keepdims=True)
    assert np.abs(on(arrays, softmax, z, T) - naive).max() <= rounding(np.float64, 3)
    assert np.abs(on(arrays, wrong, z, T) - naive).max() > 1e6 * rounding(np.float64, 3)


def test_a_list_of_floats_is_taken_as_its_array_and_a_list_of_whole_numbers_is_refused_as_its_array_is():
    for function in (softmax, log_softmax):
        np.testing.assert_array_equal(function([[1.0, 2.0]], 2), function(np.array([[1.0, 2.0]]), 2))
        for whole in ([[1, 2]], np.array([[1, 2]])):
            with pytest.raises(
                ArgumentError, match=r"^z must hold floating-point logits, got dtype int64: np\.asarray"
            ):
                function(whole)


@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_logits_whose_differences_over_T_are_no_number_of_the_dtype_are_refused(function):
    z = np.array([[3e38, 0.0]], np.float32)
    with pytest.raises(ArgumentError, match=r"^logits must differ by less, over T, than float32 holds, got 3e\+38"):
        function(z, 1.0)
    with pytest.raises(ArgumentError, match=r"^logits must differ by less, over T"):
        function(z / 100, 0.01)
    assert np.isfinite(function(z / 100, 1.0)).all()
    with pytest.raises(
        ArgumentError, match=r"^T must be > 0, and in 1\.08e-19\.\.1\.84e\+19 for logits in float32, got 1e\+30$"
    ):
        function(z / 100, 1e30)
