"""The losses that came after 2015: their gradients are derivatives, and each is what its paper says that it is.

Tolerances are relative to the size of the gradient. Where a loss is a divergence of p and q, the laws of the proof kit
judge it too, and the laws that it does not obey are named: that is what sets it apart.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numerics import central_difference, complex_step, relative_error
from strategies import MUTATING, law, some

import minidistill as md
from minidistill.checks import trusting_values
from minidistill.losses import high_temperature_gradient, logit_matching_gradient
from minidistill.losses.divergences import softmax_backward
from minidistill.testing import check_distillation_loss
from minidistill.testing.gradients.strategies import batches_BN, contiguous, layouts, seeds, shapes_BN

LOSSES = {
    "logit_matching": lambda z, v, y, T: md.logit_matching(z, v),
    "reverse_kl": lambda z, v, y, T: md.reverse_kl(z, v, T),
    "jensen_shannon, beta 0.1": lambda z, v, y, T: md.jensen_shannon(z, v, T, 0.1),
    "jensen_shannon, beta 0.9": lambda z, v, y, T: md.jensen_shannon(z, v, T, 0.9),
    "decoupled": lambda z, v, y, T: md.decoupled(z, v, y, T, 0.7, 3.0),
    "normalised": lambda z, v, y, T: md.normalised(z, v, y, T),
    "dist": lambda z, v, y, T: md.dist(z, v, T, 2.0, 0.5),
    "standardised": lambda z, v, y, T: md.standardised(z, v, T),
    "label_smoothing": lambda z, v, y, T: md.label_smoothing(z, y, 0.2),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
temperatures = st.sampled_from([0.5, 1.0, 4.0, 20.0, 1000.0])
rows = batches_BN(scale=3.0, classes=3, batch=2)


@st.composite
def varied(draw):
    """Draw z, v and y whose rows and columns all vary: of two rows, or of Hypothesis's own, some are often even."""
    shape, rng = draw(shapes_BN(classes=3, batch=3)), np.random.default_rng(draw(seeds))
    return *rng.uniform(-3, 3, (2, *shape)), rng.integers(0, shape[-1], shape[:-1])


def on(arrays, loss, z, v, y, T, layout=contiguous):
    """(value, dz) of the loss of such arrays, brought to the host."""
    z, v = (layout(arrays.asarray(u)) for u in (z, v))
    value, dz = loss(z, v, arrays.asarray(y), T)
    return arrays.to_host(value), arrays.to_host(dz)


def spread(z):
    """The least deviation within any row and any column: where nothing varies, a correlation has no derivative."""
    return min(z.std(axis=-1).min(), z.std(axis=-2).min())


@every_loss
@some
@given(varied(), st.sampled_from([0.5, 1.0, 4.0]))
def test_a_batch_twice_over_has_the_same_value_and_half_the_gradient(loss, batch, T):
    """So it is a mean: a sum, or a 1/B that is missing from the value or from dz, is not."""
    z, v, y = batch
    assume(min(spread(z), spread(v), np.abs(z - v).max()) > 0.1)  # DIST adds 1e-8 to its norms
    value, dz = loss(z, v, y, T)
    twice, dz_twice = loss(*(np.concatenate([u, u], axis=-2) for u in (z, v)), np.concatenate([y, y], axis=-1), T)
    np.testing.assert_allclose(twice, value, rtol=1e-4)
    scale = np.abs(dz).max()
    np.testing.assert_allclose(2 * dz_twice[..., : z.shape[-2], :], dz, rtol=0, atol=1e-3 * scale + 1e-12)


@every_loss
@some
@given(varied(), temperatures, layouts)
def test_the_gradient_is_the_derivative_of_the_value(arrays, loss, batch, T, layout):
    z, v, y = batch
    assume(min(spread(z), spread(v)) > 0.1)
    _, dz = on(arrays, loss, z, v, y, T, layout)
    truth = complex_step(lambda u: loss(u, v, y, T)[0].sum(), z)
    scale = T * np.abs(truth).max()
    assume(scale > 1e-9)
    rounding = 1e-13 / scale  # q and p are off by some 1e-15, and q - p by as much
    assert relative_error(dz, truth) < 1e-9 + rounding
    if T < 10 and scale > 1e-3:
        assert relative_error(dz, central_difference(lambda u: float(loss(u, v, y, T)[0].sum()), z, 1e-3 * T)) < 1e-5


