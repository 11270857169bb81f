"""The losses: their gradients are derivatives, and their values obey what the mathematics promises, in
every library of arrays, for every shape, temperature and memory layout.

Each loss is soft * (a sum of p log q at T) + hard * (-log q_y at 1), averaged over B rows. All tolerances follow from
the two weights `soft` and `hard`; none is a number that happened to pass, and none is absolute.
"""

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numerics import central_difference, complex_step, relative_error
from strategies import alphas, law, some

from minidistill import ArgumentError, cross_entropy, distillation, kl_divergence, soft_cross_entropy, softmax
from minidistill.losses.digits import kl_rows
from minidistill.testing.gradients.strategies import batches_BN, contiguous, dtypes, layouts, seeds, temperatures

EPS = float(np.finfo(np.float64).eps)


class Loss(NamedTuple):
    """A loss as a function of (z, v, y, T, alpha), with the weights (soft, hard) of its two terms."""

    of: Callable[..., tuple[Any, Any]]
    weights: Callable[[float, float], tuple[float, float]]


LOSSES = {
    "cross_entropy": Loss(lambda z, v, y, T, alpha: cross_entropy(z, y), lambda T, alpha: (0.0, 1.0)),
    "soft_cross_entropy": Loss(lambda z, v, y, T, alpha: soft_cross_entropy(z, v, T), lambda T, alpha: (1.0, 0.0)),
    "kl_divergence": Loss(lambda z, v, y, T, alpha: kl_divergence(z, v, T), lambda T, alpha: (1.0, 0.0)),
    "distillation": Loss(distillation, lambda T, alpha: (alpha * T * T, 1 - alpha)),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
soft_losses = pytest.mark.parametrize("loss", list(LOSSES.values())[1:], ids=list(LOSSES)[1:])


def on(arrays: Any, loss: Loss, z: Any, v: Any, y: Any, T: Any, alpha: float, layout: Any = contiguous) -> Any:
    """(value, dz) of the loss of such arrays, brought to the host."""
    z, v = (layout(arrays.asarray(u)) for u in (z, v))
    value, dz = loss.of(z, v, arrays.asarray(y), T, alpha)
    return arrays.to_host(value), arrays.to_host(dz)


def value_rounding(loss: Loss, z: Any, v: Any, y: Any, T: float, alpha: float, eps: float = EPS) -> float:
    """A bound on the rounding of the value (summed over replicas): N + B roundings of terms of the size p |log q|,
    whose sum is the soft cross-entropy itself since none is negative, of p |log p|, and of the logarithm of the sum.
    """
    soft, hard = loss.weights(T, alpha)
    z, v = z.astype(np.float64), v.astype(np.float64)
    size = soft * (1 + soft_cross_entropy(z, v, T)[0] + soft_cross_entropy(v, v, T)[0])
    size = np.sum(size + hard * (1 + cross_entropy(z, y)[0]))
    return float(16 * eps * sum(z.shape[-2:]) * size)


def gradient_rounding(loss: Loss, z: Any, T: float, alpha: float, eps: float = EPS) -> float:
    """A bound on the rounding of a component of dz: q and p are off by 16 eps (N + 1) (see test_softmax)."""
    soft, hard = loss.weights(T, alpha)
    return 16 * eps * (z.shape[-1] + 1) * (soft / T + hard) / z.shape[-2]


def derivatives(loss: Loss, z: Any, v: Any, y: Any, T: float, alpha: float) -> list[tuple[Any, float]]:
    """dC/dz by complex step and by central differences, each with the relative error that it may show.

    Central differences, with h = unit/256 for a loss that changes over a length `unit`, truncate at h^4/480 times the
    fifth derivative, a Bernoulli variable's fifth cumulant, at most 1/4 in units of T; and they amplify the rounding
    of the value by 1/h. Where that is no longer small beside the gradient (T large, z near v), they prove nothing and
    the complex step, which only shares the rounding of q - p, is left alone.
    """
    soft, hard = loss.weights(T, alpha)
    h = min([T] * bool(soft) + [1.0] * bool(hard)) / 256
    exact = complex_step(lambda u: loss.of(u, v, y, T, alpha)[0].sum(), z)
    scale = np.abs(exact).max()
    shared = gradient_rounding(loss, z, T, alpha)
    assume(scale > 1e3 * shared)  # else q = p to rounding, and the gradient has no digits to compare
    truncation = h**4 / 480 * (soft / T**5 + hard) / (4 * z.shape[-2])
    amplified = truncation + 4 * value_rounding(loss, z, v, y, T, alpha) / h + shared
    found = [(exact, shared / scale)]
    if amplified < 1e-3 * scale:
        found.append(
            (central_difference(lambda u: float(loss.of(u, v, y, T, alpha)[0].sum()), z, h), amplified / scale)
        )
    return found


@every_loss
@law
@given(batches_BN(classes=2), temperatures, alphas, layouts)
def test_eq2_the_gradient_of_every_loss_is_its_derivative(arrays, loss, batch, T, alpha, layout):
    _, dz = on(arrays, loss, *batch, T, alpha, layout)
    for truth, tolerance in derivatives(loss, *batch, T, alpha):
        assert relative_error(dz, truth) <= tolerance


WRONG = {
    "missing 1/T": lambda dz, T, B: dz * T,
    "an extra 1/T": lambda dz, T, B: dz / T,
    "p and q swapped": lambda dz, T, B: -dz,
    "missing 1/B": lambda dz, T, B: dz * B,
    "zero": lambda dz, T, B: 0 * dz,
}


@every_loss
@some
@given(batches_BN(classes=2, batch=2), temperatures, alphas)
def test_the_test_of_eq2_rejects_a_gradient_that_is_wrong_by_a_factor(loss, batch, T, alpha):
    assume(abs(np.log(T)) > 0.1)  # a power of T cannot be missed at T = 1
    dz = loss.of(*batch, T, alpha)[1]
    for truth, tolerance in derivatives(loss, *batch, T, alpha):
        for mistake, wrong in WRONG.items():
            assert relative_error(wrong(dz, T, batch[0].shape[-2]), truth) > tolerance, mistake


@pytest.mark.parametrize("power", [0, 1, 3, 4], ids="T^{}".format)
@some
@given(batches_BN(scale=1.0, classes=2), st.floats(2, 1e4), alphas)
def test_the_test_of_the_balanced_objective_rejects_every_power_of_T_but_2(power, batch, T, alpha):
    z, v, y = batch
    soft, hard = soft_cross_entropy(z, v, T)[1], cross_entropy(z, y)[1]
    dz = alpha * T**power * soft + (1 - alpha) * hard
    loss = LOSSES["distillation"]
    assume(alpha * T**2 * np.abs(soft).max() > 0.01)  # else the power of T does not matter
    for truth, tolerance in derivatives(loss, *batch, T, alpha):
        assert relative_error(dz, truth) > tolerance


@law
@given(batches_BN(), temperatures)
def test_eq2_the_gradient_of_the_soft_loss_is_q_minus_p_over_T(arrays, batch, T):
    z, v, _ = batch
    expected = (softmax(z, T) - softmax(v, T)) / (T * z.shape[-2])
    for loss in (LOSSES["soft_cross_entropy"], LOSSES["kl_divergence"]):
        _, dz = on(arrays, loss, *batch, T, 0.5)
        np.testing.assert_allclose(dz, expected, rtol=0, atol=gradient_rounding(loss, z, T, 0.5))


@every_loss
@law
@given(batches_BN(), temperatures, alphas, dtypes)
def test_eq2_each_row_of_the_gradient_sums_to_0(arrays, loss, batch, T, alpha, dtype):
    # Relative to the q/T and p/T that cancel, not to their difference, in which rounding does not cancel.
    z, v, y = batch
    _, dz = on(arrays, loss, z.astype(dtype), v.astype(dtype), y, T, alpha)
    atol = 2 * gradient_rounding(loss, z, T, alpha, float(np.finfo(dtype).eps))
    np.testing.assert_allclose(dz.sum(axis=-1, dtype=float), 0, atol=atol)


@law
@given(batches_BN(), temperatures, dtypes, layouts)
def test_soft_cross_entropy_is_kl_plus_entropy_and_kl_is_not_negative(arrays, batch, T, dtype, layout):
    z, v, y = (u.astype(dtype) if u.dtype.kind == "f" else u for u in batch)
    soft, kl = LOSSES["soft_cross_entropy"], LOSSES["kl_divergence"]
    divergence, _ = on(arrays, kl, z, v, y, T, 0.5, layout)
    entropy, _ = on(arrays, soft, v, v, y, T, 0.5, layout)
    atol = value_rounding(kl, z, v, y, T, 0.5, float(np.finfo(dtype).eps))
    assert (divergence >= -atol).all()
    np.testing.assert_allclose(on(arrays, soft, z, v, y, T, 0.5)[0], divergence + entropy, rtol=0, atol=2 * atol)


@law
@given(batches_BN(), temperatures, dtypes)
def test_eq2_a_student_that_equals_its_teacher_has_exactly_no_soft_loss_and_no_gradient(arrays, batch, T, dtype):
    z = batch[0].astype(dtype)
    divergence, dz = on(arrays, LOSSES["kl_divergence"], z, z, batch[2], T, 0.5)
    assert not divergence.any()
    assert not dz.any()
    assert not on(arrays, LOSSES["soft_cross_entropy"], z, z, batch[2], T, 0.5)[1].any()


@every_loss
@law
@given(batches_BN(), temperatures, alphas, seeds)
def test_no_loss_changes_when_constants_are_added_to_rows_of_z_and_of_v(arrays, loss, batch, T, alpha, seed):
    z, v, y = (np.round(u * 64) / 64 for u in batch)  # the sums below are then exact, and the results the same bits
    c, d = np.random.default_rng(seed).integers(-1000, 1000, (2, *z.shape[:-1], 1))
    y = y.astype(np.int64)
    for shifted, plain in zip(
        on(arrays, loss, z + c, v + d, y, T, alpha), on(arrays, loss, z, v, y, T, alpha), strict=True
    ):
        np.testing.assert_array_equal(shifted, plain)


@every_loss
@law
@given(batches_BN(), temperatures, alphas, seeds)
def test_permuting_classes_or_rows_permutes_the_gradient_and_keeps_the_value(arrays, loss, batch, T, alpha, seed):
    z, v, y = batch
    rng = np.random.default_rng(seed)
    classes, rows = rng.permutation(z.shape[-1]), rng.permutation(z.shape[-2])
    pick = (..., rows[:, None], classes)
    value, dz = on(arrays, loss, z, v, y, T, alpha)
    permuted, permuted_dz = on(arrays, loss, z[pick], v[pick], np.argsort(classes)[y[..., rows]], T, alpha)
    np.testing.assert_allclose(permuted, value, rtol=0, atol=value_rounding(loss, z, v, y, T, alpha))
    np.testing.assert_allclose(permuted_dz, dz[pick], rtol=0, atol=gradient_rounding(loss, z, T, alpha))


@every_loss
@law
@given(batches_BN(), temperatures, alphas, dtypes)
def test_a_class_that_cannot_be_changes_no_loss(arrays, loss, batch, T, alpha, dtype):
    z, v, y = batch[0].astype(dtype), batch[1].astype(dtype), batch[2]
    more_z, more_v = (np.concatenate([u, np.full_like(u[..., :1], -1e30)], axis=-1) for u in (z, v))
    value, dz = on(arrays, loss, z, v, y, T, alpha)
    more_value, more_dz = on(arrays, loss, more_z, more_v, y, T, alpha)
    eps = float(np.finfo(dtype).eps)
    assert not more_dz[..., -1].any()
    np.testing.assert_allclose(more_value, value, rtol=0, atol=value_rounding(loss, z, v, y, T, alpha, eps))
    np.testing.assert_allclose(more_dz[..., :-1], dz, rtol=0, atol=gradient_rounding(loss, z, T, alpha, eps))


@law
@given(batches_BN(), temperatures, alphas)
def test_the_balanced_objective_is_alpha_T2_kl_plus_the_rest_of_the_cross_entropy(arrays, batch, T, alpha):
    z, v, y = batch
    (kl, kl_dz), (hard, hard_dz) = kl_divergence(z, v, T), cross_entropy(z, y)
    value, dz = on(arrays, LOSSES["distillation"], z, v, y, T, alpha)
    atol = value_rounding(LOSSES["distillation"], z, v, y, T, alpha)
    np.testing.assert_allclose(value, alpha * T**2 * kl + (1 - alpha) * hard, rtol=0, atol=atol)
    atol = gradient_rounding(LOSSES["distillation"], z, T, alpha)
    np.testing.assert_allclose(dz, alpha * T**2 * kl_dz + (1 - alpha) * hard_dz, rtol=0, atol=atol)


@law
@given(batches_BN(), temperatures, temperatures, seeds)
def test_the_balanced_objective_sees_no_teacher_at_alpha_0_and_no_label_at_alpha_1(arrays, batch, T, other_T, seed):
    z, v, y = batch
    loss, other_y = LOSSES["distillation"], np.random.default_rng(seed).integers(0, z.shape[-1], y.shape)
    hard = on(arrays, LOSSES["cross_entropy"], z, v, y, T, 0.0)
    for mixed in (on(arrays, loss, z, v, y, T, 0.0), on(arrays, loss, z, -v, y, other_T, 0.0)):
        np.testing.assert_array_equal(mixed[0], hard[0])
        np.testing.assert_array_equal(mixed[1], hard[1])
    one, other = on(arrays, loss, z, v, y, T, 1.0), on(arrays, loss, z, v, other_y, T, 1.0)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_allclose(one[0], T**2 * on(arrays, LOSSES["kl_divergence"], *batch, T, 1.0)[0], rtol=64 * EPS)


@soft_losses
@law
@given(batches_BN(leading=st.sampled_from([(2,), (3,)])), st.data(), alphas)
def test_a_loss_of_replicas_is_each_replicas_loss_each_at_its_own_T(arrays, loss, batch, data, alpha):
    z, v, y = batch
    T = np.array(data.draw(st.lists(temperatures, min_size=len(z), max_size=len(z))))
    value, dz = on(arrays, loss, z, v, y, arrays.asarray(T[:, None, None]), alpha)
    for r in range(len(z)):
        one = (z[r], v[r], y[r], float(T[r]), alpha)
        alone, alone_dz = on(arrays, loss, *one)
        np.testing.assert_allclose(value[r], alone, rtol=0, atol=value_rounding(loss, *one))
        np.testing.assert_allclose(dz[r], alone_dz, rtol=0, atol=gradient_rounding(loss, z[r], float(T[r]), alpha))


@every_loss
@law
@given(batches_BN(dtype=np.float32), temperatures, alphas, layouts)
def test_float32_losses_are_those_of_float64_to_rounding_and_modify_nothing(arrays, loss, batch, T, alpha, layout):
    z, v, y = batch
    inputs = [layout(arrays.asarray(u)) for u in (z, v)] + [arrays.asarray(y)]
    value, dz = loss.of(*inputs, T, alpha)
    assert value.dtype == dz.dtype == np.float32
    assert (value.shape, dz.shape) == (z.shape[:-2], z.shape)
    exact, exact_dz = loss.of(z.astype(np.float64), v.astype(np.float64), y, T, alpha)
    eps = float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(arrays.to_host(value), exact, rtol=0, atol=value_rounding(loss, *batch, T, alpha, eps))
    atol = gradient_rounding(loss, z, T, alpha, eps)
    np.testing.assert_allclose(arrays.to_host(dz), exact_dz, rtol=0, atol=atol)
    for after, before in zip(inputs, batch, strict=True):
        np.testing.assert_array_equal(arrays.to_host(after), before)


# --- digits ----------------------------------------------------------------------------------------------------------

tame = seeds.map(lambda seed: np.random.default_rng(seed).uniform(-1, 1, (2, 5)))


@law
@given(seeds, st.floats(-3, 8))
def test_eq2_in_float32_keeps_its_digits_at_every_temperature(arrays, seed, exponent):
    """q - p by subtraction in float32 is off by 2% at T = 1e6 and by more than itself at 1e8."""
    T, (z, v) = 10.0**exponent, np.random.default_rng(seed).uniform(-10, 10, (2, 1, 6)).astype(np.float32)
    value, dz = kl_divergence(arrays.asarray(z), arrays.asarray(v), T)
    truth, gradient = kl_divergence(z.astype(float), v.astype(float), T)
    assume(min(np.abs(gradient).max(), truth) > 1e-30)  # at low T, both are certain, often of the same class
    # An exponent of up to 20/T is off by eps times that; d = s - t by eps times its operands.
    d = (z.astype(float) - z.max()) - (v.astype(float) - v.max())
    tolerance = float(np.finfo(np.float32).eps) * (16 + 60 / T) * max(1, 40 / np.ptp(d))
    assert relative_error(arrays.to_host(dz), gradient) <= tolerance
    assert abs(float(value) - truth) <= 4 * tolerance * truth


@law
@given(tame, tame, st.floats(20, 200), st.floats(20, 200))
def test_eq2_keeps_its_digits_where_both_are_certain_of_one_class(arrays, z, v, far_z, far_v):
    """There q - p of that class is minus the sum of the others, each of which subtraction knows."""
    z, v = z + far_z * (np.arange(5) == 2), v + far_v * (np.arange(5) == 2)
    dz = 2 * arrays.to_host(kl_divergence(arrays.asarray(z), arrays.asarray(v), 1.0)[1])
    q, p = (softmax(u, 1.0) for u in (z, v))
    others = np.where(np.arange(5) == 2, 0, q - p)
    truth = np.where(np.arange(5) == 2, -others.sum(axis=-1, keepdims=True), others)
    assume((np.abs(truth).max(axis=-1) > 1e-3 * np.maximum(q, p)[:, [0, 1, 3, 4]].max(axis=-1)).all())
    assert (np.abs(dz - truth) <= 1e-9 * np.abs(truth).max(axis=-1, keepdims=True)).all()


@law
@given(tame, st.integers(0, 4), st.floats(20, 300))
def test_the_gradient_of_a_label_that_the_student_is_certain_of_keeps_its_digits(arrays, z, label, far):
    z = z + far * (np.arange(5) == label)
    dz = 2 * arrays.to_host(cross_entropy(arrays.asarray(z), arrays.asarray(np.full(2, label)))[1])
    others = np.where(np.arange(5) == label, 0, softmax(z, 1.0))
    np.testing.assert_allclose(dz[:, label], -others.sum(axis=-1), rtol=1e-12)


@pytest.mark.parametrize("T", [1e-200, 1e-30, 1e20, 1e300])
def test_a_temperature_whose_square_is_no_number_of_the_dtype_is_refused(T):
    z = np.ones((1, 3), np.float32)
    for call in (lambda: softmax(z, T), lambda: kl_divergence(z, z, T)):
        with pytest.raises(ArgumentError, match=r"^T must be > 0, and in .* for logits in float32, got "):
            call()


@pytest.mark.parametrize("T", [20.0, 1e6])
@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-5])
def test_eq2_in_float32_keeps_its_digits_where_the_student_is_near_its_teacher(arrays, distance, T):
    rng = np.random.default_rng(0)
    v = (8 * rng.normal(size=(32, 10))).astype(np.float32)
    z = (v + distance * rng.normal(size=v.shape)).astype(np.float32)
    _, dz = kl_divergence(arrays.asarray(z), arrays.asarray(v), T)
    _, truth = kl_divergence(z.astype(float), v.astype(float), T)
    assert relative_error(arrays.to_host(dz), truth) < 2e-6


