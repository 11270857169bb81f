"""The limit of high temperature, Eq. 3-4: distillation becomes logit matching, no slower than 1/T, and this slowly."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import law

from minidistill import distillation, soft_cross_entropy
from minidistill.losses import high_temperature_gradient, logit_matching_gradient
from minidistill.testing.gradients.strategies import batches_BN, contiguous, dtypes, layouts, temperatures

pairs = batches_BN(scale=1.0, classes=2)
hot = st.floats(2, 4).map(lambda exponent: 10.0**exponent)  # T from 1e2 to 1e4


def centred(u: np.ndarray) -> np.ndarray:
    return u - u.mean(axis=-1, keepdims=True)


def scaled(arrays: Any, gradient: Any, z: np.ndarray, v: np.ndarray, T: float, layout: Any = contiguous) -> np.ndarray:
    """N T² B times a gradient, which is then of the order of z - v at every T, in float64 on the host."""
    dz = arrays.to_host(gradient(layout(arrays.asarray(z)), layout(arrays.asarray(v)), T))
    return z.shape[-1] * T * T * z.shape[-2] * dz.astype(np.float64)


def eq2(z: Any, v: Any, T: float) -> Any:
    return soft_cross_entropy(z, v, T)[1]


def remainder(z: np.ndarray, v: np.ndarray, T: float, dtype: Any = np.float64) -> np.ndarray:
    """Taylor's remainder (..., 1), as derived in logit_matching_gradient, and the rounding of N T (q - p).

    q and p are each off by 16 eps (N + 1) (see test_softmax), and scaling by N T scales that as well.
    """
    N = z.shape[-1]
    with np.errstate(over="ignore"):  # an infinite bound is true
        taylor = sum(W**2 * np.exp(W / T) / (2 * T) for W in (np.ptp(u, axis=-1, keepdims=True) for u in (z, v)))
    return taylor + 16 * float(np.finfo(dtype).eps) * (N + 1) * N * T


def error(z: np.ndarray, v: np.ndarray, T: float, power: float = 0) -> np.ndarray:
    """The distance of N T² B dC/dz from the centred z - v; `power` spoils the gradient by a power of T."""
    return np.abs(z.shape[-1] * T * T * z.shape[-2] * T**power * eq2(z, v, T) - centred(z - v))


@law
@given(batches_BN(classes=2), temperatures, dtypes, layouts)
def test_eq4_N_T2_times_the_gradient_is_the_centred_z_minus_v_up_to_the_remainder(arrays, batch, T, dtype, layout):
    z, v = (u.astype(dtype).astype(np.float64) for u in batch[:2])
    gradient = scaled(arrays, eq2, z.astype(dtype), v.astype(dtype), T, layout)
    assert (np.abs(gradient - centred(z - v)) <= remainder(z, v, T, dtype)).all()


@pytest.mark.parametrize("power", [-2, -1, 1, 2])
@law
@given(pairs, hot)
def test_the_test_of_eq4_rejects_a_gradient_with_another_power_of_T(power, batch, T):
    z, v, _ = batch
    assume((np.abs(centred(z - v)) > 2 * remainder(z, v, T)).any())  # a limit that can be told from 0
    assert (error(z, v, T, power) > remainder(z, v, T)).any()


@law
@given(pairs, hot)
def test_the_factor_T2_keeps_the_norm_of_the_soft_gradient_as_T_grows(arrays, batch, T):
    z, v, y = (arrays.asarray(u) for u in batch)
    limit = np.linalg.norm(centred(batch[0] - batch[1]))  # Eq. 4: the norm of N B dz tends to that of z - v, centred
    for t in (T, 10 * T):
        slack = np.linalg.norm(np.broadcast_to(remainder(*batch[:2], t), z.shape))
        dz = arrays.to_host(distillation(z, v, y, t, 1.0)[1])
        soft = arrays.to_host(eq2(z, v, t))
        assert abs(z.shape[-1] * z.shape[-2] * np.linalg.norm(dz) - limit) <= slack
        assert z.shape[-1] * z.shape[-2] * np.linalg.norm(soft) <= (limit + slack) / t**2  # and without it, to 0


def slope(z: np.ndarray, v: np.ndarray, power: float = 0) -> float:
    """d log error / d log T over two decades, by least squares."""
    T = np.logspace(3, 5, 9)
    return float(np.polyfit(np.log(T), np.log([error(z, v, t, power).max() for t in T]), 1)[0])


def curvature(z: np.ndarray, v: np.ndarray) -> float:
    """2 T times the error's leading term: q'' at s = 1/T = 0 is ((z - z̄)² - Var z)/N."""
    squares = [centred(u) ** 2 for u in (z, v)]
    return float(np.abs(centred(squares[0] - squares[1])).max())