@every_loss
@some
@given(varied(), temperatures)
def test_a_wrong_gradient_is_rejected(loss, batch, T):
    z, v, y = batch
    assume(min(spread(z), spread(v)) > 0.1)
    truth = complex_step(lambda u: loss(u, v, y, T)[0].sum(), z)
    assume(np.abs(truth).max() * T > 1e-9)
    dz = loss(z, v, y, T)[1]
    for wrong in (-dz, z.shape[-2] * dz, 0 * dz, 1.001 * dz):
        assert relative_error(wrong, truth) > 5e-4


@every_loss
@some
@given(batches_BN(scale=1e4, classes=2, dtype=np.float32), temperatures)
def test_value_and_gradient_are_finite_at_extreme_logits_in_float32_which_stays_float32(arrays, loss, batch, T):
    value, dz = on(arrays, loss, *batch, T)
    assert value.dtype == dz.dtype == np.float32
    assert (value.shape, dz.shape) == (batch[0].shape[:-2], batch[0].shape)
    assert np.isfinite(value).all()
    assert np.isfinite(dz).all()


@every_loss
@some
@given(batches_BN(scale=3.0, classes=2, leading=st.sampled_from([(2,), (3,)])), temperatures)
def test_a_loss_of_replicas_is_each_replicas_loss(arrays, loss, batch, T):
    z, v, y = batch
    value, dz = on(arrays, loss, z, v, y, T)
    for r in range(len(z)):
        alone, alone_dz = on(arrays, loss, z[r], v[r], y[r], T)
        np.testing.assert_allclose(value[r], alone, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(dz[r], alone_dz, rtol=1e-9, atol=1e-14)
    each = np.array([T, 2 * T, 4 * T])[: len(z), None, None]  # a temperature for each replica
    value, dz = (arrays.to_host(u) for u in loss(*(arrays.asarray(u) for u in (z, v, y)), arrays.asarray(each)))
    for r in range(len(z)):
        alone, alone_dz = on(arrays, loss, z[r], v[r], y[r], float(each[r, 0, 0]))
        np.testing.assert_allclose(value[r], alone, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(dz[r], alone_dz, rtol=1e-9, atol=1e-14)


DIVERGENCES = [name for name in LOSSES if name not in ("normalised", "label_smoothing")]  # those are cross-entropies


@pytest.mark.parametrize("name", DIVERGENCES)
@law
@given(varied(), temperatures)
def test_a_student_that_equals_its_teacher_has_no_loss_and_no_gradient(name, batch, T):
    z, _, y = batch
    assume(name != "dist" or spread(md.softmax(z, T)) > 0.01)  # else TINY is not tiny beside the norms
    value, dz = LOSSES[name](z, z, y, T)
    assert np.abs(value).max() < (1e-3 if name == "dist" else 1e-9)
    assert np.abs(dz).max() < (1e-3 if name == "dist" else 1e-12)


# --- what each is ---


@law
@given(rows, temperatures)
def test_eq4_logit_matching_over_N_T2_is_the_limit_of_the_soft_gradient(batch, T):
    z, v, _ = batch
    np.testing.assert_allclose(
        md.logit_matching(z, v)[1] / (z.shape[-1] * T * T), logit_matching_gradient(z, v, T), rtol=1e-12, atol=1e-18
    )


@law
@given(rows, temperatures)
def test_reverse_kl_is_the_kl_with_student_and_teacher_exchanged(batch, T):
    z, v, _ = batch
    np.testing.assert_array_equal(md.reverse_kl(z, v, T)[0], md.kl_divergence(v, z, T)[0])


@law
@given(rows, temperatures, st.floats(0.01, 0.99))
def test_jensen_shannon_is_bounded_and_symmetric_under_exchange_of_beta(batch, T, beta):
    z, v, _ = batch
    value = md.jensen_shannon(z, v, T, beta)[0]
    assert (value >= 0).all()
    assert (value <= np.log(2) + 1e-12).all()
    np.testing.assert_allclose(value, md.jensen_shannon(v, z, T, 1 - beta)[0], rtol=1e-9, atol=1e-15)


@law
@given(batches_BN(scale=1.0), st.sampled_from([1.0, 4.0]))
def test_jensen_shannon_tends_to_either_kl_at_the_ends_of_beta(batch, T):
    z, v, _ = batch
    end = 1e-6
    np.testing.assert_allclose(md.jensen_shannon(z, v, T, end)[0] / end, md.kl_divergence(z, v, T)[0], 1e-4, 1e-8)
    np.testing.assert_allclose(md.jensen_shannon(z, v, T, 1 - end)[0] / end, md.reverse_kl(z, v, T)[0], 1e-4, 1e-8)


@law
@given(batches_BN(scale=3.0, classes=2, batch=1, leading=st.just(())), temperatures)
def test_kl_is_its_part_about_the_target_and_1_less_p_y_times_its_part_about_the_others(batch, T):
    z, v, y = (u[:1] for u in batch)
    rest = 1 - float(md.softmax(v, T)[0, y[0]])
    value, dz = md.decoupled(z, v, y, T, 1.0, rest)
    expected, expected_dz = md.kl_divergence(z, v, T)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(dz, expected_dz, rtol=0, atol=1e-14 / T)


@law
@given(batches_BN(scale=3.0, classes=3), temperatures, st.floats(0, 3))
def test_normalised_parts_into_the_target_at_T_1_and_the_others_normalised_at_T(batch, T, gamma):
    z, v, y = batch
    is_y = np.arange(z.shape[-1]) == y[..., None]
    target = -(md.softmax(v) * md.log_softmax(z) * is_y).sum(-1)
    hat_p, hat_q = (np.where(is_y, 0, np.exp(u / T)) for u in (v, z))
    hat_p, hat_q = (u / u.sum(-1, keepdims=True) for u in (hat_p, hat_q))
    others = -(hat_p * np.log(np.where(is_y, 1, hat_q))).sum(-1)
    np.testing.assert_allclose(
        md.normalised(z, v, y, T, gamma)[0], (target + gamma * T**2 * others).mean(-1), rtol=1e-10
    )


@law
@given(varied(), st.sampled_from([1.0, 4.0]))
def test_dist_is_one_less_pearsons_correlation_of_rows_and_of_columns(batch, T):
    z, v, _ = (u.reshape(-1, *u.shape[-2:])[0] if u.ndim > 2 else u for u in batch)
    assume(min(spread(z), spread(v)) > 0.1)
    q, p = md.softmax(z, T), md.softmax(v, T)
    assume(min(spread(q), spread(p)) > 1e-3)
    of_rows = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(q, p, strict=True)])
    of_columns = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(q.T, p.T, strict=True)])
    np.testing.assert_allclose(md.dist(z, v, T, 1.0, 0.0)[0], of_rows, atol=0.01, rtol=0.01)
    np.testing.assert_allclose(md.dist(z, v, T, 2.0, 3.0)[0], 2 * of_rows + 3 * of_columns, atol=0.05, rtol=0.01)