def test_logits_that_are_masked_by_the_lowest_number_are_refused_and_by_a_low_one_taken():
    z, v = (np.array([[a, b, np.finfo(np.float32).min]], np.float32) for a, b in ((2, 1), (1, 2)))
    for call in (lambda: kl_divergence(z, v, 0.5), lambda: cross_entropy(z, np.array([0]))):
        with pytest.raises(
            ArgumentError, match=r"^logits must differ by less, over T, than float32 holds, got 3\.4e\+38"
        ):
            call()
    low, also_low = (np.maximum(u, -1e4) for u in (z, v))
    assert np.isfinite(kl_divergence(low, also_low, 0.5)[0])


def test_a_temperature_for_each_replica_belongs_to_logits_with_replicas():
    z = np.zeros((4, 5))
    for T in (np.ones((3, 1, 1)), np.ones((0, 1, 1))):
        with pytest.raises(ArgumentError, match=r"^T must "):
            kl_divergence(z, z, T)


@pytest.mark.parametrize("r", [1e-9, 0.01, 0.0499999, 0.0500001, 0.3, 2.0])
def test_a_term_of_kl_keeps_its_digits_whatever_its_size(r):
    """It is p (exp(r) - 1 - r), which subtraction knows to eps/r where r is small."""
    for signed in (r, -r):
        with localcontext() as context:
            context.prec = 60
            truth = (Decimal(signed).exp() - 1 - Decimal(signed)) / 2
        found = kl_rows(np.array([0.5]), np.array([0.5 * np.expm1(signed)]), np.array([signed]))
        assert abs(float(found) / float(truth) - 1) < (1e-14 if r < 0.05 else 4 * EPS / r)


def test_losses_in_float16_are_those_of_float32():
    z, v = np.random.default_rng(0).normal(0, 8, (2, 4, 6)).astype(np.float16)
    for T in (0.5, 1.0, 100.0):
        for half, single in zip(
            kl_divergence(z, v, T), kl_divergence(*(u.astype("f4") for u in (z, v)), T), strict=True
        ):
            np.testing.assert_array_equal(half, single)