@law
@given(batches_BN(scale=1.0, classes=3))  # of two classes, the squares are equal, and the leading term is 0
def test_eq4_the_error_halves_when_T_doubles(batch):
    z, v, _ = batch
    # The next term, at most 2 W³/(6 T²) with W <= 2, is 2% of the leading one at T = 1e3, and less beyond.
    assume(curvature(z, v) > 0.3)
    assert slope(z, v) == pytest.approx(-1, abs=0.02)


@pytest.mark.parametrize("power", [-1, 1])
@law
@given(batches_BN(scale=1.0, classes=3))  # of two classes, the squares are equal, and the leading term is 0
def test_the_test_of_the_rate_rejects_a_gradient_with_another_power_of_T(power, batch):
    z, v, _ = batch
    assume(curvature(z, v) > 0.3 and np.abs(centred(z - v)).max() > 0.1)
    assert slope(z, v, power) != pytest.approx(-1, abs=0.02)


@law
@given(batches_BN(classes=2), temperatures, dtypes, layouts)
def test_eq4_is_what_logit_matching_gradient_computes(arrays, batch, T, dtype, layout):
    z, v = (u.astype(dtype) for u in batch[:2])
    expected = centred(z.astype(np.float64) - v)
    atol = 4 * z.shape[-1] * float(np.finfo(dtype).eps) * (np.abs(z).max() + np.abs(v).max())
    np.testing.assert_allclose(scaled(arrays, logit_matching_gradient, z, v, T, layout), expected, rtol=0, atol=atol)


@law
@given(pairs, hot, layouts)
def test_eq3_for_zero_mean_logits_is_eq4_without_the_centring(arrays, batch, T, layout):
    z, v = centred(batch[0]), centred(batch[1])
    # 1 + z_i/T and N + Σ z_j/T round to eps; N T times their quotients is compared.
    atol = 16 * float(np.finfo(np.float64).eps) * z.shape[-1] * T
    for gradient in (high_temperature_gradient, logit_matching_gradient):
        np.testing.assert_allclose(scaled(arrays, gradient, z, v, T, layout), z - v, rtol=0, atol=atol)


@law
@given(pairs, hot, st.floats(-2, 2), st.floats(-2, 2))
def test_eq3_needs_no_zero_mean_where_eq4_without_centring_never_arrives(arrays, batch, T, a, b):
    z, v, _ = batch
    z, v = centred(z) + a, centred(v) + b
    exact = scaled(arrays, eq2, z, v, T)
    # With m = mean/T, Eq. 3 is (u - mean)/(T (1 + m)) beyond 1/N: off by m/(1 + m) of the centred logits, so by 1/T.
    own = sum(np.abs(m / T / (1 + m / T)) * np.abs(centred(u)).max() for u, m in ((z, a), (v, b)))
    slack = remainder(z, v, T)
    assert (np.abs(scaled(arrays, high_temperature_gradient, z, v, T) - exact) <= slack + own).all()
    # Uncentred, Eq. 4 stays off by the difference of the means, at every T.
    uncentred = z - v - exact
    assert (np.abs(uncentred - (a - b)) <= slack + 1e-12).all()


@law
@given(batches_BN(scale=10.0, classes=2), hot)
def test_eq3_and_eq4_are_antisymmetric_in_z_and_v_and_vanish_between_equals(arrays, batch, T):
    z, v, _ = batch
    for gradient in (eq2, high_temperature_gradient, logit_matching_gradient):
        one, other = scaled(arrays, gradient, z, v, T), scaled(arrays, gradient, v, z, T)
        np.testing.assert_allclose(one, -other, rtol=0, atol=16 * np.finfo(float).eps * np.abs(one).max())
        assert not scaled(arrays, gradient, z, z, T).any()