@law
@given(varied(), temperatures, st.floats(0.5, 20), st.floats(-5, 5))
def test_standardised_sees_neither_the_scale_nor_the_mean_of_the_logits(batch, T, scale, shift):
    z, v, _ = batch
    assume(min(z.std(-1).min(), v.std(-1).min()) > 0.1)
    np.testing.assert_allclose(
        md.standardised(scale * z + shift, v / scale - shift, T)[0], md.standardised(z, v, T)[0], rtol=1e-3, atol=1e-9
    )
    along = (md.standardised(z, v, T)[1] * z).sum(-1)
    np.testing.assert_allclose(along, 0, atol=1e-6 / T)


@law
@given(batches_BN(scale=3.0, classes=2), st.floats(0, 1))
def test_label_smoothing_mixes_the_label_and_every_class_alike(batch, epsilon):
    z, _, y = batch
    hard, hard_dz = md.cross_entropy(z, y)
    even, even_dz = md.soft_cross_entropy(z, np.zeros_like(z), 1.0)
    value, dz = md.label_smoothing(z, y, epsilon)
    np.testing.assert_allclose(value, (1 - epsilon) * hard + epsilon * even, rtol=1e-12)
    np.testing.assert_allclose(dz, (1 - epsilon) * hard_dz + epsilon * even_dz, rtol=0, atol=1e-14)


OF = {  # every function of logits that is public, and the names of its arguments
    "softmax": (md.softmax, "z T"),
    "log_softmax": (md.log_softmax, "z T"),
    "cross_entropy": (md.cross_entropy, "z y"),
    "soft_cross_entropy": (md.soft_cross_entropy, "z v T"),
    "kl_divergence": (md.kl_divergence, "z v T"),
    "distillation": (md.distillation, "z v y T alpha"),
    "high_temperature_gradient": (high_temperature_gradient, "z v T"),
    "logit_matching_gradient": (logit_matching_gradient, "z v T"),
    "logit_matching": (md.logit_matching, "z v"),
    "reverse_kl": (md.reverse_kl, "z v T"),
    "jensen_shannon": (md.jensen_shannon, "z v T beta"),
    "decoupled": (md.decoupled, "z v y T alpha beta"),
    "normalised": (md.normalised, "z v y T gamma"),
    "dist": (md.dist, "z v T beta gamma"),
    "standardised": (md.standardised, "z v T"),
    "label_smoothing": (md.label_smoothing, "z y epsilon"),
}
GOOD = {"z": np.zeros((2, 4)), "v": np.zeros((2, 4)), "y": np.array([0, 3]), "T": 2.0,
        "alpha": 0.5, "beta": 0.5, "gamma": 0.5, "epsilon": 0.5}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"dist"}))  # which compares the rows with each other
@pytest.mark.parametrize("bad", ["z", "v"])
def test_a_nan_in_one_row_leaves_the_gradient_of_the_others_as_it_was(arrays, name, bad):
    """A training trusts the values; where one image overflows, the others must still be seen to be well."""
    rng = np.random.default_rng(0)
    given, y = {"z": rng.normal(size=(3, 4)), "v": rng.normal(size=(3, 4))}, np.array([1, 3, 0])
    _, before = on(arrays, LOSSES[name], **given, y=y, T=2.0)
    given[bad][1] = np.nan
    with trusting_values(), np.errstate(invalid="ignore"):
        _, after = on(arrays, LOSSES[name], **given, y=y, T=2.0)
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])


BAD = {"z": np.full((2, 4), np.nan), "v": np.zeros((2, 4), int), "y": np.array([0, 4]), "T": -1.0,
       "alpha": -0.1, "beta": -0.1, "gamma": -0.1, "epsilon": -0.1}  # fmt: skip


@pytest.mark.parametrize("name", OF)
def test_every_function_of_logits_names_the_argument_that_is_wrong(name):
    function, arguments = OF[name]
    good = {argument: GOOD[argument] for argument in arguments.split()}
    function(*good.values())
    for argument in good:
        with pytest.raises(md.ArgumentError, match=rf"^{argument} must "):
            function(*(good | {argument: BAD[argument]}).values())
        if argument in ("alpha", "epsilon") and name != "decoupled":
            with pytest.raises(md.ArgumentError, match=rf"^{argument} must .* <= 1"):
                function(*(good | {argument: 1.1}).values())


def test_what_is_left_out_is_what_the_papers_take():
    rng = np.random.default_rng(0)
    z, v, y = rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), np.array([0, 3, 1])
    for short, full in (
        (md.softmax(z), md.softmax(z, 1.0)),
        (md.log_softmax(z), md.log_softmax(z, 1.0)),
        (md.jensen_shannon(z, v, 2.0), md.jensen_shannon(z, v, 2.0, 0.5)),
        (md.decoupled(z, v, y, 2.0), md.decoupled(z, v, y, 2.0, 1.0, 8.0)),
        (md.normalised(z, v, y), md.normalised(z, v, y, 1.0, 1.5)),
        (md.dist(z, v, 2.0), md.dist(z, v, 2.0, 1.0, 1.0)),
        (md.label_smoothing(z, y), md.label_smoothing(z, y, 0.1)),
    ):
        for a, b in zip(short, full, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "name", ["decoupled", "dist", "jensen_shannon", "label_smoothing", "normalised", "distillation"]
)
def test_the_ends_of_every_range_are_allowed(name):
    function, arguments = OF[name]
    good = {argument: GOOD[argument] for argument in arguments.split()}
    for argument in set(good) & {"alpha", "gamma", "epsilon"}:
        for end in (0, 1):
            function(*(good | {argument: end}).values())
    if name == "jensen_shannon":
        function(*(good | {"beta": 1 - 2**-24}).values())
        with pytest.raises(md.ArgumentError, match=r"^beta must"):
            function(*(good | {"beta": 1 - 2**-25}).values())
    if name in ("decoupled", "dist"):
        function(*(good | {"beta": 0}).values())
        function(*(good | {"beta": 30}).values())


def test_where_one_class_is_certain_its_gradient_keeps_the_digits_of_the_others():
    q, dq = np.array([[1.0, 1e-30, 1e-40]]), np.array([[100.0, 1.0, 2.0]])
    np.testing.assert_allclose(softmax_backward(q, dq, 2.0)[0], [99e-30 / 2, -99e-30 / 2, -98e-40 / 2], rtol=1e-9)
    for z, v in (((40, 0, 0.5), (42, 0, 1)), ((0.5, 0, 40), (1, 0, 42))):
        y = np.array([int(np.argmax(z))])
        rest_q, rest_p = (np.exp(np.sort(u)[:2] - max(u)).sum() for u in (z, v))  # 1 - q_y, 1 - p_y to 1e-17
        _, dz = md.decoupled(np.array([z], float), np.array([v], float), y, 1.0, 1.0, 0.0)
        np.testing.assert_allclose(dz[0, y[0]], rest_p - rest_q, rtol=1e-9)
    z, v = np.array([[-40.0, 0.0, 0.5]]), np.array([[-42.0, 0.0, 1.0]])  # the target is all but impossible
    _, dz = md.decoupled(z, v, np.array([0]), 1.0, 1.0, 0.0)
    np.testing.assert_allclose(dz[0, 0], md.softmax(z)[0, 0] - md.softmax(v)[0, 0], rtol=1e-9)


def test_two_classes_are_enough_where_a_target_is_parted_from_the_others():
    z, v, y = np.array([[1.0, -1.0]]), np.array([[0.0, 0.5]]), np.array([1])
    assert md.decoupled(z, v, y, 1.0, 0.0, 1.0)[0] == 0  # the other class is certain among the others
    assert np.isfinite(md.normalised(z, v, y)[0])


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda z, y: md.jensen_shannon(z, z, 1.0, 0.0), "beta must be a finite number >= 5.96"),
        (lambda z, y: md.jensen_shannon(z, z, 1.0, 1.0), "beta must be a finite number"),
        (lambda z, y: md.decoupled(z, z, y, 1.0, -1.0), "alpha must be a finite number >= 0"),
        (lambda z, y: md.decoupled(z[:, :1], z[:, :1], 0 * y, 1.0), "z must have at least two classes"),
        (lambda z, y: md.normalised(z, z, y, 1.0, -0.5), "gamma must be a finite number >= 0"),
        (lambda z, y: md.dist(z, z, 0.0), "T must be a finite number > 0"),
        (lambda z, y: md.standardised(z, z[:1], 1.0), "v must have the shape of z"),
        (lambda z, y: md.label_smoothing(z, y, 1.5), "epsilon must be a finite number >= 0 and <= 1"),
        (lambda z, y: md.label_smoothing(z, y + 9), r"y must lie in 0\.\.3"),
        (lambda z, y: md.logit_matching(z[0], z[0]), "z must have shape"),
        (lambda z, y: md.label_smoothing(z, y[:1]), r"y must have shape \(2,\)"),
        (lambda z, y: md.decoupled(z, z, y[:1], 1.0), r"y must have shape \(2,\)"),
        (lambda z, y: md.cross_entropy(z, y[:1]), r"y must have shape \(2,\)"),
        (lambda z, y: md.distillation(z, z, y[:1], 1.0, 0.5), r"y must have shape \(2,\)"),
    ],
)
def test_a_bad_argument_is_named(call, text):
    with pytest.raises(md.ArgumentError, match=text):
        call(np.zeros((2, 4)), np.array([0, 3]))


WORDS = {  # what the kit calls each
    "logit_matching": "logit-matching", "reverse_kl": "reverse-kl", "jensen_shannon, beta 0.1": "jensen-shannon",
    "decoupled": "decoupled", "standardised": "standardised", "dist": "dist",
}  # fmt: skip


@pytest.mark.skipif(MUTATING, reason="slow, and no mutant needs it")
@pytest.mark.parametrize("name", WORDS)
def test_the_kit_knows_each_loss_and_finds_all_its_laws_obeyed(name):
    y = np.zeros(200, dtype=np.int64)  # the target is class 0
    report = check_distillation_loss(
        lambda z, v, T: LOSSES[name](z, v, y[: len(z)], T), expect=WORDS[name], examples=30
    )
    assert report.passed, str(report)
    assert f"this is {WORDS[name]} (" in report.sentence
